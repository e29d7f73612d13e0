//! Making processes and replacing programs: clone3(2), execve(2), close_range(2), prctl(2).

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::mount::UnmountFlags;
use std::ffi::CStr;

/// Which side of a clone one is on.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// Pid of the child as this process sees it.
        pid: u32,
        /// Descriptor of the child (pidfd_open(2)).
        pidfd: OwnedFd,
    },
}

/// `CLONE_NEW*` flags of a process to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceFlags(u64);

impl NamespaceFlags {
    /// No new namespace.
    pub const NONE: Self = Self(0);
    /// Mount points.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// Process ids.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// System V IPC and message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// Network.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// Users, groups and capabilities.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);

    /// Whether all of `other` are among them.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `linux/sched.h`; libc's constant of this name overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2): forks into new namespaces and, with `cgroup`, straight into a cgroup of version 2.
///
/// # Errors
/// `EDEADLK` when this process has more than one thread: a fork of such a process could find any
/// lock of its allocator held for ever, so it is refused. Else what clone3(2) tells.
pub fn fork(namespaces: NamespaceFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    refuse_threads()?;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain integers, for which all-zero bytes are valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces.0 | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live until the call returns and describe no new stack, so the child runs
    // on a copy of this one; the process has a single thread, so no lock is held by another.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match result {
        -1 => Err(last_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent {
            pid: pid as u32,
            // SAFETY: the kernel has stored a new descriptor that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

fn refuse_threads() -> io::Result<()> {
    // proc(5): the directory has one sub-directory per thread, which its link count tells.
    let threads = rustix::fs::stat("/proc/self/task")?.st_nlink.saturating_sub(2);
    if threads > 1 { Err(Errno::DEADLK) } else { Ok(()) }
}

/// execve(2); returns only with an error.
pub fn execute(program: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> Errno {
    let pointers = |texts: &[&CStr]| {
        let mut pointers: Vec<*const libc::c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and point to texts that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// _exit(2) without running any destructor or handler: for children that could not exec.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

/// close_range(2) with `CLOSE_RANGE_CLOEXEC`: every descriptor from `first` on ends with the next exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: takes three integers; only sets a flag on descriptors, so no owner is invalidated.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// close_range(2): closes every descriptor from `first` on that was inherited.
///
/// To be called first thing in a process, before anything of it owns a descriptor from `first` on.
pub fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: takes three integers; by the contract above no descriptor in the range has an owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// close_range(2): closes every descriptor from 3 on but those `kept`.
///
/// For a forked child that never returns to the frames that own the others.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept.iter().map(|descriptor| descriptor.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers.into_iter().filter(|number| *number >= 3).chain([u32::MAX]) {
        if first < number {
            // SAFETY: takes three integers; by the contract above nobody uses the range any more.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) };
            if result == -1 {
                return Err(last_error());
            }
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// Closes standard input, output and error, for a process that uses none of them.
pub fn close_standard_streams() {
    for number in 0..3 {
        // SAFETY: by the contract above nobody owns or uses these numbers any more.
        unsafe { libc::close(number) };
    }
}

/// Writes over this process's own arguments, which listings show (proc(5), `cmdline`); what does not fit
/// into the old ones is left out.
///
/// To be called by a process with one thread that does not look at its arguments any more.
pub fn show_arguments(arguments: &[&str]) -> io::Result<()> {
    let (start, end) = arguments_range().ok_or(Errno::NOENT)?;
    let mut text: Vec<u8> = arguments.iter().flat_map(|argument| argument.bytes().chain([0])).collect();
    text.resize(end - start, 0);
    // The last byte stays zero, or the kernel would show the environment after it.
    if let Some(last) = text.last_mut() {
        *last = 0;
    }
    // SAFETY: the kernel says that these bytes of the stack are the arguments; they stay mapped and writable, and by
    // the contract above nobody reads them meanwhile. As many bytes are written as there are.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), start as *mut u8, text.len()) };
    Ok(())
}

/// `arg_start` and `arg_end`, fields 48 and 49 of `/proc/self/stat`.
fn arguments_range() -> Option<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(45);
    let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (0 < start && start < end).then_some((start, end))
}

/// prctl(2) `PR_SET_DUMPABLE` 0: nobody without `CAP_SYS_PTRACE` may look into this process.
pub fn forbid_inspection() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
}

/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`: an anonymous session keyring, so that the host's stays unseen.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for an anonymous keyring and is not followed.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// umount2(2) of the current directory with `MNT_DETACH`, as after `pivot_root(".", ".")`.
pub fn detach_current_directory() -> io::Result<()> {
    rustix::mount::unmount(".", UnmountFlags::DETACH)
}

/// unshare(2) of the cgroup namespace: the present cgroups become the roots that are seen.
pub fn new_cgroup_namespace() -> io::Result<()> {
    // SAFETY: only `CLONE_FILES` endangers descriptors of other threads, and it is not asked for.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// unshare(2) of the calling thread's mount namespace; its working directory and umask become its own.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: only `CLONE_FILES` endangers descriptors of other threads, and it is not asked for.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// prlimit(2) of a process, or of this one for pid 0; `u64::MAX` is no limit, `resource` a `RLIMIT_*` number.
pub fn limit(pid: u32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the new limit lives until the call returns; a null old limit is not written.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, none) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// Gives free memory of the allocator back to the kernel (malloc_trim(3)).
pub fn trim_memory() {
    // SAFETY: takes no pointers; the allocator locks itself.
    unsafe { libc::malloc_trim(0) };
}

pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receive.recv());
        assert_eq!(fork(NamespaceFlags::NONE, None).err(), Some(Errno::DEADLK));
        drop(send);
        assert!(thread.join().unwrap().is_err());
    }
}
