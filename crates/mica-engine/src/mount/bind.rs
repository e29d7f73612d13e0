//! The words of `-v`: `[SOURCE:]DESTINATION[:MODE]`, and the modes of `--volumes-from`.

use super::check::{self, PROPAGATIONS};
use super::{MountRecord, MountSource, ReadOnlyReach, VolumeMount};
use crate::error::{Error, Result};

/// Reads one of `HostConfig.Binds`.
pub(super) fn parse(typed: &str) -> Result<MountRecord> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{typed}'"));
    let parts: Vec<&str> = typed.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid());
    }
    let (source, destination, mode) = match parts.as_slice() {
        [destination] => ("", *destination, ""),
        // A volume without a name has no mode.
        [_, mode] if is_mode(mode) => return Err(invalid()),
        [source, destination] => (*source, *destination, ""),
        [source, destination, mode] => (*source, *destination, *mode),
        _ => return Err(invalid()),
    };
    let wrap = |error: Error| match error {
        Error::Invalid { what } => Error::invalid(format!("invalid volume specification: '{typed}': {what}")),
        other => other,
    };
    let kind = if source.starts_with('/') { "bind" } else { "volume" };
    let destination = check::destination(kind, destination).map_err(wrap)?;
    let mode = Mode::parse(mode, kind == "bind")?;
    let what = if kind == "bind" {
        MountSource::Bind { path: check::cleaned(source), is_made: true }
    } else {
        if !source.is_empty() {
            crate::volume::check_name(source)?;
        }
        let is_filled = !mode.is_left_empty;
        let is_anonymous = source.is_empty();
        MountSource::Volume(VolumeMount {
            name: source.to_owned(),
            is_anonymous,
            is_filled,
            ..VolumeMount::default()
        })
    };
    let record = MountRecord::new(destination, what);
    let propagation = match (kind, mode.propagation) {
        ("bind", None) => "rprivate",
        (_, propagation) => propagation.unwrap_or_default(),
    };
    Ok(MountRecord {
        read_only: mode.is_read_only,
        read_only_reach: ReadOnlyReach::Below,
        propagation: propagation.to_owned(),
        mode: if kind == "volume" && mode.text.is_empty() { "z".to_owned() } else { mode.text.to_owned() },
        ..record
    })
}

/// Whether every word is one of a mode.
fn is_mode(text: &str) -> bool {
    Mode::parse(text, true).is_ok() || Mode::parse(text, false).is_ok()
}

/// What stands after the second colon.
#[derive(Debug, Default)]
struct Mode<'a> {
    text: &'a str,
    is_read_only: bool,
    is_left_empty: bool,
    propagation: Option<&'a str>,
}

impl<'a> Mode<'a> {
    /// Each kind of word once; `cached` and its like are for other systems and mean nothing here,
    /// the labels of SELinux mean nothing without it.
    fn parse(text: &'a str, is_bind: bool) -> Result<Self> {
        let mut mode = Self { text, ..Self::default() };
        let mut seen = [0; 5];
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let group = match word {
                "rw" | "ro" | "rro" => 0,
                "z" | "Z" => 1,
                "nocopy" if !is_bind => 2,
                "consistent" | "cached" | "delegated" => 3,
                _ if is_bind && PROPAGATIONS.contains(&word) => 4,
                _ => return Err(Error::invalid(format!("invalid mode: {text}"))),
            };
            seen[group] += 1;
            mode.is_read_only |= matches!(word, "ro" | "rro");
            mode.is_left_empty |= word == "nocopy";
            if group == 4 {
                mode.propagation = Some(word);
            }
        }
        if seen.iter().any(|count| *count > 1) {
            return Err(Error::invalid(format!("invalid mode: {text}")));
        }
        Ok(mode)
    }
}

/// Reads one of `--volumes-from`: whose, and whether only to be read.
pub(super) fn parse_volumes_from(typed: &str) -> Result<(&str, bool)> {
    let (container, mode) = typed.split_once(':').unwrap_or((typed, ""));
    if container.is_empty() {
        return Err(Error::invalid("invalid volumes-from specification: it names no container".to_owned()));
    }
    let wrong = || Error::invalid(format!("invalid mode: {mode}"));
    let parsed = Mode::parse(mode, false).map_err(|_| wrong())?;
    if parsed.is_left_empty {
        return Err(wrong());
    }
    Ok((container, parsed.is_read_only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(typed: &str) -> String {
        match parse(typed).unwrap().source {
            MountSource::Bind { path, is_made } => format!("bind {path} {is_made}"),
            MountSource::Volume(volume) => {
                format!("volume {:?} {} {}", volume.name, volume.is_anonymous, volume.is_filled)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_forms_of_docker_are_told_apart() {
        assert_eq!(words("/host:/there"), "bind /host true");
        assert_eq!(words("data:/there"), "volume \"data\" false true");
        assert_eq!(words("data:/there:nocopy"), "volume \"data\" false false");
        assert_eq!(words("/there"), "volume \"\" true true");
        let bind = parse("/a//b/../c:/x/./y/:ro,rslave,z").unwrap();
        assert_eq!(bind.destination, "/x/y");
        assert_eq!((bind.read_only, bind.propagation.as_str()), (true, "rslave"));
        assert!(matches!(bind.source, MountSource::Bind { path, .. } if path == "/a/c"));
        assert_eq!(parse("/a:/b").unwrap().propagation, "rprivate");
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        for (typed, words) in [
            ("", "invalid volume specification: ''"),
            (":", "invalid volume specification"),
            ("a::/b", "invalid volume specification"),
            ("a:/b:ro:x", "invalid volume specification"),
            ("/there:ro", "invalid volume specification: '/there:ro'"),
            ("/a:/b:wr", "invalid mode: wr"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:ro,", "invalid mode"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
            ("data:/b:shared", "invalid mode: shared"),
            ("/a:b", "mount path must be absolute"),
            ("/a:/", "destination can't be '/'"),
            ("/a:/..", "destination can't be '/'"),
            ("a/b:/x", "includes invalid characters for a local volume name"),
            ("a:/x", "too short"),
        ] {
            let told = parse(typed).unwrap_err().to_string();
            assert!(told.contains(words), "{typed}: {told}");
        }
    }

    #[test]
    fn others_volumes_may_be_taken_to_be_read() {
        assert_eq!(parse_volumes_from("one").unwrap(), ("one", false));
        assert_eq!(parse_volumes_from("one:ro").unwrap(), ("one", true));
        assert_eq!(parse_volumes_from("one:rw,z").unwrap(), ("one", false));
        for wrong in ["", ":ro", "one:nocopy", "one:shared", "one:x"] {
            assert!(parse_volumes_from(wrong).is_err(), "{wrong}");
        }
    }
}
