//! The table of commands: which words name a command, what it takes, and the function that does it.
//!
//! One file per command: `command/<noun>/<verb>.rs` holds its entry of the table, the struct of
//! its arguments and its execution. A command's flags are a function, so that only the command
//! that was typed is ever put together.

pub mod builder;
pub mod container;
pub mod grammar;
pub mod image;
pub mod manifest;
pub mod network;
pub mod planned;
pub mod registry;
pub mod system;
pub mod volume;

use crate::args::{Matches, OPERANDS, PlannedFlag, switch};
use crate::context::Context;
use crate::report::Outcome;
use clap::{Arg, ArgAction};

/// A command that can be typed.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// All its spellings in docker's order, the one with the noun first: `container rm`, `rm`.
    pub paths: &'static [&'static str],
    /// One line for lists of commands.
    pub summary: &'static str,
    /// What follows the flags.
    pub operands: Operands,
    /// Its flags, without the planned ones.
    pub flags: fn() -> Vec<Arg>,
    /// Flags of docker that a later version brings.
    pub planned: &'static [PlannedFlag],
    /// Does it.
    pub execute: fn(&Matches, &Context<'_>) -> Outcome,
    /// Pairs of an explanation and a command line, without the program's name.
    pub examples: &'static [(&'static str, &'static str)],
    /// Whether lists of commands show it.
    pub visibility: Visibility,
}

/// Where lists of commands show a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Among the first that a newcomer needs; the number is the place.
    Common(u8),
    /// With the others.
    Plain,
    /// Nowhere.
    Hidden,
}

/// What follows the flags of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operands {
    /// As usage lines show it, after `[OPTIONS]`; several lines for several forms.
    pub usage: &'static [&'static str],
    /// The fewest.
    pub least: usize,
    /// The most.
    pub most: usize,
    /// Whether flags end at the first one, because what follows is another program's.
    pub are_trailing: bool,
}

impl Operands {
    /// None at all.
    pub const NONE: Self = Self { usage: &[""], least: 0, most: 0, are_trailing: false };

    /// Exactly `count`.
    pub const fn exactly(count: usize, usage: &'static [&'static str]) -> Self {
        Self { usage, least: count, most: count, are_trailing: false }
    }

    /// `least` or more.
    pub const fn at_least(least: usize, usage: &'static [&'static str]) -> Self {
        Self { usage, least, most: usize::MAX, are_trailing: false }
    }

    /// From `least` to `most`.
    pub const fn between(least: usize, most: usize, usage: &'static [&'static str]) -> Self {
        Self { usage, least, most, are_trailing: false }
    }

    /// `least` or more, the first of which ends the flags.
    pub const fn trailing(least: usize, usage: &'static [&'static str]) -> Self {
        Self { usage, least, most: usize::MAX, are_trailing: true }
    }

    /// What is wrong with `count` of them, in docker's words.
    pub fn complaint(&self, count: usize) -> Option<String> {
        if (self.least..=self.most).contains(&count) {
            return None;
        }
        let plural = |number: usize| if number == 1 { "argument" } else { "arguments" };
        Some(match (self.least, self.most) {
            (_, 0) => "accepts no arguments".to_owned(),
            (least, most) if least == most => format!("requires {least} {}", plural(least)),
            (least, usize::MAX) => format!("requires at least {least} {}", plural(least)),
            (0, most) => format!("requires at most {most} {}", plural(most)),
            (least, most) => format!("requires at least {least} and at most {most} {}", plural(most)),
        })
    }
}

/// A noun with verbs below it.
#[derive(Debug, Clone, Copy)]
pub struct Noun {
    /// The word.
    pub name: &'static str,
    /// One line for lists of commands.
    pub summary: &'static str,
}

/// The nouns of the commands that exist.
pub const NOUNS: &[Noun] = &[
    Noun { name: "builder", summary: "Manage builds" },
    Noun { name: "builder history", summary: "Commands to work on build records" },
    Noun { name: "buildx", summary: "Build images" },
    Noun { name: "buildx history", summary: "Commands to work on build records" },
    Noun { name: "container", summary: "Manage containers" },
    Noun { name: "image", summary: "Manage images" },
    Noun { name: "manifest", summary: "Manage Docker image manifests and manifest lists" },
    Noun { name: "network", summary: "Manage networks" },
    Noun { name: "system", summary: "Manage the engine" },
    Noun { name: "volume", summary: "Manage volumes" },
];

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Command> {
    builder::COMMANDS
        .iter()
        .chain(container::COMMANDS)
        .chain(image::COMMANDS)
        .chain(manifest::COMMANDS)
        .chain(network::COMMANDS)
        .chain(registry::COMMANDS)
        .chain(system::COMMANDS)
        .chain(volume::COMMANDS)
}

/// The command that `path` names exactly.
pub fn find(path: &str) -> Option<&'static Command> {
    all().find(|command| command.paths.contains(&path))
}

/// Whether `name` is a noun with verbs below it.
pub fn noun(name: &str) -> Option<&'static Noun> {
    NOUNS.iter().find(|noun| noun.name == name)
}

impl Command {
    /// The spelling that lists of all commands show: without a noun where there is such.
    pub fn short_path(&self) -> &'static str {
        self.paths.iter().find(|path| !path.contains(' ')).or(self.paths.first()).copied().unwrap_or_default()
    }

    /// The definition for clap: flags, planned flags, `--help`, operands.
    pub fn definition(&self) -> clap::Command {
        let operands = Arg::new(OPERANDS)
            .num_args(0..)
            .action(ArgAction::Append)
            .trailing_var_arg(self.operands.are_trailing)
            .hide(true);
        let flags = (self.flags)();
        let takes_h = flags.iter().any(|flag| flag.get_short() == Some('h'));
        let help = switch("help", "Print usage");
        clap::Command::new(self.short_path())
            .about(self.summary)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .args(flags)
            .args(self.planned.iter().map(PlannedFlag::arg))
            .arg(if takes_h { help } else { help.short('h') })
            .arg(operands)
    }

    /// Its usage lines when called as `typed`, the program's name included.
    pub fn usage(&self, typed: &str) -> String {
        let options = if (self.flags)().is_empty() { "" } else { " [OPTIONS]" };
        let mut text = String::new();
        for (index, operands) in self.operands.usage.iter().enumerate() {
            let head = if index == 0 { "Usage:  " } else { "\t" };
            let gap = if operands.is_empty() { "" } else { " " };
            text.push_str(&format!("{head}{typed}{options}{gap}{operands}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_definition_is_sound_and_each_path_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for command in all() {
            command.definition().debug_assert();
            for path in command.paths {
                assert!(seen.insert(path), "{path} is there twice");
                if let Some((first, _)) = path.split_once(' ') {
                    assert!(noun(first).is_some(), "{path} has no noun in the table");
                }
            }
        }
    }

    #[test]
    fn complaints_are_dockers() {
        assert_eq!(Operands::exactly(2, &[""]).complaint(1).as_deref(), Some("requires 2 arguments"));
        assert_eq!(
            Operands::at_least(1, &[""]).complaint(0).as_deref(),
            Some("requires at least 1 argument")
        );
        assert_eq!(Operands::NONE.complaint(1).as_deref(), Some("accepts no arguments"));
        assert_eq!(
            Operands::between(1, 2, &[""]).complaint(3).as_deref(),
            Some("requires at least 1 and at most 2 arguments")
        );
        assert_eq!(Operands::exactly(1, &[""]).complaint(1), None);
    }
}
