//! Ports that a container is given while it runs: sent to its monitor, which holds them from then on.
//!
//! ```text
//! RUN/network/letters/<container>    a socket for datagrams, which the monitor reads
//! ```
//!
//! Only a container that wants ports and began where it could have none has one: on a network whose links the host
//! does not lead to, or on none.

use crate::attendant::Ports;
use crate::error::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, recvmsg,
    sendmsg, socket_with, sockopt,
};
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many sockets go into one letter; the kernel takes 253 (unix(7)).
pub(crate) const SOCKETS_MAX: usize = 100;

/// The longest letter, in bytes: what the kernel takes for a datagram without being asked for more.
const LENGTH_MAX: usize = 128 << 10;

/// How long a monitor may take to make room for a letter.
const PATIENCE: Duration = Duration::from_secs(10);

fn path(run_root: &Path, container: &str) -> PathBuf {
    run_root.join("network/letters").join(container)
}

/// Makes the socket that a monitor is to read.
pub(crate) fn receiver(run_root: &Path, container: &str) -> Result<OwnedFd> {
    let path = path(run_root, container);
    let parent = path.parent().unwrap_or(run_root);
    fs::create_dir_all(parent).map_err(Error::file("make directory", parent))?;
    // Of a monitor that was killed.
    let _ = fs::remove_file(&path);
    let failed = |errno: Errno| Error::file("make the socket", &path)(errno.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).map_err(failed)?;
    by_short_path(&path, |address| bind(&socket, address)).map_err(failed)?;
    Ok(socket)
}

/// A way to a monitor that reads letters; `None` if there is none.
pub(crate) fn sender(run_root: &Path, container: &str) -> Result<Option<OwnedFd>> {
    let path = path(run_root, container);
    let failed = |errno: Errno| Error::file("write to the monitor at", &path)(errno.into());
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(failed)?;
    match by_short_path(&path, |address| connect(&socket, address)) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE)).map_err(failed)?;
    Ok(Some(socket))
}

/// Sends one letter.
pub(crate) fn send(socket: &OwnedFd, ports: &Ports, sockets: &[BorrowedFd<'_>]) -> Result<()> {
    let failed = |errno: Errno| Error::file("write to the monitor at", Path::new("its socket"))(errno.into());
    let text = postcard::to_stdvec(ports).unwrap_or_default();
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(failed(Errno::TOOBIG));
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)
    });
    sent.map(drop).map_err(failed)
}

/// Reads one letter, if there is one.
pub(crate) fn receive(socket: &OwnedFd) -> Option<(Ports, Vec<OwnedFd>)> {
    let mut text = vec![0; LENGTH_MAX];
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = received.ok()?.bytes;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    Some((postcard::from_bytes(text.get(..length)?).ok()?, sockets))
}

/// Removes the socket.
pub(crate) fn forget(run_root: &Path, container: &str) {
    let _ = fs::remove_file(path(run_root, container));
}

/// By way of /proc/self/fd the length of the run-time directory's path does not matter.
fn by_short_path(
    path: &Path,
    act: impl FnOnce(&SocketAddrUnix) -> std::result::Result<(), Errno>,
) -> std::result::Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(CWD, path.parent().unwrap_or(path), flags, Mode::empty())?;
    let name = path.file_name().unwrap_or_default();
    let short = PathBuf::from(format!("/proc/self/fd/{}", parent.as_fd().as_raw_fd())).join(name);
    act(&SocketAddrUnix::new(short)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_arrives_with_its_sockets_and_nobody_writes_to_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("l".repeat(120));
        fs::create_dir_all(&long).unwrap();
        assert!(sender(&long, "aa").unwrap().is_none());
        let receiver = receiver(&long, "aa").unwrap();
        assert!(receive(&receiver).is_none());
        let sender_of_letters = sender(&long, "aa").unwrap().unwrap();
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let ports = Ports { withdrawal: vec![vec![1, 2, 3]], ..Ports::default() };
        send(&sender_of_letters, &ports, &[held.as_fd()]).unwrap();
        let (read, sockets) = receive(&receiver).unwrap();
        assert_eq!((read.withdrawal, sockets.len()), (ports.withdrawal, 1));
        let same = rustix::net::getsockname(&sockets[0]).unwrap();
        assert_eq!(std::net::SocketAddr::try_from(same).unwrap(), held.local_addr().unwrap());
        drop(receiver);
        assert!(sender(&long, "aa").unwrap().is_none());
        forget(&long, "aa");
    }
}
