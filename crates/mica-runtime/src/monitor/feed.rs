//! The container's standard input: what clients sent and it has not read yet.

use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The writing side of a container's input.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: Option<OwnedFd>,
    pending: Vec<u8>,
    start: usize,
    /// Close once everything pending is written.
    closing: bool,
}

impl Feed {
    pub(super) fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe, pending: Vec::new(), start: 0, closing: false }
    }

    /// Whether clients may send more: then at most one read of each is ever held.
    pub(super) fn has_room(&self) -> bool {
        self.start == self.pending.len()
    }

    /// The pipe, when there is something to write to it.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        if self.has_room() { None } else { self.pipe.as_ref().map(AsFd::as_fd) }
    }

    /// Whether the container still has an input to write to.
    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.pipe.is_none() || self.closing {
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while let Some(pipe) = &self.pipe
            && self.start < self.pending.len()
        {
            match rustix::io::write(pipe, &self.pending[self.start..]) {
                Ok(written) => self.start += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads any more; what is left has no destination.
                Err(_) => self.abandon(),
            }
        }
        (self.pending, self.start) = (Vec::new(), 0);
        if self.closing {
            self.pipe = None;
        }
    }

    /// Closes the input after what is pending.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.flush();
    }

    fn abandon(&mut self) {
        self.pipe = None;
        (self.pending, self.start) = (Vec::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn everything_arrives_before_the_end() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        let mut feed = Feed::new(Some(write));
        feed.push(&vec![1; 300_000]);
        assert!(!feed.has_room());
        feed.close();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::fs::File::from(read).read_to_end(&mut all).unwrap();
            all.len()
        });
        while feed.is_open() {
            feed.flush();
        }
        assert_eq!(reader.join().unwrap(), 300_000);
    }

    #[test]
    fn a_closed_reader_does_not_hold_clients_up() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        let mut feed = Feed::new(Some(write));
        drop(read);
        // The test harness ignores SIGPIPE, as a monitor does.
        feed.push(b"lost");
        assert!(feed.has_room() && !feed.is_open());
    }
}
