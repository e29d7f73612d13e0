//! What comes from a monitor: frames taken apart without ever holding a whole payload of output.

use mica_model::frame::{FrameError, FrameHeader, FrameKind, HEADER_LENGTH};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// How much is read at once, in bytes.
const BUFFER_LENGTH: usize = 64 * 1024;

/// The longest reason of a failure that is kept, in bytes.
const MESSAGE_LENGTH_MAX: usize = 64 * 1024;

/// A piece of what arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Output; call [`Inlet::consume`] with how much of it was used.
    Output { kind: FrameKind, bytes: &'a [u8] },
    /// A complete frame of another kind.
    Control { kind: FrameKind, payload: Vec<u8> },
    /// More must be read.
    Nothing,
}

/// The reading half of a connection.
#[derive(Debug)]
pub(super) struct Inlet {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    header: Option<FrameHeader>,
    payload: Vec<u8>,
}

impl Inlet {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER_LENGTH], start: 0, end: 0, header: None, payload: Vec::new() }
    }

    /// Reads once; true at the end of the connection. Everything read before is used up first.
    pub(super) fn fill(&mut self, socket: &mut &UnixStream) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match socket.read(&mut self.buffer[self.end..]) {
            Ok(0) => Ok(true),
            Ok(count) => {
                self.end += count;
                Ok(false)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next piece of what was read.
    pub(super) fn next(&mut self) -> Result<Piece<'_>, FrameError> {
        let Some(header) = self.next_header()? else { return Ok(Piece::Nothing) };
        let available = (self.end - self.start).min(header.length);
        if !matches!(header.kind, FrameKind::Stdout | FrameKind::Stderr) {
            return Ok(self.control(header, available));
        }
        if header.length == 0 {
            self.header = None;
            return self.next_after_empty();
        }
        if available == 0 {
            return Ok(Piece::Nothing);
        }
        Ok(Piece::Output { kind: header.kind, bytes: &self.buffer[self.start..self.start + available] })
    }

    /// Marks so many bytes of the current output as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        self.header = self.header.and_then(|header| {
            let length = header.length - count;
            (length > 0).then_some(FrameHeader { length, ..header })
        });
    }

    /// Skips empty frames of output in a loop, so that many of them need no deep stack.
    fn next_after_empty(&mut self) -> Result<Piece<'_>, FrameError> {
        while let Some(header) = self.next_header()? {
            if header.length > 0 || !matches!(header.kind, FrameKind::Stdout | FrameKind::Stderr) {
                return self.next();
            }
            self.header = None;
        }
        Ok(Piece::Nothing)
    }

    fn next_header(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        if self.header.is_none() {
            let Some(bytes) = self.buffer[self.start..self.end].first_chunk::<HEADER_LENGTH>() else {
                return Ok(None);
            };
            self.header = Some(FrameHeader::decode(*bytes)?);
            self.start += HEADER_LENGTH;
        }
        Ok(self.header)
    }

    fn control(&mut self, header: FrameHeader, available: usize) -> Piece<'_> {
        let room = MESSAGE_LENGTH_MAX.saturating_sub(self.payload.len()).min(available);
        self.payload.extend_from_slice(&self.buffer[self.start..self.start + room]);
        self.consume(available);
        if available < header.length {
            return Piece::Nothing;
        }
        self.header = None;
        Piece::Control { kind: header.kind, payload: std::mem::take(&mut self.payload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        [&FrameHeader::new(kind, payload.len()).encode(), payload].concat()
    }

    #[test]
    fn frames_arrive_whatever_their_boundaries() {
        let wire = [
            frame(FrameKind::Started, b""),
            frame(FrameKind::Stdout, b""),
            frame(FrameKind::Stdout, b"hello "),
            frame(FrameKind::Stderr, b""),
            frame(FrameKind::Stderr, b"world"),
            frame(FrameKind::Exit, &[0, 0, 0, 7, 1]),
        ]
        .concat();
        for step in [1, 3, 8, wire.len()] {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            let (mut inlet, mut seen) = (Inlet::new(), Vec::new());
            for part in wire.chunks(step) {
                peer.write_all(part).unwrap();
                assert!(!inlet.fill(&mut &socket).unwrap());
                loop {
                    let used = match inlet.next().unwrap() {
                        Piece::Nothing => break,
                        Piece::Control { kind, payload } => {
                            seen.extend_from_slice(format!("[{kind:?} {payload:?}]").as_bytes());
                            continue;
                        }
                        Piece::Output { bytes, .. } => {
                            seen.extend_from_slice(bytes);
                            bytes.len()
                        }
                    };
                    inlet.consume(used);
                }
            }
            assert_eq!(String::from_utf8(seen).unwrap(), "[Started []]hello world[Exit [0, 0, 0, 7, 1]]");
        }
    }
}
