//! Where a copy goes and under which name: docker's rules of trailing slashes.

use std::io;
use std::path::{Path, PathBuf};

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory with all below it.
    Directory,
    /// A symbolic link, as such.
    Link,
    /// Anything else.
    File,
}

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A directory.
    Directory,
    /// Anything else.
    File,
    /// Nothing.
    Nothing,
}

/// The directory to unpack in, and the name that the source gets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    /// It exists, or the copy fails.
    pub(super) directory: PathBuf,
    /// Empty where the contents of the source go into the directory itself.
    pub(super) name: PathBuf,
}

/// Looks at a destination on this host; its last link is followed, as the user named it.
pub(super) fn found_on_host(path: &Path) -> io::Result<Found> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Found::Directory),
        Ok(_) => Ok(Found::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// Where `source` goes when it is copied to `destination`, where `found` is.
///
/// # Errors
/// Why it cannot go there, in docker's words.
pub(super) fn placement(
    source: &str,
    kind: Kind,
    destination: &str,
    found: &Found,
) -> Result<Placement, String> {
    let is_directory = kind == Kind::Directory;
    if asserts_directory(source) && kind == Kind::File {
        return Err("not a directory".to_owned());
    }
    match found {
        Found::Directory => {
            let name = if is_directory && is_contents(source) { PathBuf::new() } else { base_name(source) };
            Ok(Placement { directory: PathBuf::from(destination), name })
        }
        Found::File if asserts_directory(destination) => Err("not a directory".to_owned()),
        Found::File if is_directory => Err("cannot copy directory".to_owned()),
        Found::Nothing if asserts_directory(destination) && !is_directory => {
            Err("no such directory".to_owned())
        }
        Found::File | Found::Nothing => {
            let path = Path::new(destination.trim_end_matches('/'));
            match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => {
                    Ok(Placement { directory: parent.to_owned(), name: base_name(destination) })
                }
                Some(_) => Ok(Placement { directory: PathBuf::from("."), name: base_name(destination) }),
                None => Err("no such directory".to_owned()),
            }
        }
    }
}

/// Whether a path says that a directory must be there.
fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

/// Whether a path means what is in a directory rather than the directory.
fn is_contents(path: &str) -> bool {
    path.ends_with("/.") || path == "." || base_name(path).as_os_str().is_empty()
}

/// The last name of a path; empty for the root and for `..`, which have none.
fn base_name(path: &str) -> PathBuf {
    Path::new(path).file_name().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(source: &str, kind: Kind, destination: &str, found: Found) -> Result<(String, String), String> {
        placement(source, kind, destination, &found)
            .map(|place| (place.directory.display().to_string(), place.name.display().to_string()))
    }

    fn at(directory: &str, name: &str) -> Result<(String, String), String> {
        Ok((directory.to_owned(), name.to_owned()))
    }

    #[test]
    fn files_go_into_directories_or_take_the_name() {
        assert_eq!(placed("a/f", Kind::File, "/d", Found::Directory), at("/d", "f"));
        assert_eq!(placed("a/f", Kind::File, "/d/g", Found::Nothing), at("/d", "g"));
        assert_eq!(placed("a/f", Kind::File, "/d/g", Found::File), at("/d", "g"));
        assert_eq!(placed("a/f", Kind::File, "g", Found::Nothing), at(".", "g"));
        assert_eq!(placed("a/f", Kind::File, "/d/g/", Found::Nothing), Err("no such directory".to_owned()));
        assert_eq!(placed("a/f/", Kind::File, "/d", Found::Directory), Err("not a directory".to_owned()));
    }

    #[test]
    fn directories_go_whole_or_by_their_contents() {
        assert_eq!(placed("a/s", Kind::Directory, "/d", Found::Directory), at("/d", "s"));
        assert_eq!(placed("a/s/", Kind::Directory, "/d", Found::Directory), at("/d", "s"));
        assert_eq!(placed("a/s/.", Kind::Directory, "/d", Found::Directory), at("/d", ""));
        assert_eq!(placed("/", Kind::Directory, "/d", Found::Directory), at("/d", ""));
        assert_eq!(placed("a/s", Kind::Directory, "/n", Found::Nothing), at("/", "n"));
        assert_eq!(placed("a/s/.", Kind::Directory, "/n/", Found::Nothing), at("/", "n"));
        assert_eq!(
            placed("a/s", Kind::Directory, "/f", Found::File),
            Err("cannot copy directory".to_owned())
        );
    }
}
