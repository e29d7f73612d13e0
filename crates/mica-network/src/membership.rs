//! Which networks a running container is on, as a file that its resolver reads with each query.
//!
//! ```text
//! RUN/network/of/<container>       a line each: id, `internal` or `open`, name, links as TARGET:ALIAS
//! ```

use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it has no way out.
    pub is_internal: bool,
    /// Names that only this container knows there, and whose they are.
    pub links: Vec<(String, String)>,
}

fn path(run_root: &Path, container: &str) -> PathBuf {
    run_root.join("network/of").join(container)
}

/// Writes down which networks a container is on.
pub fn write(run_root: &Path, container: &str, networks: &[Membership]) -> Result<()> {
    let path = path(run_root, container);
    let parent = path.parent().unwrap_or(run_root);
    fs::create_dir_all(parent).map_err(Error::file("make directory", parent))?;
    let kind = |network: &Membership| if network.is_internal { "internal" } else { "open" };
    let line = |network: &Membership| {
        let links = network.links.iter().map(|(alias, target)| format!(" {target}:{alias}"));
        format!("{} {} {}{}\n", network.id, kind(network), network.name, links.collect::<String>())
    };
    let text: String = networks.iter().map(line).collect();
    // By way of another name, so that a reader sees all or nothing.
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).map_err(Error::file("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(Error::file("write", &path))
}

/// Reads them.
pub fn read(run_root: &Path, container: &str) -> Vec<Membership> {
    let text = fs::read_to_string(path(run_root, container)).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (id, kind, name) = (words.next()?, words.next()?, words.next()?);
        let links = words.filter_map(|word| word.split_once(':'));
        let links = links.map(|(target, alias)| (alias.to_owned(), target.to_owned())).collect();
        Some(Membership { id: id.to_owned(), name: name.to_owned(), is_internal: kind == "internal", links })
    };
    text.lines().filter_map(parse).collect()
}

/// Whether any of them leads out.
pub(crate) fn has_way_out(run_root: &Path, container: &str) -> bool {
    read(run_root, container).iter().any(|network| !network.is_internal)
}

/// Forgets a container on all its networks: its names, its addresses, its list.
pub fn forget(run_root: &Path, container: &str) {
    for network in read(run_root, container) {
        crate::names::Names::of(run_root, &network.id).remove(container);
    }
    let _ = fs::remove_file(path(run_root, container));
    crate::moved::forget(run_root, container);
    crate::letters::forget(run_root, container);
}

/// All containers that have a list.
pub fn listed(run_root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run_root.join("network/of")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let membership = |name: &str, links: &[(&str, &str)]| Membership {
            id: format!("id-{name}"),
            name: name.to_owned(),
            is_internal: name == "vault",
            links: links.iter().map(|&(alias, target)| (alias.to_owned(), target.to_owned())).collect(),
        };
        let all = [membership("vault", &[]), membership("back", &[("db", "store"), ("a:b", "web")])];
        write(directory.path(), "aa", &all).unwrap();
        assert_eq!(read(directory.path(), "aa"), all);
        assert!(has_way_out(directory.path(), "aa") && listed(directory.path()) == ["aa"]);
        forget(directory.path(), "aa");
        assert_eq!(read(directory.path(), "aa"), []);
    }
}
