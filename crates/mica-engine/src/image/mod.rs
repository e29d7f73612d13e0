//! Images, a verb a file.

pub(crate) mod config;
mod copy;
pub(crate) mod embedded;
pub(crate) mod fetch;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod manifest_list;
pub(crate) mod origin;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
mod push_index;
pub(crate) mod push_variants;
pub(crate) mod record;
pub(crate) mod register;
pub(crate) mod registries;
pub(crate) mod remove;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod tag;
pub(crate) mod tidy;
pub(crate) mod transfer;
pub(crate) mod tree;
pub(crate) mod variant;
