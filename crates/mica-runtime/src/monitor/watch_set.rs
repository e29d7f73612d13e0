//! What a monitor waits for, and the waiting.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// How often is looked where the kernel does not wait for us.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How many files a process may have open if nobody says otherwise.
const LIMIT_USUAL: u64 = 1024;

/// Descriptors with what each of them is for.
#[derive(Debug)]
pub(super) struct WatchSet<'a, T> {
    purposes: Vec<(T, PollFlags)>,
    set: Vec<PollFd<'a>>,
}

impl<'a, T: Copy> WatchSet<'a, T> {
    pub(super) fn new() -> Self {
        Self { purposes: Vec::new(), set: Vec::new() }
    }

    /// Adds a descriptor that is awaited by `flags`.
    pub(super) fn add(&mut self, purpose: T, descriptor: BorrowedFd<'a>, flags: PollFlags) {
        self.purposes.push((purpose, flags));
        self.set.push(PollFd::from_borrowed_fd(descriptor, flags));
    }

    /// Waits until something can be done, or `timeout` has passed.
    pub(super) fn wait(mut self, timeout: Option<&Timespec>) -> Vec<(T, PollFlags)> {
        let polled = match poll(&mut self.set, timeout) {
            // Its limit of open files was lowered below what it has open.
            Err(Errno::INVAL) if raise_limit(self.set.len()) => poll(&mut self.set, timeout),
            other => other,
        };
        match polled {
            Ok(0) => Vec::new(),
            // All that it watches it can also try without being held up.
            Err(Errno::INVAL) => {
                std::thread::sleep(LOOK_INTERVAL);
                self.purposes
            }
            Err(_) => Vec::new(),
            Ok(_) => {
                let purposes = self.purposes.into_iter().map(|(purpose, _)| purpose);
                let ready = purposes.zip(self.set.iter().map(PollFd::revents));
                ready.filter(|(_, flags)| !flags.is_empty()).collect()
            }
        }
    }
}

/// Takes back what was taken of the limit of open files, below which nothing could be opened either, and the end
/// of the container not be written down; `false` without the right to.
pub(super) fn raise_limit(count: usize) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (count as u64).max(LIMIT_USUAL);
    let Some(current) = current.filter(|current| *current < wanted) else { return false };
    let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|most| most.max(wanted)) };
    // Without the right to more there may still be some below what is the most.
    let nearly = Rlimit { current: maximum.map(|most| most.min(wanted)), maximum };
    let is_more = nearly.current.is_none_or(|most| most > current);
    setrlimit(Resource::Nofile, raised).is_ok() || is_more && setrlimit(Resource::Nofile, nearly).is_ok()
}
