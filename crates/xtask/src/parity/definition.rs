//! Our own command line, as `mica __definition` prints it.

use crate::failure::Failure;
use serde_json::Value;
use std::collections::BTreeMap;

/// What `mica __definition` says.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// The commands that exist, hidden ones left out.
    pub commands: Vec<Command>,
    /// Commands of a later version, by name or by noun, and what brings them.
    pub planned: BTreeMap<String, String>,
    /// Commands that will not come, by name or by noun, and why.
    pub excluded: BTreeMap<String, String>,
}

/// A command of ours.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// All its names; empty only for what comes before a command.
    pub paths: Vec<String>,
    /// Its flags by name without dashes.
    pub flags: BTreeMap<String, Flag>,
}

/// A flag of ours.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    /// Its letter, or nothing.
    pub short: String,
    /// Whether it takes no value.
    pub is_switch: bool,
    /// What brings it, when it does not work yet.
    pub awaits: Option<String>,
}

impl Definition {
    /// Reads the document.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |reason: String| Failure::Document { document: "mica __definition".into(), reason };
        let document: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let list =
            |name: &str| document[name].as_array().ok_or_else(|| wrong(format!("lacks the list `{name}`")));
        let mut commands =
            vec![Command { paths: vec![String::new()], flags: flags(&document["global_flags"]) }];
        for command in list("commands")?.iter().filter(|command| command["hidden"] != Value::Bool(true)) {
            let paths = command["paths"].as_array().into_iter().flatten().map(text_of).collect();
            commands.push(Command { paths, flags: flags(&command["flags"]) });
        }
        let pairs = |name, value: &str| -> Result<BTreeMap<String, String>, Failure> {
            Ok(list(name)?.iter().map(|entry| (text_of(&entry["path"]), text_of(&entry[value]))).collect())
        };
        Ok(Self { commands, planned: pairs("planned", "awaits")?, excluded: pairs("excluded", "reason")? })
    }

    /// The command with one of these names.
    pub(super) fn find(&self, names: &[&str]) -> Option<&Command> {
        self.commands
            .iter()
            .find(|command| names.iter().any(|name| command.paths.iter().any(|path| path == name)))
    }
}

/// What a table by name or noun says of a command with one of these names.
pub(super) fn by_noun<'table>(
    table: &'table BTreeMap<String, String>,
    names: &[&str],
) -> Option<&'table String> {
    let exact = names.iter().find_map(|name| table.get(*name));
    exact.or_else(|| names.iter().find_map(|name| table.get(name.split(' ').next().unwrap_or_default())))
}

fn flags(list: &Value) -> BTreeMap<String, Flag> {
    let flags = list.as_array().into_iter().flatten().map(|flag| {
        let parsed = Flag {
            short: text_of(&flag["short"]).trim_start_matches('-').to_owned(),
            is_switch: flag["type"] == "bool",
            awaits: (flag["status"] == "planned").then(|| text_of(&flag["awaits"])),
        };
        (text_of(&flag["name"]).trim_start_matches('-').to_owned(), parsed)
    });
    flags.collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
