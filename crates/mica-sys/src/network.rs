//! Network interfaces by ioctl (netdevice(7)).

use crate::process::last_error;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Brings the loopback interface of the current network namespace up.
pub fn loopback_up() -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain integers and bytes, for which all-zero bytes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request has a name that ends with NUL and lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}

/// unshare(2) of the network namespace: the calling thread gets one of its own with nothing in it.
pub fn enter_new() -> io::Result<()> {
    // SAFETY: only `CLONE_FILES` endangers descriptors of other threads, and it is not asked for.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
}

/// getsockopt(2) of an option, by its level and name, that is bytes: they are read and written in place.
pub fn socket_option(socket: BorrowedFd<'_>, (level, name): (i32, i32), value: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| io::Errno::INVAL)?;
    let start = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `length` bytes, which the slice has and which may be any bytes.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, start, &raw mut length) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}
