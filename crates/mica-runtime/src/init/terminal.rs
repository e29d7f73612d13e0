//! The terminal: made in the container's own devpts, held by the monitor.

use super::root::attach_at;
use super::{Chapter, at};
use crate::TerminalSize;
use crate::error::{SetupError, SetupStep};
use crate::monitor::MESSAGE_TERMINAL;
use crate::order::send_with;
use mica_sys::attribute::Reach;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Type of a devpts file system (`linux/magic.h`).
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// The devpts of a running container, from inside it.
pub(super) fn open_devpts() -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Terminal, "/dev/pts", errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let devpts = openat(CWD, "/dev/pts", flags, Mode::empty()).map_err(failed)?;
    // The container may have put anything there.
    let file_system = rustix::fs::fstatfs(&devpts).map_err(failed)?.f_type;
    if file_system as u64 == DEVPTS_SUPER_MAGIC { Ok(devpts) } else { Err(failed(Errno::NODEV)) }
}

/// Opens a terminal in `devpts`, sets its size and sends the monitor its end; gives the other.
pub(super) fn open(devpts: &OwnedFd, size: Option<TerminalSize>, channel: &OwnedFd) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Terminal, "", errno);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let controller = openat(devpts, "ptmx", flags, Mode::empty()).map_err(failed)?;
    unlockpt(&controller).map_err(failed)?;
    // Before anything can be written: programs ask for the size when they start.
    if let Some(size) = size {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).map_err(failed)?;
    }
    // By the descriptor, never by the name in /dev/pts, which the container could exchange.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&controller, flags).map_err(failed)?;
    send_with(channel.as_fd(), &[MESSAGE_TERMINAL], &[controller.as_fd()]).map_err(failed)?;
    Ok(terminal)
}

/// Shows the terminal as `/dev/console` in a fresh `/dev`.
pub(super) fn show_as_console(terminal: &OwnedFd, dev: &OwnedFd) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Terminal, "/dev/console", errno);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(dev, "console", flags, Mode::from_raw_mode(0o620)).map_err(failed)?;
    let copy = super::root::copy_tree(terminal.as_fd(), Reach::One).map_err(failed)?;
    attach_at(copy.as_fd(), place.as_fd()).map_err(failed)
}

/// The terminal as all three standard streams.
pub(super) fn streams(terminal: OwnedFd) -> Chapter<[Option<OwnedFd>; 3]> {
    let duplicate = || rustix::io::fcntl_dupfd_cloexec(&terminal, 3).map_err(at(SetupStep::Terminal, ""));
    let (output, error) = (duplicate()?, duplicate()?);
    Ok([Some(terminal), Some(output), Some(error)])
}
