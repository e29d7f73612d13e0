//! Bake: many builds that files describe.

use crate::types::build::BuildRequest;
use mica_model::Proxies;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Which files say what is built, and what of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeRequest {
    /// The files; what a later one says comes on top.
    pub files: Vec<BakeText>,
    /// Values of variables by name: the environment, and `--var`, which comes before it.
    pub variables: BTreeMap<String, String>,
    /// The text of `.env`, for compose files.
    pub dotenv: String,
    /// Targets and groups; those of `default` if empty.
    pub names: Vec<String>,
    /// `--set`: `target.attribute=value`.
    pub overrides: Vec<String>,
    /// Files of another place, which come before those of this machine.
    pub remote: Option<BakeRemote>,
    /// What stands for the directory that bake is called in (`BAKE_CMD_CONTEXT`).
    pub command_context: String,
}

/// Files of a repository or of the web.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeRemote {
    /// The address; where the targets' contexts begin, too.
    pub address: String,
    /// Their names there.
    pub names: Vec<String>,
    /// Whether each of them must be there.
    pub are_needed: bool,
    /// Through which proxies the network is reached.
    pub proxies: Proxies,
}

/// A file that describes builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BakeText {
    /// Its name, whose end tells its language: HCL, JSON or compose.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The builds that names stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BakePlan {
    /// The whole of it, as `--print` shows it.
    pub document: Value,
    /// The builds; those that others need come before them.
    pub targets: Vec<BakeTarget>,
}

/// One build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BakeTarget {
    /// Its name.
    pub name: String,
    /// Its attributes: texts, truths, lists of texts, and texts by name.
    pub attributes: Map<String, Value>,
}

impl BakeTarget {
    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    /// An attribute that is true or false.
    pub fn is_on(&self, name: &str) -> bool {
        self.attributes.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// An attribute that is a list.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let items = self.attributes.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// An attribute with names.
    pub fn map(&self, name: &str) -> Vec<(&str, &str)> {
        let members = self.attributes.get(name).and_then(Value::as_object);
        members
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect()
    }
}

/// What files offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeContents {
    /// Targets and groups.
    pub targets: Vec<BakeOffer>,
    /// Variables.
    pub variables: Vec<BakeVariable>,
}

/// A target or a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeOffer {
    /// Its name.
    pub name: String,
    /// What the file says of it; of a group, its targets if it says nothing.
    pub description: String,
    /// Whether it is a group.
    pub is_group: bool,
}

/// A variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BakeVariable {
    /// Its name.
    pub name: String,
    /// Its value as a text or as JSON; nothing when it has none.
    pub value: Option<String>,
    /// What the file says of it.
    pub description: String,
}

/// A build among several.
#[derive(Debug)]
pub struct NamedBuild<'a> {
    /// Its name, by which the others' contexts mean its result: `target:NAME`.
    pub name: String,
    /// What to build.
    pub request: BuildRequest<'a>,
}
