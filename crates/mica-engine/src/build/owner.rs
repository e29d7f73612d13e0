//! Whom `--chown` and `USER` mean: names are those of the files that the step writes to.

use super::context::literal;
use crate::error::{Error, Result};
use mica_snapshot::graft::{self, Verdict};
use std::io::Read;
use std::os::fd::BorrowedFd;

/// The largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const SIZE_MAX: u64 = 16 << 20;

/// The numbers of `user[:group]` in the tree at `root`. Without a group, a user's own one is meant;
/// for a bare number, the group of the same number, as docker has it for `--chown`. Nobody, and a name that the tree
/// does not know, is root, as docker has it too.
pub(super) fn resolve(root: BorrowedFd<'_>, text: &str) -> Result<(u32, u32)> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let group = group.filter(|group| !group.is_empty());
    let entry = |file: &str, name: &str| -> Result<Option<Vec<String>>> {
        let text = read(root, file)?;
        let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        Ok(lines.find(|fields| fields.first().is_some_and(|first| first == name)))
    };
    let number =
        |fields: &[String], index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
    let (user_id, own_group) = match user.parse::<u32>() {
        Ok(id) => (id, id),
        Err(_) => {
            let fields = entry("etc/passwd", user)?;
            let ids = fields.as_ref().and_then(|fields| Some((number(fields, 2)?, number(fields, 3)?)));
            ids.unwrap_or_default()
        }
    };
    let group_id = match group {
        None => own_group,
        Some(group) => match group.parse::<u32>() {
            Ok(id) => id,
            Err(_) => entry("etc/group", group)?.and_then(|fields| number(&fields, 2)).unwrap_or(own_group),
        },
    };
    Ok((user_id, group_id))
}

fn read(root: BorrowedFd<'_>, file: &str) -> Result<String> {
    let found = match graft::find(root, &literal(file), &|_| Verdict::Take) {
        Ok(found) => found,
        Err(mica_snapshot::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(String::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    if let Some(source) = found.first() {
        let read = source.open()?.take(SIZE_MAX).read_to_end(&mut text);
        read.map_err(|error| Error::io("read", std::path::Path::new(file), error))?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn names_are_those_of_the_tree() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/passwd"), "root:x:0:0::/:\napp:x:10:20::/:\n").unwrap();
        std::fs::write(directory.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let root = mica_snapshot::archive::open_tree_root(directory.path()).unwrap();
        let of = |text: &str| resolve(root.as_fd(), text);
        assert_eq!(of("app").unwrap(), (10, 20));
        assert_eq!(of("app:staff").unwrap(), (10, 50));
        assert_eq!(of("7").unwrap(), (7, 7));
        assert_eq!(of("7:8").unwrap(), (7, 8));
        assert_eq!(of("7:staff").unwrap(), (7, 50));
        assert_eq!(of(":50").unwrap(), (0, 50));
        assert_eq!((of("nobody").unwrap(), of("app:nobody").unwrap()), ((0, 0), (10, 20)));
    }
}
