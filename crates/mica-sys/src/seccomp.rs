//! Filters on system calls.

use crate::process::last_error;
use rustix::io::{self, Errno};

/// seccomp(2) `SECCOMP_SET_MODE_FILTER` with `SECCOMP_FILTER_FLAG_*`: from now on the kernel asks the
/// program, made of instructions of eight bytes (`struct sock_filter`), about each system call.
///
/// Needs `CAP_SYS_ADMIN` or no_new_privs. `EINVAL` if it is not a valid program.
pub fn load(program: &[u8], flags: u32) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let count = u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    let described = libc::sock_fprog { len: count, filter: instructions.as_mut_ptr() };
    // SAFETY: the description names as many instructions as there are; the kernel copies them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const described)
    };
    match result {
        0 => Ok(()),
        -1 => Err(last_error()),
        // With TSYNC: the thread that could not follow.
        _ => Err(Errno::SRCH),
    }
}
