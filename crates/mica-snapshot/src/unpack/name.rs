//! Names of archive entries: which are refused, and what the special ones mean.

use crate::error::{Error, Result};
use std::ffi::CString;

/// A name split into its components, without `.` and empty ones. None for the root itself.
pub(crate) fn components(name: &[u8]) -> Result<Vec<CString>> {
    if name.is_empty() {
        return Err(refused(name, "has an empty name"));
    }
    let mut components = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused(name, "leads to a parent directory")),
            _ => {
                components.push(CString::new(part).map_err(|_| refused(name, "has a zero byte in its name"))?)
            }
        }
    }
    Ok(components)
}

/// The longest path that the kernel takes, its ending zero left out (`linux/limits.h`). A longer one
/// could not be opened inside a container, and as deep a tree as it can name is costly to make.
const LONGEST_PATH: usize = 4095;

/// The parts of a name as an archive gives it, which is no longer than a path can be.
pub(crate) fn limited_components(name: &[u8]) -> Result<Vec<CString>> {
    if name.len() > LONGEST_PATH {
        return Err(refused(name, "is longer than a path can be"));
    }
    components(name)
}

/// The components as one path, for keys and messages.
pub(crate) fn join(components: &[CString]) -> Vec<u8> {
    let parts: Vec<&[u8]> = components.iter().map(|part| part.to_bytes()).collect();
    parts.join(&b'/')
}

/// What a name in a layer says beyond being a name (OCI image specification, layer.md).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An ordinary file.
    Ordinary,
    /// `.wh.NAME`: NAME of lower layers is gone.
    Whiteout(CString),
    /// `.wh..wh..opq`: nothing of lower layers is seen in this directory.
    Opaque,
    /// Bookkeeping of AUFS, which no other file system wants.
    Bookkeeping,
}

const WHITEOUT: &[u8] = b".wh.";
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// What an entry with these components means.
pub(crate) fn meaning(components: &[CString]) -> Result<Meaning> {
    let Some((last, parents)) = components.split_last() else { return Ok(Meaning::Ordinary) };
    if parents.iter().any(|part| part.to_bytes().starts_with(BOOKKEEPING)) {
        return Ok(Meaning::Bookkeeping);
    }
    if parents.iter().any(|part| part.to_bytes().starts_with(WHITEOUT)) {
        return Err(refused(&join(components), "lies within a whiteout"));
    }
    match last.to_bytes() {
        b".wh..wh..opq" => Ok(Meaning::Opaque),
        name if name.starts_with(BOOKKEEPING) => Ok(Meaning::Bookkeeping),
        name => match name.strip_prefix(WHITEOUT) {
            None => Ok(Meaning::Ordinary),
            Some(b"" | b"." | b"..") => Err(refused(&join(components), "is a whiteout of no name")),
            Some(rest) => Ok(Meaning::Whiteout(CString::new(rest).unwrap_or_default())),
        },
    }
}

/// An error that shows the name in a bounded, printable form.
pub(crate) fn refused(name: &[u8], problem: &'static str) -> Error {
    Error::Name { name: String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(name: &[u8]) -> Vec<String> {
        components(name).unwrap().iter().map(|part| part.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn tar_01_escapes_are_refused_and_their_twins_are_not() {
        for name in [&b"../x"[..], b"/../x", b"a/../../x", b"..", b"", b"a/..", b"x\0y", b"../l-evil"] {
            assert!(components(name).is_err(), "{name:?}");
        }
        assert_eq!(texts(b"/a//./b/"), ["a", "b"]);
        assert_eq!(texts(b"..a/b../..."), ["..a", "b..", "..."]);
        assert_eq!(texts(b"./"), [""; 0]);
    }

    #[test]
    fn tar_09_whiteouts_of_no_name_are_refused() {
        for name in [&b".wh..."[..], b".wh..", b".wh.", b"a/.wh...", b"a/.wh.", b".wh.x/y"] {
            assert!(meaning(&components(name).unwrap()).is_err(), "{name:?}");
        }
        let of = |name: &[u8]| meaning(&components(name).unwrap()).unwrap();
        assert_eq!(of(b"a/.wh.b"), Meaning::Whiteout(c"b".to_owned()));
        assert_eq!(of(b"a/.wh....."), Meaning::Whiteout(c"....".to_owned()));
        assert_eq!(of(b"a/.wh..wh..opq"), Meaning::Opaque);
        assert_eq!(of(b".wh..wh.plnk/1.2"), Meaning::Bookkeeping);
        assert_eq!(of(b"a.wh.b"), Meaning::Ordinary);
    }

    proptest! {
        #[test]
        fn no_component_can_leave_its_directory(name: Vec<u8>) {
            for part in components(&name).unwrap_or_default() {
                prop_assert!(!matches!(part.to_bytes(), b"" | b"." | b".."));
                prop_assert!(!part.to_bytes().contains(&b'/'));
            }
        }
    }
}
