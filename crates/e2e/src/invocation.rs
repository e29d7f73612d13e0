//! One command typed into a world: with input, environment and a time limit; awaited or left running.

use crate::output::Output;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a command may take before it counts as hung.
const LIMIT_DEFAULT: Duration = Duration::from_secs(60);

/// How long the ends of the pipes may stay open after the command itself has ended.
const LINGER_LIMIT: Duration = Duration::from_secs(10);

/// A command about to be run.
#[derive(Debug)]
#[must_use = "an invocation does nothing until it is run"]
pub struct Invocation {
    command: Command,
    typed: String,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Invocation {
    /// A command of a world: `program` with nothing but `environment`.
    pub(crate) fn new(
        program: &Path,
        arguments: Vec<OsString>,
        environment: &[(OsString, OsString)],
    ) -> Self {
        let typed = std::iter::once(OsStr::new("mica"))
            .chain(arguments.iter().map(OsString::as_os_str))
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        Self { command, typed, input: None, limit: LIMIT_DEFAULT }
    }

    /// Feeds standard input and then closes it; without this it is `/dev/null`.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the command in another directory than the test's.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.command.current_dir(path.into());
        self
    }

    /// Changes how long the command may take; 60 seconds unless told.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    /// If it cannot be started, outlives its time limit, or leaves somebody behind who holds its pipes.
    #[track_caller]
    pub fn run(mut self) -> Output {
        let limit = self.limit;
        let mut background = self.start();
        let input = self.input.take();
        let writer = background.child.stdin.take().zip(input).map(|(mut pipe, bytes)| {
            // The command may end without reading all of it, which is its right.
            thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let output = background.wait(limit);
        if let Some(writer) = writer {
            drop(writer.join());
        }
        output
    }

    /// Runs the command to its end; answers also the most memory, in KiB, that it was seen to have in its hands.
    ///
    /// # Panics
    /// As [`Invocation::run`].
    #[track_caller]
    pub fn run_watched(mut self) -> (Output, u64) {
        let limit = self.limit;
        let mut background = self.start();
        let status = format!("/proc/{}/status", background.pid());
        // The kernel keeps the peak, so that a look every now and then misses only what is grown at the very end.
        let watcher = thread::spawn(move || {
            let mut peak = 0;
            while let Some(now) = peak_memory(&status) {
                peak = now;
                thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let output = background.wait(limit);
        (output, watcher.join().unwrap_or(u64::MAX))
    }

    /// Starts the command and leaves it running, with standard input a pipe that the test writes to.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(mut self) -> Background {
        self.input = Some(Vec::new());
        self.start()
    }

    fn start(&mut self) -> Background {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command.get_program()));
        let stdout = gather(child.stdout.take());
        let stderr = gather(child.stderr.take());
        Background { child, typed: std::mem::take(&mut self.typed), stdout, stderr, ended: false }
    }
}

/// A command that runs while the test goes on.
#[derive(Debug)]
pub struct Background {
    child: Child,
    typed: String,
    stdout: Gathered,
    stderr: Gathered,
    ended: bool,
}

impl Background {
    /// The process id of the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the command (not the container) a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // A command that has just ended cannot be told anything, and need not be.
            let _ = kill_process(pid, signal);
        }
    }

    /// Takes the writing end of standard input; dropping it closes the input.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits until standard output has a part, and returns all that has come so far.
    ///
    /// # Panics
    /// If the output ends, or `limit` passes, before the part comes.
    #[track_caller]
    pub fn stdout_until(&mut self, part: &str, limit: Duration) -> String {
        let deadline = std::time::Instant::now() + limit;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut searched = 0_usize;
        loop {
            // The part may have begun in what was searched before.
            let from = searched.saturating_sub(part.len());
            let bytes = &self.stdout.bytes;
            let is_found = |window: &[u8]| window == part.as_bytes();
            if part.is_empty() || bytes[from..].windows(part.len()).any(is_found) {
                return text(bytes);
            }
            searched = bytes.len();
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let has_more = self.stdout.more(left);
            assert!(
                has_more,
                "{part:?} never came from `{}`; only {:?}",
                self.typed,
                text(&self.stdout.bytes)
            );
        }
    }

    /// Waits for the end of the command.
    ///
    /// # Panics
    /// If it outlives `limit`, or leaves somebody behind who holds its pipes.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> Output {
        let ended = await_child(&mut self.child, limit);
        let in_time = ended.is_some();
        let status = ended.unwrap_or_else(|| self.end());
        self.ended = true;
        let closed = [self.stdout.rest(LINGER_LIMIT), self.stderr.rest(LINGER_LIMIT)];
        let output = Output {
            typed: self.typed.clone(),
            stdout: std::mem::take(&mut self.stdout.bytes),
            stderr: std::mem::take(&mut self.stderr.bytes),
            code: exit_code(status),
        };
        assert!(in_time, "still running after {limit:?}\n{}", output.describe());
        assert!(
            closed == [true, true],
            "someone still holds the pipes of an ended command\n{}",
            output.describe()
        );
        output
    }

    fn end(&mut self) -> ExitStatus {
        drop(self.child.kill());
        self.child.wait().unwrap_or_default()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
        }
    }
}

/// `VmHWM` of a `status` file of proc(5), in KiB; `None` when the process has ended.
fn peak_memory(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The code that a shell would show: 128 + n for a command ended by signal n.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for a child, but not for ever; `None` when time is up.
pub(crate) fn await_child(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_raw(child.id().cast_signed())?;
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        let timeout = Timespec::try_from(limit).ok();
        let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref());
        if ready == Ok(0) {
            return None;
        }
    }
    child.wait().ok()
}

/// One stream of a command, read by a thread so that neither stream can block the other.
#[derive(Debug)]
struct Gathered {
    bytes: Vec<u8>,
    parts: Receiver<Vec<u8>>,
}

impl Gathered {
    /// Takes what comes next; `false` when the stream has ended or nothing came within `limit`.
    fn more(&mut self, limit: Duration) -> bool {
        match self.parts.recv_timeout(limit) {
            Ok(part) => {
                self.bytes.extend(part);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Takes all that is left; `false` when the stream did not end within `limit`.
    fn rest(&mut self, limit: Duration) -> bool {
        loop {
            match self.parts.recv_timeout(limit) {
                Ok(part) => self.bytes.extend(part),
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

fn gather(stream: Option<impl Read + Send + 'static>) -> Gathered {
    let (sender, parts) = channel();
    if let Some(mut stream) = stream {
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    Gathered { bytes: Vec::new(), parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new(
            Path::new("/bin/sh"),
            vec!["-c".into(), script.into()],
            &[("PATH".into(), "/usr/bin:/bin".into())],
        )
    }

    #[test]
    fn output_and_code_come_back() {
        let output = shell("cat; echo oops >&2; exit 7").stdin("hi").run();
        output.code(7).stdout_is("hi").stderr_contains("oops");
    }

    #[test]
    fn the_environment_is_only_what_was_given() {
        shell("echo ${HOME:-none} $A").env("A", "b").run().stdout_is("none b\n");
    }

    #[test]
    fn a_signal_shows_as_128_plus() {
        shell("kill -9 $$").run().code(137);
    }

    #[test]
    #[should_panic(expected = "still running")]
    fn a_hung_command_is_ended() {
        shell("exec sleep 1000").limit(Duration::from_millis(50)).run();
    }

    #[test]
    fn a_background_command_is_heard_and_fed() {
        let mut background = shell("echo ready; read word; echo got $word").spawn();
        background.stdout_until("ready", Duration::from_secs(10));
        let mut stdin = background.stdin().unwrap();
        stdin.write_all(b"it\n").unwrap();
        background.wait(Duration::from_secs(10)).success().stdout_contains("got it");
    }
}
