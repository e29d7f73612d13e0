//! Talking to the kernel by netlink (netlink(7)): messages with nested attributes, sent in batches.
//!
//! The kernel answers within the sending call, so that nothing here waits: what is not in the
//! socket's buffer when the call has returned does not come.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sockopt};
use std::cell::Cell;

/// `NLM_F_*`: a request, always set.
const REQUEST: u16 = 1;
/// Answer with an acknowledgement.
pub(crate) const ACK: u16 = 4;
/// All entries of a table.
pub(crate) const DUMP: u16 = 0x300;
/// Replace what exists.
pub(crate) const REPLACE: u16 = 0x100;
/// Fail where it exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// Make what does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// Add at the end.
pub(crate) const APPEND: u16 = 0x800;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;

/// Length of `nlmsghdr` in bytes.
const HEADER_LENGTH: usize = 16;

/// Marks an attribute that holds others (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;

/// Largest datagram that the kernel answers with, in bytes.
const ANSWER_LENGTH_MAX: usize = 64 << 10;

/// How much may wait to be sent, in bytes: a whole rule set with some thousands of ports.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Messages that travel together.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

/// The attributes of a message in the making.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Batch {
    /// Adds a message: its type, flags, the fixed part, and attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // Numbered within the batch; the socket adds what it has sent before.
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        attributes(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.count += 1;
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// The bytes, with the messages numbered from zero.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Attributes<'_> {
    /// An attribute with these bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }

    /// A number in the machine's order, as rtnetlink has them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in the network's order, as nftables has them.
    pub(crate) fn big(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A text that ends with a zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// An attribute that holds others, after a fixed part that most have not.
    pub(crate) fn nest_after(&mut self, kind: u16, fixed: &[u8], inner: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        inner(&mut Attributes { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute that holds others.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        self.nest_after(kind, &[], inner);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message that was received.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its type.
    pub(crate) kind: u16,
    /// Everything after the header.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Attributes after a fixed part of `skip` bytes.
    pub(crate) fn attributes(&self, skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.body.get(skip..).unwrap_or_default())
    }

    /// One attribute after a fixed part of `skip` bytes.
    pub(crate) fn attribute(&self, skip: usize, kind: u16) -> Option<&[u8]> {
        self.attributes(skip).find(|(found, _)| *found == kind).map(|(_, value)| value)
    }
}

/// Reads a row of attributes; ends where they make no sense.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & !NESTED & !0x4000;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// What the kernel refused: which message of the batch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Index within the batch.
    pub(crate) index: u32,
    /// Why.
    pub(crate) errno: Errno,
}

/// A socket of the network namespace that its thread was in when it was opened.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    sent: Cell<u32>,
}

impl Socket {
    /// The socket for links, addresses and routes (rtnetlink(7)).
    pub(crate) fn route() -> Result<Self, Errno> {
        // `NETLINK_ROUTE` is the protocol zero.
        Self::open(None)
    }

    /// The socket for nftables and connection tracking.
    pub(crate) fn netfilter() -> Result<Self, Errno> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    /// A socket that another process has opened.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self { descriptor, sent: Cell::new(1) }
    }

    /// To be handed on to another process.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        let descriptor = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        Ok(Self { descriptor, sent: Cell::new(1) })
    }

    /// Sends a batch and gathers what is answered. Stops at nothing: every message is tried, and the
    /// first that was refused is told.
    pub(crate) fn request(&self, batch: Batch) -> Result<Vec<Answer>, Refusal> {
        let first = self.send(batch)?;
        self.gather(first)
    }

    /// Gives the number of the first message.
    fn send(&self, batch: Batch) -> Result<u32, Refusal> {
        let refuse = |errno| Refusal { index: 0, errno };
        let first = self.sent.get();
        let count = batch.count;
        self.sent.set(first.wrapping_add(count));
        let mut bytes = batch.bytes;
        renumber(&mut bytes, first);
        if bytes.len() > 100 << 10 {
            // Without the right to it the ordinary size must do.
            let _ = sockopt::set_socket_send_buffer_size_force(&self.descriptor, SEND_BUFFER_BYTES);
        }
        rustix::io::retry_on_intr(|| rustix::net::send(&self.descriptor, &bytes, SendFlags::empty()))
            .map_err(refuse)?;
        Ok(first)
    }

    fn gather(&self, first: u32) -> Result<Vec<Answer>, Refusal> {
        let mut answers = Vec::new();
        self.hear(first, |kind, body| answers.push(Answer { kind, body: body.to_vec() }))?;
        Ok(answers)
    }

    /// Sends one message and shows each answer to `each`: for tables that may be long.
    pub(crate) fn request_each(&self, batch: Batch, each: impl FnMut(u16, &[u8])) -> Result<(), Refusal> {
        let first = self.send(batch)?;
        self.hear(first, each)
    }

    fn hear(&self, first: u32, mut each: impl FnMut(u16, &[u8])) -> Result<(), Refusal> {
        let mut buffer = vec![0; ANSWER_LENGTH_MAX];
        let mut refusal: Option<Refusal> = None;
        loop {
            let received =
                rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, buffer.as_mut_slice()));
            let length = match received {
                Ok(length) => length,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(Refusal { index: 0, errno }),
            };
            for (kind, sequence, body) in messages(&buffer[..length]) {
                match kind {
                    KIND_ERROR => {
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        if code != 0 && refusal.is_none() {
                            let errno = Errno::from_raw_os_error(-code);
                            refusal = Some(Refusal { index: sequence.wrapping_sub(first), errno });
                        }
                    }
                    KIND_DONE => {}
                    kind => each(kind, body),
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

/// Adds `first` to the number of each message.
fn renumber(bytes: &mut [u8], first: u32) {
    let mut start = 0;
    while let Some(header) = bytes.get_mut(start..start + HEADER_LENGTH) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let number = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        header[8..12].copy_from_slice(&first.wrapping_add(number).to_ne_bytes());
        if length < HEADER_LENGTH {
            return;
        }
        start += length.next_multiple_of(4);
    }
}

/// The messages of a datagram: type, number, what follows the header.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length)?;
        let body = message.get(HEADER_LENGTH..)?;
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let sequence = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

/// A batch whose messages were put into bytes before.
pub(crate) fn from_bytes(bytes: Vec<u8>) -> Batch {
    let count = messages(&bytes).count() as u32;
    Batch { bytes, count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_come_back_as_they_went() {
        let mut batch = Batch::default();
        batch.message(16, ACK, &[1, 2, 3], |attributes| {
            attributes.text(3, "eth0");
            attributes.nest(18, |inner| inner.number(1, 7));
        });
        let bytes = batch.clone().into_bytes();
        let (kind, _, body) = messages(&bytes).next().unwrap();
        assert_eq!((kind, batch.len()), (16, 1));
        let answer = Answer { kind, body: body.to_vec() };
        assert_eq!(answer.attribute(4, 3), Some(&b"eth0\0"[..]));
        let nested = answer.attribute(4, 18).unwrap();
        assert_eq!(attributes(nested).next(), Some((1, &7_u32.to_ne_bytes()[..])));
        assert_eq!(from_bytes(bytes).len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_of_any_kind_make_the_reader_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let count = messages(&bytes).count() + attributes(&bytes).count();
            prop_assert!(count <= bytes.len());
        }
    }
}
