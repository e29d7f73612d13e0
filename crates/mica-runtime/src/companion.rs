//! Something that a monitor looks after besides its process, for as long as the run lasts.
//!
//! The runtime does not know what it is: the binary hands in how it is made, and the plan of a start
//! has its order and its descriptors.

use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Something else that a monitor does. Dropping it ends it, before anybody is told of the end of the
/// run.
pub trait Companion: Debug {
    /// Readable when [`Companion::serve`] has something to do.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Does what there is to do, without waiting.
    fn serve(&mut self);

    /// Fits out the network namespace that a process in a user namespace of its own was born with, before its program
    /// begins: nobody could have made that before. The error is for people.
    fn fit_out(&mut self, _network: BorrowedFd<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Makes a companion of its order and descriptors; `None` if it makes no sense of them.
pub type MakeCompanion = fn(&[u8], Vec<OwnedFd>) -> Option<Box<dyn Companion>>;

/// What a start hands to the monitor's companion.
#[derive(Debug)]
pub struct CompanionPlan {
    /// What it is to do, in its own words.
    pub order: Vec<u8>,
    /// What it does that with.
    pub descriptors: Vec<OwnedFd>,
}

/// A companion as it travels to the monitor.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct CompanionOrder {
    pub(crate) order: Vec<u8>,
    pub(crate) descriptor_count: usize,
}
