//! Chapter six: giving rights up.

use super::user::Identity;
use super::{Chapter, at};
use crate::error::{SetupError, SetupStep};
use crate::plan::{CAPABILITY_COUNT, CapabilitySets};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets as KernelSets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Whether a process stays an administrator for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admin {
    /// Only if its sets say so.
    AsPlanned,
    /// Until [`finish`]: who may gain rights may load a filter only with `CAP_SYS_ADMIN`.
    UntilFiltered,
}

/// `CAP_SYS_ADMIN` as a mask.
const SYS_ADMIN: u64 = 1 << 21;

/// Becomes `identity` with exactly `sets`, but for what `admin` adds.
pub(super) fn take(identity: &Identity, sets: &CapabilitySets, admin: Admin) -> Chapter {
    bound(sets.bounding)?;
    let failed = |subject: &'static str| move |errno| SetupError::new(SetupStep::Credentials, subject, errno);
    // Else the change of user would clear what is to be set below.
    set_keep_capabilities(true).map_err(failed("keep capabilities"))?;
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups).map_err(failed("supplementary groups"))?;
    let gid = Gid::from_raw(identity.gid);
    set_thread_res_gid(gid, gid, gid).map_err(failed("group"))?;
    let uid = Uid::from_raw(identity.uid);
    set_thread_res_uid(uid, uid, uid).map_err(failed("user"))?;
    set_keep_capabilities(false).map_err(failed("keep capabilities"))?;
    let mut first = *sets;
    if admin == Admin::UntilFiltered {
        first.effective |= SYS_ADMIN;
        first.permitted |= SYS_ADMIN;
    }
    set(&first)?;
    raise_ambient(sets.ambient)
}

/// Gives up what `admin` added to `sets`. An exec would do it too: the bounding set is without it.
pub(super) fn finish(sets: &CapabilitySets, admin: Admin) -> Chapter {
    let has_more = admin == Admin::UntilFiltered && sets.effective & sets.permitted & SYS_ADMIN == 0;
    if has_more { set(sets) } else { Ok(()) }
}

/// What an exec does to a user that is not root: only ambient capabilities stay. For a process that
/// executes nothing.
pub(super) fn fade(identity: &Identity, sets: &CapabilitySets) -> Chapter {
    if identity.uid == 0 {
        return Ok(());
    }
    set(&CapabilitySets { effective: sets.ambient, permitted: sets.ambient, ..*sets })
}

fn set(sets: &CapabilitySets) -> Chapter {
    let known = |mask| CapabilitySet::from_bits_retain(mask);
    let kernel_sets = KernelSets {
        effective: known(sets.effective),
        permitted: known(sets.permitted),
        inheritable: known(sets.inheritable),
    };
    set_capabilities(None, kernel_sets).map_err(at(SetupStep::Credentials, "capabilities"))
}

/// Drops from the bounding set what is not in `mask`, capabilities unknown to us included.
fn bound(mask: u64) -> Chapter {
    for number in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if mask & 1 << number != 0 {
            continue;
        }
        match capability_is_in_bounding_set(one) {
            Ok(true) => {}
            Ok(false) => continue,
            // The kernel knows no more of them.
            Err(Errno::INVAL) if number >= CAPABILITY_COUNT => return Ok(()),
            Err(Errno::INVAL) => continue,
            Err(errno) => return Err(at(SetupStep::Credentials, "bounding set")(errno)),
        }
        remove_capability_from_bounding_set(one).map_err(at(SetupStep::Credentials, "bounding set"))?;
    }
    Ok(())
}

fn raise_ambient(mask: u64) -> Chapter {
    clear_ambient_capability_set().map_err(at(SetupStep::Credentials, "ambient set"))?;
    for number in (0..CAPABILITY_COUNT).filter(|number| mask & 1 << number != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)
            .map_err(at(SetupStep::Credentials, "ambient set"))?;
    }
    Ok(())
}
