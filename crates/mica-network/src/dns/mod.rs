//! The resolver of user-defined networks: names of neighbours from the files of [`crate::names`], all
//! else from the host's own resolvers.
//!
//! It lives in the container's monitor, with sockets out of the container's network namespace. One
//! thread, no waiting: all sockets are watched together. What a client can make it keep is bounded
//! by the constants of `datagrams` and `streams`.

mod answer;
mod datagrams;
mod streams;

pub use answer::Book;
pub(crate) use datagrams::Datagrams;
pub(crate) use streams::{Streams, connecting};
