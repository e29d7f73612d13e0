//! Raw mode of a terminal, given back however the process ends, and the size of its window.

use rustix::termios::{self, OptionalActions, Termios};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

/// What a terminal was like before raw mode, for whoever comes first to restore it: the guard,
/// the panic hook, or a fatal signal.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

/// The hook stays for the life of the process, so it is added once.
static HOOK: Once = Once::new();

struct Saved {
    terminal: OwnedFd,
    modes: Termios,
}

/// While this lives the terminal is raw: every key goes to the container as it is typed.
#[derive(Debug)]
#[must_use = "the terminal is restored when this is dropped"]
pub struct RawMode(());

impl RawMode {
    /// Makes `terminal` raw, as cfmakeraw(3) describes.
    ///
    /// # Errors
    /// When it is not a terminal, or when its modes cannot be changed.
    pub fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let modes = termios::tcgetattr(&terminal)?;
        let mut raw = modes.clone();
        raw.make_raw();
        HOOK.call_once(restore_on_panic);
        let saved = Saved { terminal: terminal.as_fd().try_clone_to_owned()?, modes };
        SAVED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(saved);
        let guard = Self(());
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal if it is raw; for those who are about to end the process without
/// unwinding.
pub fn restore() {
    // A panic inside the short critical sections below is impossible, so waiting is safe.
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Saved { terminal, modes }) = saved {
        // The terminal may be gone (hang-up); then there is nothing to restore.
        let _ = termios::tcsetattr(terminal, OptionalActions::Drain, &modes);
    }
}

/// Release builds abort on a panic without dropping anything, but they do run the hook.
fn restore_on_panic() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        restore();
        previous(information);
    }));
}

/// The longest line that is read unseen, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Reads a line from `terminal` that nobody sees; `None` if it was given up with Ctrl-C. It is asked for once
/// nothing is shown any more, so that whoever is quick is not seen either.
///
/// # Errors
/// When it is not a terminal, or cannot be read.
pub fn hidden_line(terminal: impl AsFd, ask: impl FnOnce()) -> io::Result<Option<String>> {
    // The keys that end programs come as bytes too, so that echo is never left switched off.
    let guard = RawMode::enter(&terminal)?;
    ask();
    let mut line = Vec::new();
    let mut byte = [0];
    let is_kept = loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&terminal, &mut byte))?;
        match byte[0] {
            _ if count == 0 => break true,
            b'\r' | b'\n' => break true,
            END_OF_INPUT if line.is_empty() => break true,
            INTERRUPT => break false,
            BACKSPACE | DELETE => erase_letter(&mut line),
            ERASE_LINE => line.clear(),
            _ if line.len() < LINE_BYTES_MAX => line.push(byte[0]),
            _ => {}
        }
    };
    drop(guard);
    Ok(is_kept.then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// Ctrl-D.
const END_OF_INPUT: u8 = 4;
const BACKSPACE: u8 = 8;
/// Ctrl-U.
const ERASE_LINE: u8 = 21;
const DELETE: u8 = 127;

/// Takes the last letter away, which may be of several bytes.
fn erase_letter(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

/// The size of a window in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The size of the window of `terminal`; nothing if it is none or does not know.
pub fn window_size(terminal: impl AsFd) -> Option<WindowSize> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    (size.ws_row != 0 || size.ws_col != 0).then_some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    /// The tests share the one saved state of the process.
    pub(in crate::terminal) static TERMINAL: Mutex<()> = Mutex::new(());

    /// Both ends of a new terminal.
    pub(in crate::terminal) fn terminal_pair() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let user = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        (controller, user)
    }

    pub(in crate::terminal) fn echoes(terminal: &OwnedFd) -> bool {
        termios::tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    #[test]
    fn raw_until_dropped() {
        let _alone = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
        let (_controller, user) = terminal_pair();
        assert!(echoes(&user));
        let raw = RawMode::enter(&user).unwrap();
        assert!(!echoes(&user));
        drop(raw);
        assert!(echoes(&user));
    }

    #[test]
    fn a_panic_restores_before_it_unwinds() {
        let _alone = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
        let (_controller, user) = terminal_pair();
        let raw = RawMode::enter(&user).unwrap();
        let ended = std::thread::spawn(|| panic!("expected by the test")).join();
        assert!(ended.is_err() && echoes(&user));
        drop(raw);
    }

    #[test]
    fn a_hidden_line_can_be_mended_and_given_up() {
        let _alone = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
        let typed = |keys: &[u8]| {
            let (controller, user) = terminal_pair();
            // What is typed before is not lost.
            let mut modes = termios::tcgetattr(&user).unwrap();
            modes.make_raw();
            termios::tcsetattr(&user, OptionalActions::Now, &modes).unwrap();
            rustix::io::write(&controller, keys).unwrap();
            hidden_line(&user, || assert!(!echoes(&user))).unwrap()
        };
        assert_eq!(typed(b"secret\r").as_deref(), Some("secret"));
        assert_eq!(typed("wrong\u{15}se\u{e9}\u{7f}c\u{8}cret\n".as_bytes()).as_deref(), Some("secret"));
        assert_eq!(typed(b"\x04").as_deref(), Some(""));
        assert_eq!(typed(b"sec\x03ret\r"), None);
    }

    #[test]
    fn files_are_no_terminals() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(RawMode::enter(&file).is_err());
        assert_eq!(window_size(&file), None);
    }
}
