//! A person at a terminal: runs a command on a pseudo-terminal, types, watches the screen, resizes the window.

use crate::invocation::{await_child, exit_code};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long anything on a terminal may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A command on a terminal of 24 rows and 80 columns.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    screen: Vec<u8>,
}

impl Terminal {
    /// Starts a command with the terminal as its controlling one.
    ///
    /// # Panics
    /// If there is no pseudo-terminal to be had or the command cannot be started.
    pub(crate) fn start(
        program: &Path,
        arguments: Vec<OsString>,
        environment: &[(OsString, OsString)],
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&master).expect("the right to the terminal");
        unlockpt(&master).expect("an unlocked terminal");
        let name = ptsname(&master, Vec::new()).expect("the terminal's name");
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        let open = || OpenOptions::new().read(true).write(true).open(path).expect("the terminal's other end");
        let master = File::from(master);
        resize(&master, 24, 80);
        // `setsid --ctty` makes the terminal the controlling one, which std cannot do without unsafe code.
        let child = Command::new("setsid")
            .args([OsStr::new("--ctty"), OsStr::new("--wait"), program.as_os_str()])
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("a command on the terminal");
        Self { master, child, screen: Vec::new() }
    }

    /// Types bytes, control characters as they are.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.master.write_all(bytes.as_ref()).expect("a terminal to type into");
    }

    /// Changes the window's size, as dragging its corner does.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    /// Waits until something is on the screen that has not been waited for before; returns all up to and with it.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn expect(&mut self, part: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(at) = find(&self.screen, part.as_bytes()) {
                let seen: Vec<u8> = self.screen.drain(..at + part.len()).collect();
                return String::from_utf8_lossy(&seen).into_owned();
            }
            assert!(
                self.read(deadline),
                "{part:?} never came; only {:?}",
                String::from_utf8_lossy(&self.screen)
            );
        }
    }

    /// Waits for the end of the command; returns what was left on the screen and the exit code.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn finish(mut self) -> (String, i32) {
        let deadline = Instant::now() + LIMIT;
        while self.read(deadline) {}
        let status = await_child(&mut self.child, LIMIT);
        let screen = String::from_utf8_lossy(&self.screen).into_owned();
        let code = status.map(exit_code);
        assert!(code.is_some(), "still running; the screen shows {screen:?}");
        (screen, code.unwrap_or_default())
    }

    /// Reads what is there; `false` when the other end has closed or time is up.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], timeout.as_ref()) == Ok(0) {
            return false;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.screen.extend(&buffer[..count]);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(master: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("a terminal with a size");
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Terminal {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Terminal::start(Path::new("/bin/sh"), vec!["-c".into(), script.into()], &[("PATH".into(), path)])
    }

    #[test]
    fn a_command_sees_a_terminal_and_its_size() {
        let mut terminal = shell("test -t 0 && stty size; read word; stty size; exit 5");
        terminal.expect("24 80");
        terminal.resize(40, 132);
        terminal.send("go\n");
        terminal.expect("40 132");
        assert_eq!(terminal.finish().1, 5);
    }

    #[test]
    fn control_c_reaches_the_command() {
        let mut terminal = shell("trap 'echo caught; exit 9' INT; echo ready; while :; do read word; done");
        terminal.expect("ready");
        terminal.send([3]);
        terminal.expect("caught");
        assert_eq!(terminal.finish().1, 9);
    }
}
