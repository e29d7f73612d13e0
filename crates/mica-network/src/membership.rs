//! Which networks a running container is on, as a file that its resolver reads with each query.
//!
//! ```text
//! RUN/network/of/<container>       a line each: id, `internal` or `open`, name
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
    let line = |network: &Membership| format!("{} {} {}\n", network.id, kind(network), network.name);
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
        let mut words = line.splitn(3, ' ');
        let (id, kind, name) = (words.next()?, words.next()?, words.next()?);
        Some(Membership { id: id.to_owned(), name: name.to_owned(), is_internal: kind == "internal" })
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
}

/// All containers that have a list.
pub fn listed(run_root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run_root.join("network/of")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
