//! One life after another: whether a container that has ended is started again, and its new start.
//!
//! Between two lives the monitor keeps what must not change: the run directory and its lock, the
//! cgroups with the limits that were set meanwhile, the namespaces that were joined, and the
//! network namespace of the container's own, so that whoever set it up need not do so again.

use super::birth::{Household, Newborn, Nursery};
use super::end;
use super::relay::Relay;
use crate::error::SetupError;
use crate::order::{ContainerJob, Job, MonitorOrder};
use crate::restart::{Backoff, RestartPolicy};
use crate::{ExitRecord, NamespaceKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// What a monitor keeps for the next life.
#[derive(Debug)]
pub(super) struct Lives {
    child_order: Vec<u8>,
    joined: Vec<(NamespaceKind, OwnedFd)>,
    backoff: Backoff,
}

impl Lives {
    /// Keeps descriptors of the namespaces that the caller has handed over.
    pub(super) fn new(order: &MonitorOrder, descriptors: &[OwnedFd]) -> Self {
        let (kinds, has_one_life) = match &order.job {
            Job::Container(job) => (job.joined.as_slice(), job.restart.policy == RestartPolicy::Never),
            Job::Exec { .. } => (&[][..], true),
        };
        // The mounts of another container, its root among them, live as long as somebody holds them.
        let is_kept = |kind: NamespaceKind| !(has_one_life && kind == NamespaceKind::Mount);
        let kept = kinds.iter().zip(descriptors).filter(|(kind, _)| is_kept(**kind));
        let joined = kept.filter_map(|(kind, file)| Some((*kind, file.try_clone().ok()?))).collect();
        Self { child_order: Vec::new(), joined, backoff: Backoff::default() }
    }

    /// After the first start: keeps the order, and the network namespace that was made with the process.
    pub(super) fn remember(&mut self, order: &MonitorOrder, mut child_order: Vec<u8>, newborn: &mut Newborn) {
        let network = newborn.network.take();
        if let Job::Container(_) = &order.job {
            child_order.shrink_to_fit();
            self.child_order = child_order;
            self.joined.extend(network.map(|network| (NamespaceKind::Network, network)));
        }
    }

    /// How often the container was started again.
    pub(super) fn restarts(&self) -> u32 {
        self.backoff.restarts
    }

    /// After the end of a life: the next one, if there is to be one. Else `ended` tells why not.
    pub(super) fn next(
        &mut self,
        relay: &mut Relay,
        order: &MonitorOrder,
        ended: &mut Ended,
    ) -> Option<Newborn> {
        let Job::Container(job) = &order.job else { return None };
        let mark = crate::restart::stop_mark(&job.restart.stop_file, &job.run_directory);
        let policy = job.restart.current(&job.run_directory);
        let pause = self.backoff.after(policy, ended.record.code, relay.lasted(), mark)?;
        let deadline = Instant::now() + pause;
        ended.record.restart_count = self.backoff.restarts;
        end::between(relay, order, &ended.record);
        ended.is_announced = true;
        let is_stopped = || job.restart.is_stopped(&job.run_directory);
        if !relay.until(deadline, &is_stopped) {
            return None;
        }
        let newborn = match self.bear(relay, order, job) {
            Ok(newborn) => newborn,
            Err(error) => {
                ended.record.error = error.to_string();
                return None;
            }
        };
        if is_stopped() {
            // Whoever wanted the end found no process to tell it.
            let _ = mica_sys::signal::send(newborn.pidfd.as_fd(), 9);
        }
        Some(newborn)
    }

    fn bear(
        &self,
        relay: &mut Relay,
        order: &MonitorOrder,
        job: &ContainerJob,
    ) -> Result<Newborn, SetupError> {
        let joined = self.joined.iter().filter_map(|(kind, file)| Some((*kind, file.try_clone().ok()?)));
        let nursery = Nursery::prepare_again(order, job, joined.collect(), relay.group.as_ref())?;
        let household = Household {
            residence: relay.residence.as_ref(),
            restarts: self.backoff.restarts,
            companion: relay.companion.as_deref_mut(),
        };
        nursery.deliver(order, &self.child_order, household)
    }
}

/// How a life has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) record: ExitRecord,
    /// Whether events have told of it.
    pub(super) is_announced: bool,
}
