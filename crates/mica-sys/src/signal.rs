//! Signals: dispositions, masks, and sending by pidfd.

use crate::process::last_error;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// Highest signal number on Linux (signal(7)).
pub const SIGNAL_MAX: i32 = 64;

/// Sets every signal to its default action and unblocks all: what a fresh program expects.
pub fn reset_all() {
    // The kernel's `struct sigaction` with SIG_DFL, no flags and an empty mask is all zeros. The C library would not
    // touch the two signals that it keeps for itself, which its posix_spawn(3) leaves ignored.
    let default = [0_u64; 4];
    let mask_length = size_of::<u64>();
    for signal in 1..=SIGNAL_MAX {
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: the kernel only reads the action, which is as large as its structure; a null old action is not
        // written; numbers that cannot be set are refused.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, mask_length) };
    }
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised above; a null old set is not written.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) };
}

/// Ignores the signals by which terminals and sessions end processes.
pub fn ignore_terminations() {
    const IGNORED: [i32; 8] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGPIPE,
        libc::SIGTERM,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    for signal in IGNORED {
        // SAFETY: SIG_IGN is no handler of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Number of the signal that tells of a child's end.
pub const CHILD: i32 = libc::SIGCHLD;

/// Blocks every signal but those that a fault of this process itself raises: what comes is kept for
/// [`wait_any`], even where its action is to be ignored.
pub fn block_all() -> io::Result<()> {
    let set = all_but_faults();
    // SAFETY: the set is initialised; a null old set is not written.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// sigwaitinfo(2) for all that [`block_all`] blocks; gives the number of the next one.
pub fn wait_any() -> io::Result<i32> {
    let set = all_but_faults();
    loop {
        // SAFETY: the set is initialised; a null information is not written.
        let number = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        match number {
            -1 if last_error() == rustix::io::Errno::INTR => {}
            -1 => return Err(last_error()),
            number => return Ok(number),
        }
    }
}

fn all_but_faults() -> libc::sigset_t {
    const FAULTS: [i32; 7] =
        [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGSYS, libc::SIGTRAP];
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: it was initialised above.
    let mut set = unsafe { set.assume_init() };
    for signal in FAULTS {
        // SAFETY: the set is initialised and the number is that of a signal.
        unsafe { libc::sigdelset(&raw mut set, signal) };
    }
    set
}

/// pidfd_send_signal(2), for any signal number, real-time ones included; 0 only tests.
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` for a number that is no signal.
pub fn send(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is not followed; the descriptor is borrowed for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, information, 0) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}
