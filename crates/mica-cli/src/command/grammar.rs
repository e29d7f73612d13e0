//! The whole command line as one clap definition, for completion scripts and man pages.
//!
//! Never used for parsing: the dispatcher puts together only the command that was typed.

use crate::command::{self, Command, Visibility};
use crate::dispatch;
use clap::{Arg, ArgAction, ValueHint};

/// What the program is, in a line.
pub const ABOUT: &str = "A container engine in one binary, without a daemon";

/// All that people are shown: every command under each of its spellings, without planned and obsolete flags.
pub fn whole(program: &'static str) -> clap::Command {
    let mut root = bare(program, ABOUT).args(dispatch::global_flags().map(|option| global(&option)));
    for noun in command::NOUNS.iter().filter(|noun| !noun.name.contains(' ')) {
        root = root.subcommand(group(noun, noun.name));
    }
    for (path, shown) in spellings().filter(|(path, _)| !path.contains(' ')) {
        root = root.subcommand(documented(shown, path));
    }
    root
}

/// A noun, called `name`, with its verbs and the nouns below it.
fn group(noun: &command::Noun, name: &'static str) -> clap::Command {
    let verb = |path: &'static str| {
        path.strip_prefix(noun.name)?.strip_prefix(' ').filter(|verb| !verb.contains(' '))
    };
    let mut group_of_verbs = bare(name, noun.summary);
    for (path, shown) in spellings() {
        if let Some(verb) = verb(path) {
            group_of_verbs = group_of_verbs.subcommand(documented(shown, verb));
        }
    }
    for inner in command::NOUNS {
        if let Some(name) = verb(inner.name) {
            group_of_verbs = group_of_verbs.subcommand(group(inner, name));
        }
    }
    group_of_verbs
}

/// One command as documents show it, called `name`.
pub fn documented(command: &Command, name: &'static str) -> clap::Command {
    let mut definition =
        bare(name, command.summary).args((command.flags)().iter().filter(|arg| !arg.is_hide_set()).map(flag));
    if command.operands.most > 0 {
        let usage = command.operands.usage.first().copied().unwrap_or_default();
        let operands = Arg::new("operands").value_name(usage).num_args(0..).value_hint(ValueHint::AnyPath);
        definition = definition.arg(operands);
    }
    definition
}

fn spellings() -> impl Iterator<Item = (&'static str, &'static Command)> {
    command::all()
        .filter(|command| command.visibility != Visibility::Hidden)
        .flat_map(|command| command.paths.iter().map(move |path| (*path, command)))
}

fn bare(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name)
        .about(about)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
}

/// Whether `arg` is on or off: those have no name for a value.
pub fn is_switch(arg: &Arg) -> bool {
    arg.get_value_names().is_none()
}

/// A flag as documents show it: a switch has no value there, though `--flag=false` is read.
fn flag(arg: &Arg) -> Arg {
    if !is_switch(arg) {
        return arg.clone();
    }
    let mut shown = Arg::new(arg.get_id().clone()).action(ArgAction::SetTrue);
    if let Some(long) = arg.get_long() {
        shown = shown.long(long.to_owned());
    }
    if let Some(short) = arg.get_short() {
        shown = shown.short(short);
    }
    match arg.get_help() {
        Some(help) => shown.help(help.clone()),
        None => shown,
    }
}

fn global(option: &dispatch::GlobalFlag) -> Arg {
    let arg = Arg::new(option.long).long(option.long).help(option.help);
    let arg = if option.is_switch { arg.action(ArgAction::SetTrue) } else { arg.value_name("string") };
    option.short.map_or(arg.clone(), |letter| arg.short(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_sound() {
        let whole = whole("mica");
        whole.clone().debug_assert();
        assert!(whole.find_subcommand("image").is_some_and(|image| image.find_subcommand("load").is_some()));
        assert!(whole.find_subcommand("rmi").is_some());
        assert!(whole.find_subcommand("__definition").is_none());
    }
}
