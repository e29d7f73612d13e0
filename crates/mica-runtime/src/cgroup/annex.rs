//! A group of its own below a container's, for one of its further processes: however its descendants have
//! left their parents, they are found there and nowhere else.
//!
//! One hierarchy is enough for that. In the others the process is in the container's own group.

use super::Group;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::path::Path;

/// Most groups at a time: there is one more only as long as processes of earlier ones live.
const ANNEXES_MAX: usize = 16;

/// A group below that of a container.
#[derive(Debug)]
pub(crate) struct Annex {
    /// What a process enters.
    pub(crate) entered: Group,
    /// The one directory that is not the container's.
    own: Group,
}

impl Annex {
    /// Makes one, or takes one that everybody has left; `None` where that is impossible.
    pub(crate) fn open(group: &Group) -> Option<Self> {
        let index = (0..group.legacy.len())
            .find(|index| group.legacy[*index].controllers.iter().any(|name| name == "pids"))
            .or((!group.legacy.is_empty()).then_some(0));
        let mut entered = group.clone();
        let directory = match (&mut entered.unified, index) {
            (Some(directory), _) => directory,
            (None, index) => &mut entered.legacy[index?].directory,
        };
        *directory = free_directory(directory)?;
        let mut own = Group::default();
        if entered.unified.is_some() {
            own.unified.clone_from(&entered.unified);
        } else {
            own.legacy.push(entered.legacy[index?].clone());
        }
        Some(Self { entered, own })
    }

    /// Ends every process in it.
    pub(crate) fn kill(&self) {
        self.own.kill_once();
    }

    /// Removes it, if nobody is in it any more; else it goes with the container's group.
    pub(crate) fn remove(&self) {
        self.own.remove();
    }
}

/// Makes a directory below `parent` in which nobody is.
fn free_directory(parent: &str) -> Option<String> {
    (0..ANNEXES_MAX).map(|number| format!("{parent}/probe-{number}")).find(|directory| {
        let path = Path::new(directory);
        // One that is left over is made again, if it can be removed.
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).is_ok(),
            Err(_) => false,
        }
    })
}
