//! Programs that decide about devices in a cgroup of version 2: bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`.

use crate::process::last_error;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io;

/// Commands and constants of `linux/bpf.h`, which libc lacks.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is left out for zero.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program of `instructions`, each in the kernel's encoding of eight bytes (bpf(2)).
///
/// # Errors
/// `EINVAL` or `EACCES` when the verifier refuses it, `EPERM` without the right, `ENOSYS` without the call.
pub fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    // The program calls no function of the kernel, so that its licence gives it nothing.
    let license = c"MIT";
    let attributes = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| io::Errno::TOOBIG)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes and what they point to live until the call returns, with the lengths given;
    // the kernel only reads them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    match i32::try_from(result) {
        // SAFETY: the kernel has made a new descriptor (close-on-exec by itself) that nobody else owns.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(last_error()),
    }
}

/// Attaches a loaded program to a cgroup's directory, where it stays for as long as the cgroup does. It holds beside
/// the programs of the cgroups above: all of them must agree.
///
/// # Errors
/// What bpf(2) tells.
pub fn attach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes live until the call returns; the kernel only reads them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}
