//! Real containers, started by the example binary. They need root, a busybox in `/bin`, and cgroups.

mod confinement;
mod control;
mod exec;
mod harness;
mod life;
mod streams;
