//! `__definition`: the command line as one JSON document, from which the table of compatibility
//! is made and checked.

use crate::args::{Matches, PlannedFlag, Takes};
use crate::command::{self, Command, Operands, Visibility, grammar, planned};
use crate::context::Context;
use crate::dispatch;
use crate::report::{Outcome, SUCCESS};
use clap::Arg;
use serde::Serialize;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["__definition"],
    summary: "Print the definition of the command line as JSON",
    operands: Operands::NONE,
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Hidden,
};

#[derive(Serialize)]
struct Definition {
    /// Options before the command.
    global_flags: Vec<FlagEntry>,
    commands: Vec<CommandEntry>,
    /// Commands of docker that a later version brings; a noun stands for its verbs.
    planned: Vec<PlannedEntry>,
    /// Commands of docker that are outside of what mica is for.
    excluded: Vec<ExcludedEntry>,
}

#[derive(Serialize)]
struct CommandEntry {
    paths: Vec<&'static str>,
    summary: &'static str,
    operands: Vec<&'static str>,
    hidden: bool,
    flags: Vec<FlagEntry>,
}

#[derive(Serialize)]
struct FlagEntry {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    short: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    /// `supported` or `planned`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    awaits: Option<&'static str>,
}

#[derive(Serialize)]
struct PlannedEntry {
    path: &'static str,
    awaits: &'static str,
}

#[derive(Serialize)]
struct ExcludedEntry {
    path: &'static str,
    reason: &'static str,
}

fn execute(_: &Matches, context: &Context<'_>) -> Outcome {
    let text = serde_json::to_string_pretty(&definition()).unwrap_or_default();
    context.print_line(&text)?;
    Ok(SUCCESS)
}

fn definition() -> Definition {
    Definition {
        global_flags: dispatch::global_flags().map(|option| global(&option)).collect(),
        commands: command::all().map(entry).collect(),
        planned: planned::COMMANDS
            .iter()
            .map(|command| PlannedEntry { path: command.path, awaits: command.awaits })
            .collect(),
        excluded: planned::EXCLUDED
            .iter()
            .map(|command| ExcludedEntry { path: command.path, reason: command.reason })
            .collect(),
    }
}

fn entry(command: &Command) -> CommandEntry {
    let supported = (command.flags)();
    CommandEntry {
        paths: command.paths.to_vec(),
        summary: command.summary,
        operands: command.operands.usage.to_vec(),
        hidden: command.visibility == Visibility::Hidden,
        flags: supported.iter().map(flag).chain(command.planned.iter().map(planned_flag)).collect(),
    }
}

fn flag(arg: &Arg) -> FlagEntry {
    let kind = if grammar::is_switch(arg) {
        "bool".to_owned()
    } else {
        arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default()
    };
    FlagEntry {
        name: format!("--{}", arg.get_long().unwrap_or_default()),
        short: arg.get_short().map(dashed),
        kind,
        status: "supported",
        awaits: None,
    }
}

fn planned_flag(flag: &PlannedFlag) -> FlagEntry {
    FlagEntry {
        name: format!("--{}", flag.long),
        short: flag.short.map(dashed),
        kind: if flag.takes == Takes::Nothing { "bool" } else { "string" }.to_owned(),
        status: "planned",
        awaits: Some(flag.awaits),
    }
}

fn global(option: &dispatch::GlobalFlag) -> FlagEntry {
    FlagEntry {
        name: format!("--{}", option.long),
        short: option.short.map(dashed),
        kind: if option.is_switch { "bool" } else { "string" }.to_owned(),
        status: "supported",
        awaits: None,
    }
}

fn dashed(letter: char) -> String {
    format!("-{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_flags_are_told_apart() {
        let definition = definition();
        let run = definition.commands.iter().find(|entry| entry.paths.contains(&"run")).unwrap();
        let status = |name: &str| run.flags.iter().find(|flag| flag.name == name).map(|flag| flag.status);
        assert_eq!(status("--quiet"), Some("supported"));
        assert_eq!(status("--use-api-socket"), Some("planned"));
        assert_eq!(status("--nonsense"), None);
    }
}
