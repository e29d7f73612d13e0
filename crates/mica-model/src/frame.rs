//! The frames that travel between a monitor and whoever is attached to it.
//!
//! The header is that of docker's multiplexed streams (Engine API, "Attach to a container"):
//! one byte of kind, three zero bytes, four bytes of big-endian length. Kinds 0 to 2 are docker's;
//! the others are ours and never leave the machine.

/// Length of a header in bytes.
pub const HEADER_LENGTH: usize = 8;

/// The longest payload a peer may announce, in bytes.
pub const PAYLOAD_LENGTH_MAX: usize = 1 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Bytes for the container's standard input (client to monitor).
    Stdin = 0,
    /// Bytes of its standard output, or of its terminal.
    Stdout = 1,
    /// Bytes of its standard error.
    Stderr = 2,
    /// End of the client's input; no payload (client to monitor).
    StdinClose = 16,
    /// New terminal size: rows and columns, two big-endian u16 (client to monitor).
    Resize = 17,
    /// The container has ended: exit code, big-endian u32, then one byte of out-of-memory flag, and one that is 1
    /// when its monitor is about to start it again. Always the last frame that a client gets.
    Exit = 18,
    /// The container's program runs (its exec succeeded); no payload.
    Started = 19,
    /// The client has detached by its keys; no payload (client to monitor).
    Detach = 20,
    /// The container could not be started: the payload is a UTF-8 message with its kind first.
    Failed = 21,
    /// The container was frozen (one byte, 1) or thawed (0) (client to monitor).
    Pause = 22,
    /// The client took nothing for too long while the container waited: there is more output that it does not get;
    /// no payload, and the last frame.
    LeftBehind = 23,
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What follows.
    pub kind: FrameKind,
    /// How many bytes follow.
    pub length: usize,
}

/// Why a header cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that nobody sends.
    #[error("unknown frame kind {kind}")]
    Kind {
        /// The byte read.
        kind: u8,
    },
    /// More than [`PAYLOAD_LENGTH_MAX`].
    #[error("frame of {length} bytes is longer than {PAYLOAD_LENGTH_MAX}")]
    Length {
        /// The length announced.
        length: usize,
    },
}

impl FrameHeader {
    /// A header for `length` bytes of `kind`.
    pub const fn new(kind: FrameKind, length: usize) -> Self {
        Self { kind, length }
    }

    /// The eight bytes on the wire.
    pub fn encode(self) -> [u8; HEADER_LENGTH] {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        [self.kind as u8, 0, 0, 0, length[0], length[1], length[2], length[3]]
    }

    /// Reads eight bytes from the wire.
    pub fn decode(bytes: [u8; HEADER_LENGTH]) -> Result<Self, FrameError> {
        let kind = match bytes[0] {
            0 => FrameKind::Stdin,
            1 => FrameKind::Stdout,
            2 => FrameKind::Stderr,
            16 => FrameKind::StdinClose,
            17 => FrameKind::Resize,
            18 => FrameKind::Exit,
            19 => FrameKind::Started,
            20 => FrameKind::Detach,
            21 => FrameKind::Failed,
            22 => FrameKind::Pause,
            23 => FrameKind::LeftBehind,
            kind => return Err(FrameError::Kind { kind }),
        };
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        if length > PAYLOAD_LENGTH_MAX {
            return Err(FrameError::Length { length });
        }
        Ok(Self { kind, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        let header = FrameHeader::new(FrameKind::Exit, 5);
        assert_eq!(header.encode(), [18, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(FrameHeader::decode(header.encode()), Ok(header));
    }

    #[test]
    fn refuses_unknown_kinds_and_long_frames() {
        assert_eq!(FrameHeader::decode([9, 0, 0, 0, 0, 0, 0, 0]), Err(FrameError::Kind { kind: 9 }));
        assert!(FrameHeader::decode([1, 0, 0, 0, 0xff, 0, 0, 0]).is_err());
    }
}
