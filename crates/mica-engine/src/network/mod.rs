//! Networks as the engine records them, and what containers are given of them.
//!
//! The records come before the deeds: a network and a container's addresses are written down before
//! anything is made of them in the kernel. What the kernel has is never asked for names or owners;
//! it is made again from the records where it is missing.

mod change;
mod create;
pub(crate) mod endpoint;
mod endpoint_options;
pub(crate) mod furnish;
pub(crate) mod links;
mod list;
mod overlap;
pub(crate) mod ports;
pub(crate) mod record;
mod relocate;
pub(crate) mod resolution;
mod rules;
mod wishes;

pub(crate) use furnish::Furnished;
