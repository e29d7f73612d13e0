//! Files that a command writes for the user: whole or not at all.

use crate::report::{Failure, plain};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Says why `path` cannot be written, in docker's words, before anything costly is done.
///
/// # Errors
/// The reason: its directory is missing, or it is a directory itself.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::metadata(directory)
        .map_err(|error| format!("invalid output path: stat {}: {}", directory.display(), plain(&error)))?;
    if path.is_dir() {
        return Err("cannot write to a directory".to_owned());
    }
    Ok(())
}

/// Lets `fill` write a file beside `path` and puts it there when that went well, so that an
/// interrupted command leaves the old file or none. Pipes and devices are written directly.
///
/// # Errors
/// Those of `fill`, and `File` when the file cannot be made.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failure = |action| {
        let path = path.display().to_string();
        move |source| Failure::File { action, path, source }
    };
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(failure("open"))?;
        return fill(&mut file);
    }
    let unfinished = Unfinished { path: beside(path) };
    let mut file = create(&unfinished.path).map_err(failure("create"))?;
    fill(&mut file)?;
    fs::rename(&unfinished.path, path).map_err(failure("write"))
}

/// A file that disappears unless it has been renamed.
struct Unfinished {
    path: PathBuf,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Shortened where the whole name would be too long for a file system with something added to it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = name.floor_char_boundary(NAME_LENGTH_MAX);
    path.with_file_name(format!(".{}.{}.part", &name[..end], std::process::id()))
}

/// How much of a name is kept in the one that the file has meanwhile, in bytes.
const NAME_LENGTH_MAX: usize = 200;

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("mica-file-output-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let directory = scratch("keep");
        let path = directory.join("a.tar");
        fs::write(&path, "old").unwrap();
        let outcome = write(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Failure::refused("no"))
        });
        assert!(outcome.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        write(&path, |out| out.write_all(b"new").map_err(|_| Failure::refused("no"))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_longest_names_can_be_written() {
        let directory = scratch("long");
        let path = directory.join("ä".repeat(127));
        write(&path, |out| out.write_all(b"new").map_err(|_| Failure::refused("no"))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn directories_are_refused_before_any_work() {
        assert_eq!(check(&std::env::temp_dir()), Err("cannot write to a directory".to_owned()));
        assert_eq!(
            check(Path::new("/does-not-exist/x")),
            Err("invalid output path: stat /does-not-exist: no such file or directory".to_owned())
        );
    }
}
