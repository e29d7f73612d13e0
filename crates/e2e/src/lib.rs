//! A sealed world for behaviour tests: its own root, its own images, its own clean-up.
//!
//! A test makes a [`World`], types commands into it as a user would and asserts on what comes back. When the world
//! is dropped everything it made is removed through the binary itself, and then the kernel is asked whether anything
//! was forgotten: a process, a mount or a cgroup left behind fails the test that left it.
//!
//! Archives that no honest tool would write are made with [`tarball`] and [`image_archive`].

pub mod distribution;
pub mod docker_registry;
pub mod dockerfile_case;
pub mod fixture;
pub mod image_archive;
pub mod invocation;
pub mod leak;
pub mod lie;
pub mod meddler;
pub mod neighbour;
pub mod output;
pub mod outside;
pub mod proxy;
pub mod registry;
pub mod tarball;
pub mod terminal;
pub mod world;

pub use distribution::{Authority, Demands, Distribution, Identity};
pub use docker_registry::DockerRegistry;
pub use dockerfile_case::DockerfileCase;
pub use image_archive::ImageArchive;
pub use invocation::{Background, Invocation};
pub use lie::Stage;
pub use meddler::{Meddler, Meddling};
pub use neighbour::Neighbour;
pub use output::Output;
pub use outside::Outside;
pub use proxy::Proxy;
pub use registry::Registry;
pub use tarball::{Entry, Tarball};
pub use terminal::Terminal;
pub use world::World;

/// Bytes that no compression makes less and no other seed makes again.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
