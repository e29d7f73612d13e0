//! What `run` and `create` have in common: the flags that define a container.
//!
//! `flags` declares them, `planned` names those of later versions, `request` turns what was typed into the
//! engine's request, `block_io`, `gpus`, `health`, `isolation`, `life`, `logging`, `network`, `publish`, `security` and `sharing` read
//! some of them, `variables` reads environment and label files, `volumes` and `mount` read what is to be mounted, `making`
//! asks for it.

pub mod block_io;
pub mod flags;
pub mod gpus;
pub mod health;
pub mod isolation;
pub mod life;
pub mod logging;
pub mod making;
pub mod mount;
pub mod network;
pub mod planned;
pub mod publish;
pub mod request;
pub mod resources;
pub mod security;
pub mod sharing;
pub mod variables;
pub mod volumes;
