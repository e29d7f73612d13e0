//! A file that is begun anew when it is full; the older ones are numbered, and compressed if wanted.
//!
//! A log that cannot be written (full disk) never holds the container up: what does not fit is left
//! out, whole entries only. Compressing is done by a process of its own, so that the monitor stays
//! small and is never away for long.

use crate::LogFilePlan;
use crate::error::{SetupError, SetupStep};
use flate2::{Compression, GzBuilder};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

/// `argv[0]` of the process that compresses a file.
pub(crate) const COMPRESS_NAME: &str = "mica-compress";

/// A log file.
#[derive(Debug)]
pub(super) struct LogFile {
    plan: LogFilePlan,
    descriptor: OwnedFd,
    length: u64,
    compressor: Option<Child>,
}

impl LogFile {
    pub(super) fn open(plan: &LogFilePlan) -> Result<Self, SetupError> {
        let failed = |errno| SetupError::new(SetupStep::Log, plan.path.display().to_string(), errno);
        let descriptor = open(&plan.path).map_err(failed)?;
        let length = rustix::fs::fstat(&descriptor).map_err(failed)?.st_size;
        let length = u64::try_from(length).unwrap_or(0);
        Ok(Self { plan: plan.clone(), descriptor, length, compressor: None })
    }

    /// Writes whole entries.
    pub(super) fn append(&mut self, batch: &[u8]) {
        if self.plan.max_size_bytes.is_some_and(|most| self.length >= most) && !self.is_compressing() {
            self.rotate();
        }
        let mut rest = batch;
        while !rest.is_empty() {
            match rustix::io::write(&self.descriptor, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Half an entry would make every later one unreadable.
                    let _ = rustix::fs::ftruncate(&self.descriptor, self.length);
                    return;
                }
            }
        }
        self.length += batch.len() as u64;
    }

    /// Whether the file before is still being compressed: then this one grows until that is done,
    /// but not beyond twice its size.
    fn is_compressing(&mut self) -> bool {
        let Some(child) = &mut self.compressor else { return false };
        let is_oversized = self.plan.max_size_bytes.is_some_and(|most| self.length / 2 >= most);
        let ended = if is_oversized { child.wait().map(Some) } else { child.try_wait() };
        if matches!(ended, Ok(None)) {
            return true;
        }
        self.compressor = None;
        false
    }

    /// `log.1` becomes `log.2` and so on; the oldest goes.
    fn rotate(&mut self) {
        let count = self.plan.max_file_count.max(1);
        for ending in ["", COMPRESSED] {
            let _ = fs::remove_file(self.numbered(count - 1, ending));
        }
        for number in (1..count.saturating_sub(1)).rev() {
            for ending in ["", COMPRESSED] {
                let _ = fs::rename(self.numbered(number, ending), self.numbered(number + 1, ending));
            }
        }
        let moved = match count {
            1 => fs::remove_file(&self.plan.path),
            _ => fs::rename(&self.plan.path, self.numbered(1, "")),
        };
        if moved.is_ok()
            && let Ok(descriptor) = open(&self.plan.path)
        {
            (self.descriptor, self.length) = (descriptor, 0);
            if self.plan.compress && count > 1 {
                self.compressor = spawn_compressor(&self.numbered(1, ""));
            }
        }
    }

    fn numbered(&self, number: u32, ending: &str) -> PathBuf {
        let mut path = self.plan.path.clone().into_os_string();
        path.push(format!(".{number}{ending}"));
        PathBuf::from(path)
    }

    /// Takes note of a compressor that has ended.
    pub(super) fn rest(&mut self) {
        if self.compressor.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) {
            self.compressor = None;
        }
    }
}

/// What the names of compressed files end in.
const COMPRESSED: &str = ".gz";

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o640))
}

/// Without it the file stays as it is, which readers understand too.
fn spawn_compressor(path: &Path) -> Option<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(COMPRESS_NAME).arg(path).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// The process that compresses: its argument is the file.
pub(crate) fn compress() -> ExitCode {
    let done = std::env::args_os().nth(1).map(|path| compress_file(Path::new(&path)));
    if matches!(done, Some(Ok(()))) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a file is known by to readers that follow a log, also after it was compressed: its name
/// changes, and its inode alone may be that of another before long.
pub fn identity(file: &fs::File) -> std::io::Result<String> {
    let flags = AtFlags::EMPTY_PATH;
    let status = rustix::fs::statx(file, "", flags, StatxFlags::INO | StatxFlags::BTIME)?;
    let born = status.stx_btime;
    Ok(format!("{:x}-{:x}-{:x}", status.stx_ino, born.tv_sec, born.tv_nsec))
}

/// Puts a compressed file in the place of another; readers find either of them at any time.
pub(super) fn compress_file(path: &Path) -> std::io::Result<()> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(OsStr::new(ending));
        PathBuf::from(name)
    };
    let unfinished = beside(".gz.new");
    let mut source = fs::File::open(path)?;
    let target = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&unfinished)?;
    let mut encoder = GzBuilder::new().comment(identity(&source)?).write(target, Compression::fast());
    let done = std::io::copy(&mut source, &mut encoder)
        .and_then(|_| encoder.try_finish())
        .and_then(|()| fs::rename(&unfinished, beside(COMPRESSED)));
    match done {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}
