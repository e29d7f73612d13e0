//! Builds that go on at the same time: they end together when one fails, use each other's results, and do no step twice.

use crate::error::{Error, Result};
use crate::image::record::LayerRecord;
use mica_build::image::Image;
use mica_model::Digest;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// What builds at the same time share; a lone build has one for itself.
#[derive(Debug, Default)]
pub(super) struct Crew {
    is_cancelled: AtomicBool,
    /// The first that failed.
    culprit: Mutex<Option<String>>,
    /// Run directories of commands that run.
    running: Mutex<Vec<PathBuf>>,
    /// Programs of this machine that run.
    helpers: Mutex<HashMap<u32, OwnedFd>>,
    results: Mutex<HashMap<String, Finished>>,
    /// Steps that were done, and not found.
    done: Mutex<HashSet<Digest>>,
    /// Steps that are being looked for or done, each with its thread.
    claims: Mutex<HashMap<Digest, ThreadId>>,
    bell: Condvar,
}

/// What a build has made.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) image: Image,
    /// Where its layers lie, and those of its bases.
    pub(super) layers: HashMap<Digest, LayerRecord>,
}

impl Crew {
    /// Whether what is begun is to end.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Ends all builds because the one of this name has failed.
    pub(super) fn cancel(&self, name: &str) {
        held(&self.culprit).get_or_insert_with(|| name.to_owned());
        self.is_cancelled.store(true, Ordering::Relaxed);
        for run in held(&self.running).iter() {
            // One that has just ended need not be ended.
            let _ = mica_runtime::kill(run, 9);
        }
        held(&self.helpers).values().for_each(end);
        drop(held(&self.claims));
        self.bell.notify_all();
    }

    /// Whether a build of this name was the first that failed.
    pub(super) fn is_culprit(&self, name: &str) -> bool {
        held(&self.culprit).as_deref().is_none_or(|culprit| culprit == name)
    }

    /// A command runs from now on.
    pub(super) fn begun(&self, run: PathBuf) -> Result<()> {
        held(&self.running).push(run);
        if self.is_cancelled() { Err(given_up()) } else { Ok(()) }
    }

    /// A command does not run any more.
    pub(super) fn ended(&self, run: &PathBuf) {
        held(&self.running).retain(|running| running != run);
    }

    /// A program runs for as long as what this answers lives, and is ended when the crew is.
    pub(super) fn helper(&self, child: &Child) -> Helper<'_> {
        let pid = Pid::from_child(child);
        // Without a descriptor it is only waited for.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            if self.is_cancelled() {
                end(&pidfd);
            }
            held(&self.helpers).insert(child.id(), pidfd);
        }
        // It may have been given up in between.
        if self.is_cancelled() {
            held(&self.helpers).values().for_each(end);
        }
        Helper { crew: self, id: child.id() }
    }

    /// Whether one of these builds has done a step itself.
    pub(super) fn has_done(&self, key: &Digest) -> bool {
        held(&self.done).contains(key)
    }

    /// Waits until no other thread is at this step, and is at it from then on.
    pub(super) fn claim(&self, key: &Digest) -> Result<()> {
        let me = std::thread::current().id();
        let mut claims = held(&self.claims);
        loop {
            if self.is_cancelled() {
                return Err(given_up());
            }
            match claims.get(key) {
                Some(other) if *other != me => {
                    claims = self.bell.wait(claims).unwrap_or_else(PoisonError::into_inner);
                }
                _ => {
                    claims.insert(*key, me);
                    return Ok(());
                }
            }
        }
    }

    /// This thread is not at any step any more: it was done before.
    pub(super) fn disclaim_all(&self) {
        let me = std::thread::current().id();
        held(&self.claims).retain(|_, owner| *owner != me);
        self.bell.notify_all();
    }

    /// A step is done.
    pub(super) fn disclaim(&self, key: &Digest) {
        held(&self.done).insert(*key);
        held(&self.claims).remove(key);
        self.bell.notify_all();
    }

    /// Lets the others use a result.
    pub(super) fn finish(&self, name: &str, finished: Finished) {
        held(&self.results).insert(name.to_owned(), finished);
    }

    /// The result of another build.
    pub(super) fn result(&self, name: &str) -> Option<Finished> {
        held(&self.results).get(name).cloned()
    }
}

/// A program of this machine that runs for a build.
#[derive(Debug)]
pub(super) struct Helper<'a> {
    crew: &'a Crew,
    id: u32,
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        held(&self.crew.helpers).remove(&self.id);
    }
}

fn end(pidfd: &OwnedFd) {
    // One that has just ended need not be ended.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
}

/// The error of what ends because something else has failed.
pub(super) fn given_up() -> Error {
    Error::state("the build was given up")
}

/// What is behind a lock, whether or not a thread died while it had it.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn key() -> Digest {
        Digest::from_hex(&"ab".repeat(32)).unwrap()
    }

    #[test]
    fn a_step_is_done_by_one_thread_at_a_time() {
        let crew = Crew::default();
        crew.claim(&key()).unwrap();
        crew.claim(&key()).unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tell.send("waits").unwrap();
                crew.claim(&key()).unwrap();
                tell.send("has it").unwrap();
                crew.disclaim_all();
            });
            assert_eq!(told.recv().unwrap(), "waits");
            assert!(told.try_recv().is_err());
            crew.disclaim(&key());
            assert_eq!(told.recv().unwrap(), "has it");
        });
        crew.claim(&key()).unwrap();
    }

    #[test]
    fn a_program_ends_with_the_crew() {
        use std::os::unix::process::ExitStatusExt;
        let crew = Crew::default();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let helper = crew.helper(&child);
        crew.cancel("first");
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        drop(helper);
        assert!(held(&crew.helpers).is_empty());
        // One that begins too late does not run on.
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let _helper = crew.helper(&child);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn who_waits_for_a_step_hears_of_the_end() {
        let crew = Crew::default();
        crew.claim(&key()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| crew.claim(&key()));
            crew.cancel("first");
            crew.cancel("second");
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(crew.is_culprit("first") && !crew.is_culprit("second"));
        assert!(crew.begun(PathBuf::from("/run")).is_err());
    }
}
