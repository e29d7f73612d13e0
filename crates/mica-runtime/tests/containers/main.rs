//! Real containers, started by the example binary. They need root, a busybox in `/bin`, and cgroups.
//!
//! The example is built by `cargo test` for the whole package; `--test containers` alone would take
//! the one of the last time.
//!
//! The lints of the workspace that allow unwrapping in tests do not see the helpers of this one.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod confinement;
mod control;
mod exec;
mod harness;
mod life;
mod mapping;
mod streams;
