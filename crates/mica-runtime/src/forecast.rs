//! What a start will most likely ask for, told to its monitor before the plan is made.
//!
//! The monitor makes the cgroups and the process in its namespaces meanwhile, and that process whatever
//! needs no more than these (see `init/ahead.rs`). A forecast that turns out wrong costs time and nothing
//! else: what was made ahead goes, and the start takes the ordinary way.

use crate::NamespaceKind;
use crate::plan::{MountKind, MountPlan, PlanError};
use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};

/// See the module.
///
/// Only for containers that are new, as their names are known to nobody else, and whose mounts are all there
/// already: the process sees those of the host as they were when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// The namespaces that will be new.
    pub(crate) namespaces: Vec<NamespaceKind>,
    /// The new file systems; what is not among them is made later.
    pub(crate) file_systems: Vec<MountPlan>,
}

impl Forecast {
    /// Of `mounts`, the new file systems are kept.
    ///
    /// # Errors
    /// A mount that no document may have.
    pub fn new(namespaces: Vec<NamespaceKind>, mounts: &[Mount]) -> Result<Self, PlanError> {
        let mut file_systems = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let plan = MountPlan::from_oci(mount)?;
            if plan.is_independent_of_root() && Self::is_possible(&namespaces, &plan) {
                file_systems.push(plan);
            }
        }
        Ok(Self { namespaces, file_systems })
    }

    /// Some file systems show the namespace of whoever makes them, which must be the container's then.
    fn is_possible(namespaces: &[NamespaceKind], plan: &MountPlan) -> bool {
        let MountKind::FileSystem { name, .. } = &plan.kind else { return false };
        let shown = match name.as_str() {
            "proc" => NamespaceKind::Pid,
            "sysfs" => NamespaceKind::Network,
            "mqueue" => NamespaceKind::Ipc,
            _ => return true,
        };
        namespaces.contains(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::MountBuilder;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        MountBuilder::default().destination("/x").typ(kind).source("/y").options(options).build().unwrap()
    }

    fn names(namespaces: &[NamespaceKind], mounts: &[Mount]) -> Vec<String> {
        let forecast = Forecast::new(namespaces.to_vec(), mounts).unwrap();
        let name = |plan: MountPlan| match plan.kind {
            MountKind::FileSystem { name, .. } => name,
            other => format!("{other:?}"),
        };
        forecast.file_systems.into_iter().map(name).collect()
    }

    #[test]
    fn file_systems_that_show_a_namespace_wait_for_it() {
        let mounts = ["proc", "sysfs", "mqueue", "devpts"].map(|kind| mount(kind, &[]));
        assert_eq!(names(&[], &mounts), ["devpts"]);
        assert_eq!(names(&[NamespaceKind::Pid, NamespaceKind::Ipc], &mounts), ["proc", "mqueue", "devpts"]);
        assert_eq!(names(&[NamespaceKind::Network], &mounts), ["sysfs", "devpts"]);
    }

    #[test]
    fn what_depends_on_the_root_or_is_no_new_file_system_is_left_out() {
        let mounts = [mount("bind", &["rbind"]), mount("cgroup", &[]), mount("tmpfs", &[])];
        assert_eq!(names(&[], &mounts), Vec::<String>::new());
        assert_eq!(names(&[], &[mount("tmpfs", &["mode=755"])]), ["tmpfs"]);
    }
}
