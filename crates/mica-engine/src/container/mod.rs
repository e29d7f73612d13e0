//! Containers, a verb a file.

pub(crate) mod archive;
pub(crate) mod block_devices;
pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod devices;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod log_driver;
pub(crate) mod logs;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod rights;
pub(crate) mod security;
pub(crate) mod settings;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod user_namespace;
pub(crate) mod wait;
