//! Whether mounts of the host can be passed on to a container, and back.

use super::{MountRecord, MountSource};
use crate::error::{Error, Result};
use std::path::Path;

/// Refuses a propagation that the source's own mount does not have: nothing would ever be passed on.
pub(crate) fn check_sources(records: &[MountRecord]) -> Result<()> {
    for record in records {
        let MountSource::Bind { path, .. } = &record.source else { continue };
        let (wanted, words): (&[&str], _) = match record.propagation.as_str() {
            "shared" | "rshared" => (&["shared:"], "a shared mount"),
            "slave" | "rslave" => (&["shared:", "master:"], "a shared or slave mount"),
            _ => continue,
        };
        let fail = |source| Error::io("examine", Path::new(path), source);
        let real = std::fs::canonicalize(path).map_err(fail)?;
        let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(fail)?;
        let Some((place, tags)) = mount_of(&table, &real) else { continue };
        if !wanted.iter().any(|tag| tags.iter().any(|known| known.starts_with(tag))) {
            return Err(Error::invalid(format!("path {path} is mounted on {place} but it is not {words}")));
        }
    }
    Ok(())
}

/// The place of the mount that a path lies on, and its optional fields (proc_pid_mountinfo(5)).
fn mount_of<'a>(table: &'a str, path: &Path) -> Option<(String, Vec<&'a str>)> {
    let mounts = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let end = fields.iter().position(|field| *field == "-")?;
        let place = unescaped(fields.get(4)?);
        path.starts_with(&place).then(|| (place, fields.get(6..end).unwrap_or_default().to_vec()))
    });
    // Of several mounts on one place the last is on top.
    mounts.max_by_key(|(place, _)| place.len())
}

/// The kernel writes spaces and the like as octal numbers.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 0:5 / /mnt/a\\040b rw shared:7 - tmpfs t rw
31 21 0:6 / /mnt rw master:3 - tmpfs t rw
32 30 0:7 / /mnt/a\\040b rw,nosuid shared:9 master:7 - tmpfs t rw
";

    #[test]
    fn the_topmost_mount_of_the_nearest_place_counts() {
        let found = |path: &str| mount_of(TABLE, Path::new(path)).unwrap();
        assert_eq!(found("/mnt/a b/c"), ("/mnt/a b".to_owned(), vec!["shared:9", "master:7"]));
        assert_eq!(found("/mnt/ab"), ("/mnt".to_owned(), vec!["master:3"]));
        assert_eq!(found("/etc"), ("/".to_owned(), vec![]));
    }
}
