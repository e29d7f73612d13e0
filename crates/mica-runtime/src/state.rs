//! What a run directory tells about a container: running, dead, or nothing at all.
//!
//! One file, `state`, says both: its monitor holds a lock on it for life, and its content tells who
//! the first process is. The lock is of the kind that can be asked about without being taken, so
//! any number of readers disturb neither the monitor nor each other.

use crate::{RuntimeError, cgroup};
use mica_model::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is known of a container from its run directory alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing runs: never started, or ended and tidied up.
    Absent,
    /// It runs (and may be paused, see [`crate::is_paused`]).
    Running {
        /// Host pid of its first process.
        pid: u32,
        /// When its program was started.
        started_at: Timestamp,
        /// How often its monitor has started it again.
        restarts: u32,
    },
    /// It has ended and its monitor is about to start it again.
    Restarting {
        /// How often that makes it.
        restarts: u32,
        /// Exit code of the last life.
        code: u32,
        /// Whether that ended for lack of memory.
        oom_killed: bool,
        /// When that began.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
    },
    /// Its monitor has left how it ended here, having found no other place, or was killed when about to start
    /// it again. [`crate::cleanup`] takes away what is left.
    Ended(ExitRecord),
    /// Its monitor was killed. Its exit code is lost; [`crate::cleanup`] ends what is left of it.
    Orphaned {
        /// Host pid of its first process.
        pid: u32,
        /// Whether that process still lives.
        alive: bool,
    },
}

/// How a process ended, as kept in the exit file (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Format of the record, 1.
    pub version: u32,
    /// Exit code, 128 plus the signal's number when a signal ended it.
    pub code: u32,
    /// Whether a process of the container was killed for lack of memory.
    pub oom_killed: bool,
    /// When it started, in nanoseconds since the epoch.
    pub started_at: i64,
    /// When it ended, in nanoseconds since the epoch.
    pub finished_at: i64,
    /// Why it did not start again, or empty.
    pub error: String,
    /// How often it was started again.
    #[serde(default)]
    pub restart_count: u32,
}

/// Format of the state file; another one is not read.
const STATE_VERSION: u32 = 2;

/// Name of the state file in a run directory.
pub(crate) const STATE_FILE: &str = "state";

/// Name of the monitor's socket in a run directory.
pub(crate) const SOCKET_FILE: &str = "monitor.sock";

/// Name of the exit record in a run directory, for an exit file that found no room.
pub(crate) const EXIT_FILE: &str = "exit.json";

/// Longest state file in bytes: some cgroup paths and numbers.
const STATE_LENGTH_MAX: usize = 16 << 10;

/// Content of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    /// 0 between two lives.
    pub(crate) pid: u32,
    /// Start time of `pid` in clock ticks since boot: pid and start time together are never reused.
    pub(crate) start_ticks: u64,
    pub(crate) started_at: i64,
    pub(crate) group: cgroup::Group,
    pub(crate) restarts: u32,
    /// Between two lives: exit code, lack of memory, and when the last one ended.
    pub(crate) last: Option<(u32, bool, i64)>,
    /// Which boot of the host this is of, see [`boot`].
    pub(crate) boot: String,
}

impl State {
    pub(crate) fn new(
        (pid, start_ticks): (u32, u64),
        started_at: i64,
        group: cgroup::Group,
        (restarts, boot): (u32, &str),
    ) -> Self {
        let (version, boot) = (STATE_VERSION, boot.to_owned());
        Self { version, pid, start_ticks, started_at, group, restarts, last: None, boot }
    }

    /// What is true between two lives, or after the last one.
    pub(crate) fn between(group: cgroup::Group, record: &ExitRecord, boot: &str) -> Self {
        let last = Some((record.code, record.oom_killed, record.finished_at));
        Self { last, ..Self::new((0, 0), record.started_at, group, (record.restart_count, boot)) }
    }

    /// Reads a state file; `None` when there is none or nothing in it yet. The flag tells whether a
    /// monitor lives.
    pub(crate) fn read(run_directory: &Path) -> Result<Option<(Self, bool)>, RuntimeError> {
        let path = run_directory.join(STATE_FILE);
        let failed = |errno: Errno| RuntimeError::file("read", &path)(errno.into());
        let file = match rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let is_alive = mica_sys::lock::is_locked(file.as_fd()).map_err(failed)?;
        let mut bytes = vec![0; STATE_LENGTH_MAX];
        let length = rustix::io::read(&file, &mut bytes).map_err(failed)?;
        if length == 0 {
            return Ok(None);
        }
        match postcard::take_from_bytes::<Self>(&bytes[..length]) {
            // Before a reboot: nothing of it is left, and its numbers mean others now.
            Ok((state, _)) if state.version == STATE_VERSION && !is_alive && state.boot != boot() => Ok(None),
            Ok((state, _)) if state.version == STATE_VERSION => Ok(Some((state, is_alive))),
            _ => Err(RuntimeError::State { path }),
        }
    }

    /// Writes the state in one piece; what is left of a longer one before it means nothing.
    pub(crate) fn write(&self, file: &OwnedFd) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(self).map_err(|_| Errno::INVAL)?;
        rustix::io::pwrite(file, &bytes, 0).map(|_| ())
    }
}

/// Tells what runs in `run_directory`, in about ten microseconds.
pub fn status(run_directory: &Path) -> Result<Status, RuntimeError> {
    Ok(match State::read(run_directory)? {
        None => Status::Absent,
        Some((State { last: Some((code, oom_killed, finished_at)), restarts, started_at, .. }, true)) => {
            let (started_at, finished_at) =
                (Timestamp::from_nanoseconds(started_at), Timestamp::from_nanoseconds(finished_at));
            Status::Restarting { restarts, code, oom_killed, started_at, finished_at }
        }
        Some((State { last: Some((code, oom_killed, finished_at)), restarts, started_at, .. }, false)) => {
            let (version, error, restart_count) = (1, String::new(), restarts);
            Status::Ended(ExitRecord {
                version,
                code,
                oom_killed,
                started_at,
                finished_at,
                error,
                restart_count,
            })
        }
        Some((state, true)) => Status::Running {
            pid: state.pid,
            started_at: Timestamp::from_nanoseconds(state.started_at),
            restarts: state.restarts,
        },
        Some((state, false)) => {
            let alive = start_ticks(state.pid).is_some_and(|ticks| ticks == state.start_ticks);
            Status::Orphaned { pid: state.pid, alive }
        }
    })
}

/// Which boot of the host this is (random(4)); empty where `/proc` does not tell.
pub(crate) fn boot() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim_end().to_owned()
}

/// Whether a monitor lives in `run_directory`, be it one that only starts or still tidies up, of
/// which [`status`] tells nothing. Until it is gone its directory must stay, because its lock is
/// what the next monitor waits for.
pub fn is_attended(run_directory: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, run_directory.join(STATE_FILE), flags, Mode::empty())
        .is_ok_and(|file| mica_sys::lock::is_locked(file.as_fd()).unwrap_or(true))
}

/// Start time of a process that has not ended, from `/proc/PID/stat` (proc(5), fields 3 and 22).
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_start_ticks(&text)
}

fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    // The name in parentheses may itself hold spaces and parentheses.
    let end = memchr::memrchr(b')', stat)?;
    let fields = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let mut fields = fields.split(' ');
    let process_state = fields.next()?;
    if matches!(process_state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// How the last run ended, from its exit file or, where a full disk had no room for that, from the
/// run directory; `None` when neither tells.
pub fn last_exit(exit_file: &Path, run_directory: &Path) -> Option<ExitRecord> {
    [exit_file, &run_directory.join(EXIT_FILE)].into_iter().find_map(|path| exit_record(path).ok().flatten())
}

/// Forgets how the last run ended.
pub fn forget_exit(exit_file: &Path, run_directory: &Path) -> Result<(), RuntimeError> {
    for path in [exit_file, &run_directory.join(EXIT_FILE)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RuntimeError::file("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads an exit file; `None` when there is none.
pub fn exit_record(path: &Path) -> Result<Option<ExitRecord>, RuntimeError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RuntimeError::file("read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|_| RuntimeError::State { path: PathBuf::from(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_survive_hostile_names() {
        let stat = b"7 (a) Z (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_start_ticks(stat), Some(4242));
        let zombie = b"7 (x) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_start_ticks(zombie), None);
        assert!(start_ticks(std::process::id()).is_some());
    }

    #[test]
    fn an_unlocked_state_is_an_orphan() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(status(directory.path()).unwrap(), Status::Absent);
        let state = State::new((std::process::id(), 1), 5, cgroup::Group::default(), (2, &boot()));
        let file = std::fs::File::create(directory.path().join(STATE_FILE)).unwrap();
        assert_eq!(status(directory.path()).unwrap(), Status::Absent, "nothing is in it yet");
        let file = OwnedFd::from(file);
        state.write(&file).unwrap();
        let orphan = Status::Orphaned { pid: state.pid, alive: false };
        assert_eq!(status(directory.path()).unwrap(), orphan, "the pid is of a later process");
        assert!(!is_attended(directory.path()));
        assert!(mica_sys::lock::try_exclusive(file.as_fd()).unwrap());
        let started_at = Timestamp::from_nanoseconds(5);
        let running = Status::Running { pid: state.pid, started_at, restarts: 2 };
        assert_eq!(status(directory.path()).unwrap(), running);
        let record = ExitRecord { code: 7, ..record_of(&state) };
        State::between(cgroup::Group::default(), &record, &boot()).write(&file).unwrap();
        let Status::Restarting { code: 7, restarts: 2, .. } = status(directory.path()).unwrap() else {
            panic!("{:?}", status(directory.path()));
        };
        let unlocked = OwnedFd::from(std::fs::File::create(directory.path().join("left")).unwrap());
        State::between(cgroup::Group::default(), &record, &boot()).write(&unlocked).unwrap();
        let left = tempfile::tempdir().unwrap();
        std::fs::rename(directory.path().join("left"), left.path().join(STATE_FILE)).unwrap();
        assert_eq!(status(left.path()).unwrap(), Status::Ended(record), "its monitor is gone");
        rustix::fs::ftruncate(&file, 0).unwrap();
        assert_eq!(status(directory.path()).unwrap(), Status::Absent, "its monitor tidies up");
        assert!(is_attended(directory.path()));
        drop(file);
        assert!(!is_attended(directory.path()));
    }

    fn record_of(state: &State) -> ExitRecord {
        ExitRecord {
            version: 1,
            code: 0,
            oom_killed: false,
            started_at: state.started_at,
            finished_at: 9,
            error: String::new(),
            restart_count: state.restarts,
        }
    }

    #[test]
    fn a_state_from_before_a_reboot_is_of_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = OwnedFd::from(std::fs::File::create(directory.path().join(STATE_FILE)).unwrap());
        // Our own process, so that only the boot tells that it is another.
        let own = (std::process::id(), start_ticks(std::process::id()).unwrap());
        let mut state = State::new(own, 5, cgroup::Group::default(), (0, &boot()));
        state.write(&file).unwrap();
        assert!(matches!(status(directory.path()).unwrap(), Status::Orphaned { alive: true, .. }));
        state.boot = "another".to_owned();
        state.write(&file).unwrap();
        assert_eq!(status(directory.path()).unwrap(), Status::Absent);
    }

    #[test]
    fn a_damaged_state_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(STATE_FILE), [0xff; 40]).unwrap();
        assert!(matches!(status(directory.path()), Err(RuntimeError::State { .. })));
    }
}
