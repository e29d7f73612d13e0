//! Signals as something to poll: those that are passed on to a container, and changes of the
//! window.

use rustix::fd::AsFd;
use signal_hook::consts::signal as number;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What docker's `--sig-proxy` passes on: everything but SIGCHLD, SIGPIPE, SIGURG and SIGWINCH,
/// those that cannot be caught, faults of our own program, and SIGTTIN/SIGTTOU, without which a
/// background job would spin instead of stopping.
pub const PROXIED: &[i32] = &[
    number::SIGHUP,
    number::SIGINT,
    number::SIGQUIT,
    number::SIGTRAP,
    number::SIGABRT,
    number::SIGUSR1,
    number::SIGUSR2,
    number::SIGALRM,
    number::SIGTERM,
    number::SIGCONT,
    number::SIGTSTP,
    number::SIGXCPU,
    number::SIGXFSZ,
    number::SIGVTALRM,
    number::SIGPROF,
    number::SIGIO,
    number::SIGSYS,
];

/// Signals that end us: a raw terminal is restored before.
pub const FATAL: &[i32] = &[number::SIGHUP, number::SIGINT, number::SIGQUIT, number::SIGTERM];

/// The window has another size.
pub const WINDOW_CHANGED: i32 = number::SIGWINCH;

/// Whether nobody listens, so that signals shall do what they do by default. Handlers cannot be
/// removed once installed, only told to act so.
static DEFAULT_ACTION: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// How many listeners live.
static LISTENERS: Mutex<usize> = Mutex::new(0);

/// A listener for signals; while one lives they do not have their default effect.
#[derive(Debug)]
pub struct SignalListener {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    _count: Counted,
}

/// Counts a listener until it is dropped.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Self {
        let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
        *listeners += 1;
        DEFAULT_ACTION.get_or_init(Arc::default).store(false, Ordering::SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
        *listeners -= 1;
        DEFAULT_ACTION.get_or_init(Arc::default).store(*listeners == 0, Ordering::SeqCst);
    }
}

impl SignalListener {
    /// Listens for `signals`.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let count = Counted::new();
        let default_action = DEFAULT_ACTION.get_or_init(Arc::default);
        let (read, write) = UnixStream::pair()?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
        for &signal in signals {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(default_action))?;
        }
        Ok(Self { delivery, _count: count })
    }

    /// The signals that have arrived; never waits.
    pub fn pending(&mut self) -> impl Iterator<Item = i32> {
        self.delivery.pending()
    }

    /// What to poll for reading.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Restores the terminal and lets `signal` do to us what it does by default.
pub fn end_by(signal: i32) {
    super::raw::restore();
    // It fails for forbidden signals only, which are never listened for.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
