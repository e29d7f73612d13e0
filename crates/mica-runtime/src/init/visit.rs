//! A container's tree with what is mounted in it, for one who visits while the container does not run.

use super::root::{attach, keep_mounts_private};
use super::{Chapter, at, mounts};
use crate::RuntimeError;
use crate::error::{SetupError, SetupStep};
use crate::plan::{MountKind, MountPlan};
use mica_sys::seclusion::Seclusion;
use oci_spec::runtime::Mount;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::path::Path;

/// Does `work` with the tree at `root`, a mount without a place, in which `mounts` are made. All of it is seen by
/// the calling thread alone, and only meanwhile; `place` is a directory that `work` does not need.
///
/// What cannot be put anywhere because its place is missing in a tree that cannot be written is left out.
///
/// # Errors
/// A mount that is not valid, or cannot be made.
pub fn visit<T>(
    root: BorrowedFd<'_>,
    place: &Path,
    mounts: &[Mount],
    work: impl FnOnce(BorrowedFd<'_>) -> T,
) -> Result<T, RuntimeError> {
    let plans: Result<Vec<MountPlan>, _> = mounts.iter().map(MountPlan::from_oci).collect();
    let plans = plans.map_err(|source| RuntimeError::Plan { source })?;
    let failed = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        RuntimeError::Setup { source: SetupError::new(SetupStep::Mount, place.display().to_string(), errno) }
    };
    let seclusion = Seclusion::enter().map_err(failed)?;
    let done = furnish(root, place, plans).map(|()| work(root));
    seclusion.leave().map_err(failed)?;
    done.map_err(|source| RuntimeError::Setup { source })
}

fn furnish(root: BorrowedFd<'_>, place: &Path, mut plans: Vec<MountPlan>) -> Chapter {
    keep_mounts_private()?;
    // Nobody shall hear of what is made here.
    plans.iter_mut().for_each(|plan| plan.propagation = 0);
    plans.retain(|plan| !matches!(plan.kind, MountKind::Cgroup | MountKind::OfContainer { .. }));
    let sources = mounts::open_sources(&plans, mounts::Moment::Privately)?;
    let root = root.try_clone_to_owned().map_err(|error| {
        at(SetupStep::Root, place.display().to_string())(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    let root = attach(root, place)?;
    for (plan, source) in plans.into_iter().zip(sources) {
        match mounts::mount_all(&root, &[plan], vec![source], (None, Default::default())) {
            Err(error) if error.errno == Errno::ROFS.raw_os_error() => {}
            other => drop(other?),
        }
    }
    Ok(())
}
