//! Many sockets watched as one descriptor (epoll(7)), which a monitor watches beside its own.

use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::cell::Cell;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The clock.
    Tick,
    /// The resolver's socket for datagrams.
    Datagrams,
    /// An answer to a datagram that was sent on.
    DatagramAnswer(u32),
    /// The resolver's listening socket.
    Streams,
    /// A connection to the resolver, or the one that its query was sent on by.
    StreamClient(u32),
    /// A published port's socket.
    Port(u32),
    /// A relayed connection.
    Connection(u32),
    /// The container's side of relayed datagrams.
    Flow(u32),
    /// The socket by which the container is given ports while it runs.
    Letters,
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Tick => (0, 0),
            Self::Datagrams => (1, 0),
            Self::DatagramAnswer(id) => (2, id),
            Self::Streams => (3, 0),
            Self::StreamClient(id) => (4, id),
            Self::Port(id) => (5, id),
            Self::Connection(id) => (6, id),
            Self::Flow(id) => (7, id),
            Self::Letters => (8, 0),
        };
        kind << 32 | u64::from(number)
    }

    fn unpack(word: u64) -> Option<Self> {
        let number = (word & 0xffff_ffff) as u32;
        Some(match word >> 32 {
            0 => Self::Tick,
            1 => Self::Datagrams,
            2 => Self::DatagramAnswer(number),
            3 => Self::Streams,
            4 => Self::StreamClient(number),
            5 => Self::Port(number),
            6 => Self::Connection(number),
            7 => Self::Flow(number),
            8 => Self::Letters,
            _ => return None,
        })
    }
}

/// How many sockets are told of at once.
const TURN: usize = 64;

/// The set of sockets.
#[derive(Debug)]
pub(crate) struct Watch {
    set: OwnedFd,
    clock: OwnedFd,
    is_ticking: Cell<bool>,
}

impl Watch {
    pub(crate) fn new() -> Result<Self, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let watch = Self { set, clock, is_ticking: Cell::new(false) };
        watch.input(&watch.clock, Token::Tick)?;
        Ok(watch)
    }

    /// Tells whenever something can be read.
    pub(crate) fn input(&self, socket: impl AsFd, token: Token) -> Result<(), Errno> {
        epoll::add(&self.set, socket, epoll::EventData::new_u64(token.pack()), epoll::EventFlags::IN)
    }

    /// Tells once for each time that something more can be read or written.
    pub(crate) fn both(&self, socket: impl AsFd, token: Token) -> Result<(), Errno> {
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.set, socket, epoll::EventData::new_u64(token.pack()), flags)
    }

    /// Tells nothing more of it.
    pub(crate) fn forget(&self, socket: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.set, socket)
    }

    /// Those that something is to be done about now.
    pub(crate) fn ready(&self) -> Vec<Token> {
        let mut events = Vec::with_capacity(TURN);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(&self.set, spare, Some(&now)).is_err() {
            return Vec::new();
        }
        let tokens: Vec<Token> =
            events.iter().filter_map(|event: &epoll::Event| Token::unpack(event.data.u64())).collect();
        if tokens.contains(&Token::Tick) {
            let _ = rustix::io::read(&self.clock, &mut [0; 8][..]);
        }
        tokens
    }

    /// Lets the clock tick each second, or stops it.
    pub(crate) fn tick(&self, is_wanted: bool) {
        if self.is_ticking.replace(is_wanted) == is_wanted {
            return;
        }
        let period = Timespec { tv_sec: i64::from(is_wanted), tv_nsec: 0 };
        let setting = Itimerspec { it_interval: period, it_value: period };
        let _ = timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &setting);
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_as_they_were_given() {
        let all = [
            Token::Tick,
            Token::Datagrams,
            Token::DatagramAnswer(u32::MAX),
            Token::Streams,
            Token::StreamClient(1),
            Token::Port(2),
            Token::Connection(3),
            Token::Flow(4),
            Token::Letters,
        ];
        for token in all {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
        let watch = Watch::new().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        watch.input(&ours, Token::Port(9)).unwrap();
        assert_eq!(watch.ready(), []);
        std::io::Write::write_all(&mut &theirs, b"x").unwrap();
        assert_eq!(watch.ready(), [Token::Port(9)]);
    }
}
