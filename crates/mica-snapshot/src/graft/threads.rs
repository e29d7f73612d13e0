//! Threads beside a walk for what can be done with each file by itself. A few files are not worth them.

use crate::error::{Error, Result};
use rustix::io::Errno;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

/// From how many bytes on threads are worth their start; each file counts as [`LEAST`] at least.
const WORTH_THREADS: u64 = 1 << 20;
const LEAST: u64 = 4 << 10;

/// More threads than this only wait for the file system.
const MOST_THREADS: usize = 4;

/// How much work may wait, each piece with descriptors of its own.
pub(super) const WAITING: usize = 32;

/// A piece of work; it gets a buffer that the next one gets too.
type Work = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Does work: at once, or in threads when it becomes much.
pub(super) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    started: Option<Started<'scope>>,
    buffer: Vec<u8>,
    bytes: u64,
}

struct Started<'scope> {
    queue: SyncSender<Work>,
    handles: Vec<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, started: None, buffer: Vec::new(), bytes: 0 }
    }

    /// Has work done about a file of so many bytes.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        work: impl FnOnce(&mut Vec<u8>) + Send + 'static,
    ) -> Result<()> {
        if let Some(started) = &self.started {
            // They end before us only by a panic, which is seen when they are joined.
            return started
                .queue
                .send(Box::new(work))
                .map_err(|_| Error::io("work on", b"files")(Errno::PIPE));
        }
        self.bytes += bytes.max(LEAST);
        if self.bytes > WORTH_THREADS {
            self.started = Some(start(self.scope)?);
        }
        work(&mut self.buffer);
        Ok(())
    }

    /// Waits until all is done.
    pub(super) fn finish(self) {
        let Some(Started { queue, handles }) = self.started else { return };
        drop(queue);
        for handle in handles {
            if let Err(panic) = handle.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Result<Started<'scope>> {
    let (queue, work) = sync_channel::<Work>(WAITING);
    let work = Arc::new(Mutex::new(work));
    let count = std::thread::available_parallelism().map_or(1, |count| count.get().min(MOST_THREADS));
    let mut handles = Vec::new();
    for _ in 0..count {
        let work = Arc::clone(&work);
        let thread = std::thread::Builder::new().name("files".to_owned());
        let handle = thread.spawn_scoped(scope, move || work_off(&work));
        handles.push(handle.map_err(|source| Error::Io {
            action: "start a thread for",
            path: "files".into(),
            source,
        })?);
    }
    Ok(Started { queue, handles })
}

fn work_off(queue: &Mutex<Receiver<Work>>) {
    let mut buffer = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        work(&mut buffer);
    }
}
