//! The typed requests and answers that every door speaks.
//!
//! The shapes are docker's Engine API, so that what travels in this process today can travel
//! over a socket tomorrow without a second vocabulary. [`Engine`] is the one road: the command
//! line calls it, the in-process engine implements it, and a client of a remote engine will too.

pub mod engine;
pub mod error;
pub mod stream;
pub mod types;

pub use engine::Engine;
pub use error::{Error, Result};

/// The version of docker's Engine API whose words we speak.
pub const API_VERSION: &str = "1.51";
