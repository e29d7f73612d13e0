//! One client of a monitor: what it wants, and what it has not taken yet.

use crate::{Attach, Hello, TerminalSize};
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Longest payload of the frames that are kept until complete.
const SMALL_PAYLOAD_MAX: usize = 16;

/// How long the container waits for one that joined it later and takes nothing at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection and its state.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    /// `None` until its hello has come.
    pub(super) attach: Option<Attach>,
    /// Bytes that the socket had no room for.
    pending: Vec<u8>,
    pending_start: usize,
    reader: Reader,
    /// It has ended its side.
    pub(super) read_closed: bool,
    /// It has been told of the end and only takes what it is owed.
    pub(super) is_leaving: bool,
    /// It started the container: what it does not take is lost to nobody but by its own wish.
    is_starter: bool,
    /// Since when it has taken nothing of what it is owed.
    stalled_at: Instant,
}

/// What a client has sent, piece by piece.
#[derive(Debug, Default)]
struct Reader {
    head: Vec<u8>,
    /// The frame being read and how much of its payload is missing.
    current: Option<(FrameHeader, usize)>,
    payload: Vec<u8>,
}

/// What a piece of input means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input<'a> {
    /// The client says what it wants.
    Hello(Hello),
    /// Bytes for the container.
    Stdin(&'a [u8]),
    /// No more of them.
    StdinClose,
    /// The terminal's new size.
    Resize(TerminalSize),
    /// The container was frozen, or thawed.
    Pause(bool),
    /// The client leaves, its input stays open.
    Detach,
}

/// The client does not keep to the protocol, or is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Client {
    /// A client that has said what it wants already, or will.
    pub(super) fn new(socket: UnixStream, attach: Option<Attach>) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            attach,
            pending: Vec::new(),
            pending_start: 0,
            reader: Reader::default(),
            read_closed: false,
            is_leaving: false,
            is_starter: attach.is_some(),
            stalled_at: Instant::now(),
        })
    }

    pub(super) fn wants(&self, kind: FrameKind) -> bool {
        let Some(attach) = self.attach else { return false };
        match kind {
            FrameKind::Stdout => attach.stdout,
            FrameKind::Stderr => attach.stderr,
            _ => true,
        }
    }

    pub(super) fn feeds(&self) -> bool {
        self.attach.is_some_and(|attach| attach.stdin)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.pending_start < self.pending.len()
    }

    /// Whether the container's output waits for it.
    pub(super) fn holds_up(&self) -> bool {
        self.has_pending() && !self.is_leaving
    }

    /// When the container need not wait for it any longer; `None` where it does not wait, or for as long as it takes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.holds_up() && !self.is_starter).then(|| self.stalled_at + PATIENCE)
    }

    /// Grants it as much time again.
    pub(super) fn be_patient(&mut self, now: Instant) {
        self.stalled_at = now;
    }

    /// Gives it nothing more than what it is owed, and the word that this is not all.
    pub(super) fn leave_behind(&mut self) -> Result<(), Gone> {
        (self.attach, self.is_leaving) = (None, true);
        self.send(FrameKind::LeftBehind, &[])
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a frame, keeping what the socket does not take at once.
    pub(super) fn send(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), Gone> {
        let head = FrameHeader::new(kind, payload.len()).encode();
        let mut sent = 0;
        if !self.has_pending() {
            self.stalled_at = Instant::now();
            let parts = [IoSlice::new(&head), IoSlice::new(payload)];
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let mut control = SendAncillaryBuffer::default();
            sent = match rustix::io::retry_on_intr(|| sendmsg(&self.socket, &parts, &mut control, flags)) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(_) => return Err(Gone),
            };
        }
        if sent < HEADER_LENGTH {
            self.pending.extend_from_slice(&head[sent..]);
            self.pending.extend_from_slice(payload);
        } else {
            self.pending.extend_from_slice(&payload[sent - HEADER_LENGTH..]);
        }
        Ok(())
    }

    /// Sends more of what is pending.
    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        while self.has_pending() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, &self.pending[self.pending_start..], flags) {
                Ok(sent) => {
                    self.pending_start += sent;
                    self.stalled_at = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        (self.pending, self.pending_start) = (Vec::new(), 0);
        Ok(())
    }

    /// Reads once; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *buffer))
    }

    /// Takes `bytes` apart, telling `sink` of each thing that is complete.
    pub(super) fn parse(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Input<'_>)) -> Result<(), Gone> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            bytes = match (self.attach, self.reader.current) {
                (None, _) => self.parse_hello(bytes, sink)?,
                (Some(_), None) => self.reader.parse_head(bytes, sink)?,
                (Some(_), Some((header, left))) => self.reader.parse_payload(bytes, header, left, sink)?,
            };
        }
        Ok(())
    }

    /// The hello: one byte of length, then postcard.
    fn parse_hello<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut dyn FnMut(Input<'_>),
    ) -> Result<&'a [u8], Gone> {
        let head = &mut self.reader.head;
        let wanted = 1 + usize::from(*head.first().unwrap_or(&bytes[0]));
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - head.len()));
        head.extend_from_slice(taken);
        if head.len() == wanted {
            let hello: Hello = postcard::from_bytes(&head[1..]).map_err(|_| Gone)?;
            head.clear();
            self.attach = Some(hello.attach);
            sink(Input::Hello(hello));
        }
        Ok(rest)
    }
}

impl Reader {
    fn parse_head<'a>(&mut self, bytes: &'a [u8], sink: &mut dyn FnMut(Input<'_>)) -> Result<&'a [u8], Gone> {
        let (taken, rest) = bytes.split_at(bytes.len().min(HEADER_LENGTH - self.head.len()));
        self.head.extend_from_slice(taken);
        if let Ok(head) = <[u8; HEADER_LENGTH]>::try_from(self.head.as_slice()) {
            self.head.clear();
            let header = FrameHeader::decode(head).map_err(|_| Gone)?;
            if header.kind != FrameKind::Stdin && header.length > SMALL_PAYLOAD_MAX {
                return Err(Gone);
            }
            self.payload.clear();
            self.current = Some((header, header.length));
            if header.length == 0 {
                self.complete(header, sink)?;
            }
        }
        Ok(rest)
    }

    fn parse_payload<'a>(
        &mut self,
        bytes: &'a [u8],
        header: FrameHeader,
        left: usize,
        sink: &mut dyn FnMut(Input<'_>),
    ) -> Result<&'a [u8], Gone> {
        let (taken, rest) = bytes.split_at(bytes.len().min(left));
        self.current = Some((header, left - taken.len()));
        if header.kind == FrameKind::Stdin {
            sink(Input::Stdin(taken));
        } else {
            self.payload.extend_from_slice(taken);
        }
        if taken.len() == left {
            self.complete(header, sink)?;
        }
        Ok(rest)
    }

    fn complete(&mut self, header: FrameHeader, sink: &mut dyn FnMut(Input<'_>)) -> Result<(), Gone> {
        self.current = None;
        match header.kind {
            FrameKind::Stdin => {}
            FrameKind::StdinClose => sink(Input::StdinClose),
            FrameKind::Detach => sink(Input::Detach),
            FrameKind::Pause => sink(Input::Pause(self.payload == [1])),
            FrameKind::Resize => {
                let [a, b, c, d] = <[u8; 4]>::try_from(self.payload.as_slice()).map_err(|_| Gone)?;
                let (rows, columns) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                sink(Input::Resize(TerminalSize { rows, columns }));
            }
            _ => return Err(Gone),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(client: &mut Client, bytes: &[u8]) -> Result<Vec<String>, Gone> {
        let mut seen = Vec::new();
        client.parse(bytes, &mut |input| seen.push(format!("{input:?}")))?;
        Ok(seen)
    }

    fn stream() -> Vec<u8> {
        let hello =
            postcard::to_stdvec(&Hello { attach: Attach { stdin: true, ..Attach::default() } }).unwrap();
        let mut bytes = vec![hello.len() as u8];
        bytes.extend(hello);
        bytes.extend(FrameHeader::new(FrameKind::Stdin, 3).encode());
        bytes.extend(b"abc");
        bytes.extend(FrameHeader::new(FrameKind::Resize, 4).encode());
        bytes.extend([0, 24, 0, 80]);
        bytes.extend(FrameHeader::new(FrameKind::StdinClose, 0).encode());
        bytes
    }

    #[test]
    fn frames_are_the_same_in_one_piece_and_in_bytes() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let mut whole = Client::new(socket.try_clone().unwrap(), None).unwrap();
        let seen = parsed(&mut whole, &stream()).unwrap();
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert_eq!(seen[2], "Resize(TerminalSize { rows: 24, columns: 80 })");
        let mut slow = Client::new(socket, None).unwrap();
        let pieces: Vec<String> =
            stream().iter().flat_map(|byte| parsed(&mut slow, &[*byte]).unwrap()).collect();
        assert_eq!(pieces.len(), 6, "three single bytes of input: {pieces:?}");
        assert_eq!(pieces[5], "StdinClose");
    }

    #[test]
    fn nonsense_ends_the_connection() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let mut client = Client::new(socket, Some(Attach::default())).unwrap();
        assert_eq!(parsed(&mut client, &[99, 0, 0, 0, 0, 0, 0, 0]), Err(Gone));
    }

    #[test]
    fn who_joined_later_is_waited_for_a_while_and_who_started_it_for_ever() {
        let attach = Attach { stdout: true, stdin: true, ..Attach::default() };
        let (socket, mut other) = UnixStream::pair().unwrap();
        let mut starter = Client::new(socket, Some(attach)).unwrap();
        let (socket, _deaf) = UnixStream::pair().unwrap();
        let mut later = Client::new(socket, None).unwrap();
        later.attach = Some(attach);
        assert_eq!((starter.deadline(), later.deadline()), (None, None), "nothing waits");
        for client in [&mut starter, &mut later] {
            (0..16).for_each(|_| client.send(FrameKind::Stdout, &[7; 1 << 16]).unwrap());
        }
        assert!(starter.holds_up() && starter.deadline().is_none());
        let deadline = later.deadline().unwrap();
        later.be_patient(Instant::now() + PATIENCE);
        assert!(later.deadline().unwrap() > deadline);
        later.leave_behind().unwrap();
        assert!(!later.holds_up() && !later.feeds() && later.deadline().is_none() && later.has_pending());
        assert_eq!(later.pending.last_chunk(), Some(&FrameHeader::new(FrameKind::LeftBehind, 0).encode()));
        let since = starter.stalled_at;
        std::io::Read::read_exact(&mut other, &mut [0; 1 << 16]).unwrap();
        starter.flush().unwrap();
        assert!(starter.stalled_at > since, "it has taken something");
    }

    #[test]
    fn what_does_not_fit_is_kept_in_order() {
        let (socket, mut other) = UnixStream::pair().unwrap();
        let mut client = Client::new(socket, Some(Attach { stdout: true, ..Attach::default() })).unwrap();
        let payload = vec![7; 1 << 16];
        for _ in 0..16 {
            client.send(FrameKind::Stdout, &payload).unwrap();
        }
        assert!(client.has_pending());
        let reader = std::thread::spawn(move || {
            use std::io::Read;
            let mut total = Vec::new();
            other.read_to_end(&mut total).unwrap();
            total
        });
        while client.has_pending() {
            client.flush().unwrap();
        }
        drop(client);
        let total = reader.join().unwrap();
        assert_eq!(total.len(), 16 * (HEADER_LENGTH + payload.len()));
        let head: [u8; HEADER_LENGTH] = total[15 * 65544..][..HEADER_LENGTH].try_into().unwrap();
        assert_eq!(FrameHeader::decode(head), Ok(FrameHeader::new(FrameKind::Stdout, payload.len())));
    }
}
