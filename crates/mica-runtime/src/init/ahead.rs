//! Before the story: what a child does that was made before its plan.
//!
//! None of it depends on the container's root or on the rights of its program. A file system that cannot be made
//! now is left to the chapter that it belongs to, which then fails with the words for it, or was not to have it.

use super::mounts::Ready;
use super::{Inheritance, at, cgroups, devices, namespaces, root};
use crate::cgroup::{Entrance, Group};
use crate::error::{SetupError, SetupStep};
use crate::order::receive_with;
use crate::{Forecast, NamespaceKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The longest message that a child made ahead takes, in bytes.
pub(crate) const MESSAGE_LENGTH_MAX: usize = 96 << 10;

/// What the child made ahead is told; in front of its plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Briefing {
    /// Which standard streams come along.
    pub(crate) streams: [bool; 3],
    /// Kinds of the namespaces that come along, after the streams.
    pub(crate) joined: Vec<NamespaceKind>,
    /// The child's part of the order.
    pub(crate) order: Vec<u8>,
}

/// What a child that is made ahead inherits.
#[derive(Debug)]
pub(crate) struct EarlyInheritance {
    /// Brings the briefing, and then takes messages as always.
    pub(crate) channel: OwnedFd,
    pub(crate) entrance: Entrance,
    pub(crate) new_cgroup_namespace: bool,
    pub(crate) group: Group,
    pub(crate) forecast: Forecast,
}

/// What is ready when the story begins; for a child that was not made ahead nothing is.
#[derive(Debug, Default)]
pub(super) struct Preparations {
    /// Whether it is in its cgroups, and in its namespace of them, and its mounts are its own.
    pub(super) is_settled: bool,
    pub(super) is_loopback_up: bool,
    pub(super) null: Option<OwnedFd>,
    pub(super) cgroups: Option<cgroups::View>,
    pub(super) file_systems: Ready,
}

/// Prepares, waits for the briefing, and lives the story.
pub(crate) fn run(inheritance: EarlyInheritance) -> ! {
    let EarlyInheritance { channel, entrance, new_cgroup_namespace, group, forecast } = inheritance;
    let kept: Vec<BorrowedFd<'_>> = entrance.descriptors().chain([channel.as_fd()]).collect();
    let closed = super::leave_the_monitors_files(&kept);
    let preparations = closed.and_then(|()| prepare((new_cgroup_namespace, entrance), &group, forecast));
    match preparations.and_then(|preparations| Ok((preparations, Briefing::await_on(&channel)?))) {
        Ok((preparations, Some((briefing, descriptors)))) => {
            let Briefing { streams, joined, order } = briefing;
            let mut descriptors = descriptors.into_iter();
            let streams = streams.map(|is_there| is_there.then(|| descriptors.next()).flatten());
            let inheritance = Inheritance {
                channel,
                streams,
                entrance: Entrance::default(),
                new_cgroup_namespace: false,
                joined: joined.into_iter().zip(descriptors).collect(),
                target: None,
                group: Some(group),
            };
            super::tell_of(&order, inheritance, preparations)
        }
        // Nobody needs it.
        Ok((_, None)) => mica_sys::process::exit_now(0),
        Err(error) => {
            super::report(channel.as_fd(), error);
            mica_sys::process::exit_now(1)
        }
    }
}

fn prepare(
    (new_cgroup_namespace, entrance): (bool, Entrance),
    group: &Group,
    forecast: Forecast,
) -> Result<Preparations, SetupError> {
    // Modes are given exactly, as in the story.
    rustix::process::umask(rustix::fs::Mode::empty());
    // Outside of the cgroups: while the monitor gives a group of version 1 its rules for devices, one by one,
    // there is a moment in which no node may be made in it.
    let file_systems = Ready::make(forecast.file_systems);
    if let Some(dev) = file_systems.dev() {
        devices::fill(dev, &[])?;
    }
    entrance.enter()?;
    drop(entrance);
    namespaces::freshen(new_cgroup_namespace)?;
    let is_network_new = forecast.namespaces.contains(&NamespaceKind::Network);
    if is_network_new {
        namespaces::loopback()?;
    }
    // Before anything is copied: what shows the cgroups must not be of one group with the host's.
    root::keep_mounts_private()?;
    Ok(Preparations {
        is_settled: true,
        is_loopback_up: is_network_new,
        null: devices::open_null().ok(),
        cgroups: Some(cgroups::of_group(group)?),
        file_systems,
    })
}

impl Briefing {
    /// Waits for it; `None` when the monitor has gone or changed its mind.
    fn await_on(channel: &OwnedFd) -> Result<Option<(Self, Vec<OwnedFd>)>, SetupError> {
        let mut message = vec![0; MESSAGE_LENGTH_MAX];
        let received = receive_with(channel.as_fd(), &mut message);
        let (length, descriptors) = received.map_err(at(SetupStep::Plan, ""))?;
        if length == 0 {
            return Ok(None);
        }
        let briefing = postcard::from_bytes(&message[..length])
            .map_err(|_| SetupError::new(SetupStep::Plan, "", Errno::BADMSG))?;
        Ok(Some((briefing, descriptors)))
    }
}
