//! A child that is made while its plan is still being made, from a [`Forecast`].

use super::birth::{channel, flag};
use crate::error::{SetupError, SetupStep};
use crate::init::ahead::{self, Briefing, EarlyInheritance, MESSAGE_LENGTH_MAX};
use crate::order::send_with;
use crate::{Forecast, NamespaceKind, cgroup};
use mica_sys::process::{Fork, NamespaceFlags, fork};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

/// A child that waits for its briefing, in cgroups that nobody else has. Dropped, both go.
#[derive(Debug)]
pub(super) struct Ahead {
    cgroup: String,
    flags: NamespaceFlags,
    new_cgroup_namespace: bool,
    group: cgroup::Group,
    child: Option<Waiting>,
}

/// The child itself.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: OwnedFd,
}

impl Ahead {
    /// Makes it; what fails now fails again, and is told, when it is made in the ordinary way.
    pub(super) fn begin(
        cgroup: String,
        forecast: Forecast,
        hierarchies: &[cgroup::Hierarchy],
    ) -> Option<Self> {
        let flags = forecast.namespaces.iter().filter_map(|kind| flag(*kind));
        let flags = flags.fold(NamespaceFlags::NONE, NamespaceFlags::with);
        let new_cgroup_namespace = forecast.namespaces.contains(&NamespaceKind::Cgroup);
        let group = cgroup::Group::create(hierarchies.to_vec(), &cgroup).ok()?;
        let mut made = Self { cgroup, flags, new_cgroup_namespace, group, child: None };
        made.child = Some(made.bear(forecast).ok()?);
        Some(made)
    }

    fn bear(&self, forecast: Forecast) -> Result<Waiting, SetupError> {
        let mut entrance = self.group.entrance()?;
        let unified = entrance.unified.take();
        let (channel, theirs) = channel()?;
        let forked = fork(self.flags, unified.as_ref().map(AsFd::as_fd));
        match forked.map_err(|errno| SetupError::new(SetupStep::Clone, "", errno))? {
            Fork::Parent { pid, pidfd } => Ok(Waiting { pid, pidfd, channel }),
            Fork::Child => ahead::run(EarlyInheritance {
                channel: theirs,
                entrance,
                new_cgroup_namespace: self.new_cgroup_namespace,
                group: self.group.clone(),
                forecast,
            }),
        }
    }

    /// Whether it is what the plan wants.
    pub(super) fn fits(&self, cgroup: &str, flags: NamespaceFlags, new_cgroup_namespace: bool) -> bool {
        self.cgroup == cgroup
            && self.flags == flags
            && self.new_cgroup_namespace == new_cgroup_namespace
            && self.child.is_some()
    }

    /// Its cgroups.
    pub(super) fn group(&self) -> &cgroup::Group {
        &self.group
    }

    /// The child is somebody else's from now on, and so are its cgroups.
    pub(super) fn hand_over(mut self) -> Option<Waiting> {
        self.child.take().inspect(|_| self.group = cgroup::Group::default())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = mica_sys::signal::send(child.pidfd.as_fd(), 9);
            let _ = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
        }
        self.group.remove();
    }
}

/// Whether a plan of this size, in bytes, can be told to a child that was made ahead.
pub(super) fn can_be_told(order: &[u8]) -> bool {
    const REST: usize = 1 << 10;
    order.len() + REST <= MESSAGE_LENGTH_MAX
}

impl Waiting {
    /// Tells it what it is to become. If that fails it has ended, and has perhaps said why.
    pub(super) fn brief(
        &self,
        order: &[u8],
        streams: &[Option<OwnedFd>; 3],
        joined: &[(NamespaceKind, OwnedFd)],
    ) -> Result<(), SetupError> {
        let briefing = Briefing {
            streams: [0, 1, 2].map(|number| streams[number].is_some()),
            joined: joined.iter().map(|(kind, _)| *kind).collect(),
            order: order.to_vec(),
        };
        let failed = |errno| SetupError::new(SetupStep::Clone, "", errno);
        let message = postcard::to_stdvec(&briefing).map_err(|_| failed(Errno::INVAL))?;
        let streams = streams.iter().flatten().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> =
            streams.chain(joined.iter().map(|(_, descriptor)| descriptor.as_fd())).collect();
        send_with(self.channel.as_fd(), &message, &descriptors).map(drop).map_err(failed)
    }
}
