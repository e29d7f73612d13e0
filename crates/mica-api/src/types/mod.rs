//! The nouns of the Engine API, one file each, with docker's field names on the wire.

pub mod bake;
pub mod build;
pub mod container;
pub mod event;
pub mod exec;
pub mod health;
pub mod host_config;
pub mod image;
pub mod manifest;
pub mod mount;
pub mod network;
pub mod system;
pub mod volume;
