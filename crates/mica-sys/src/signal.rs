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
