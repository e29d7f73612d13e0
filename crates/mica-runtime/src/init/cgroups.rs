//! How a container sees its cgroups: read-only, and nothing above its own.

use super::mounts::new_file_system;
use super::root::attach_at;
use super::{Chapter, at};
use crate::cgroup::{Group, LegacyGroup};
use crate::error::SetupStep;
use crate::plan::{MountKind, MountPlan};
use mica_sys::attribute::{self, Reach};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

/// Detached copies of the container's own cgroup directories.
#[derive(Debug)]
pub(super) struct View {
    legacy: Vec<(LegacyGroup, OwnedFd)>,
    unified: Option<OwnedFd>,
}

const ATTRIBUTES: u64 = attribute::RDONLY | attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;

/// Opens the directories when a mount of the document shows them.
pub(super) fn open(plans: &[MountPlan], group: Option<&Group>) -> Chapter<Option<View>> {
    let (true, Some(group)) = (plans.iter().any(|plan| plan.kind == MountKind::Cgroup), group) else {
        return Ok(None);
    };
    of_group(group).map(Some)
}

/// Opens the directories.
pub(super) fn of_group(group: &Group) -> Chapter<View> {
    let mut view = View { legacy: Vec::new(), unified: None };
    for legacy in &group.legacy {
        view.legacy.push((legacy.clone(), copy(&legacy.directory)?));
    }
    view.unified = group.unified.as_deref().map(copy).transpose()?;
    Ok(view)
}

fn copy(directory: &str) -> Chapter<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, directory, flags).map_err(at(SetupStep::Mount, directory))
}

impl View {
    /// Shows the directories at `place`. Always read-only unless the document asks for writing, as
    /// a cgroup of version 1 that can be written to leads out of the container.
    pub(super) fn attach(self, place: &OwnedFd, plan: &MountPlan) -> Chapter {
        let failed = |errno| at(SetupStep::Mount, plan.destination.clone())(errno);
        let attributes = ATTRIBUTES & !attribute::RDONLY | plan.attributes;
        let set = |mount: &OwnedFd| attribute::set(mount.as_fd(), attributes, 0, Reach::One);
        if self.legacy.is_empty() {
            let Some(unified) = self.unified else { return Ok(()) };
            set(&unified).map_err(failed)?;
            return attach_at(unified.as_fd(), place.as_fd()).map_err(failed);
        }
        self.attach_each(place, &set).map_err(failed)
    }

    fn attach_each(self, place: &OwnedFd, set: &dyn Fn(&OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
        let options = ["mode=755".to_owned()];
        let top = new_file_system("tmpfs", "tmpfs", &options)?;
        attach_at(top.as_fd(), place.as_fd())?;
        let mut mounts: Vec<(String, OwnedFd)> = Vec::new();
        for (legacy, mount) in self.legacy {
            // The usual names of controllers that share a hierarchy.
            for alias in legacy.controllers.iter().filter(|name| **name != legacy.mount_name) {
                let _ = symlinkat(&legacy.mount_name, &top, alias);
            }
            mounts.push((legacy.mount_name, mount));
        }
        mounts.extend(self.unified.map(|mount| ("unified".to_owned(), mount)));
        for (name, mount) in &mounts {
            set(mount)?;
            // A name that is an alias already keeps its meaning.
            if rustix::fs::statat(&top, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                continue;
            }
            mkdirat(&top, name.as_str(), Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = openat(&top, name.as_str(), flags, Mode::empty())?;
            attach_at(mount.as_fd(), directory.as_fd())?;
        }
        set(&top)
    }
}
