//! Clap's errors about flags in the words that docker's users and scripts know.

use crate::report::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::error::Error as _;

/// The failure behind `error`, which `definition` gave about `arguments`.
pub(crate) fn flag(error: &clap::Error, definition: &Command, arguments: &[String]) -> Failure {
    let named = text(error, ContextKind::InvalidArg);
    let value = text(error, ContextKind::InvalidValue);
    let message = match error.kind() {
        ErrorKind::UnknownArgument => unknown(&named, arguments),
        ErrorKind::InvalidValue if value.is_empty() => missing_value(&named, definition, arguments),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            return Failure::flag_value(&value, &both_names(&named, definition), &reason);
        }
        ErrorKind::NoEquals => missing_value(&named, definition, arguments),
        _ => error
            .render()
            .to_string()
            .trim_start_matches("error: ")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    Failure::Flag { message }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    }
}

/// Clap names an unknown letter alone; pflag shows the cluster from that letter on.
fn unknown(named: &str, arguments: &[String]) -> String {
    if named.starts_with("--") {
        return format!("unknown flag: {named}");
    }
    let letter = named.chars().nth(1).unwrap_or('-');
    let cluster = arguments
        .iter()
        .filter(|argument| argument.starts_with('-') && !argument.starts_with("--"))
        .find_map(|argument| argument[1..].find(letter).map(|at| &argument[1 + at..]))
        .map_or_else(|| letter.to_string(), str::to_owned);
    format!("unknown shorthand flag: {letter:?} in -{cluster}")
}

fn missing_value(named: &str, definition: &Command, arguments: &[String]) -> String {
    let flag = find(named, definition);
    let short = flag.and_then(Arg::get_short);
    let last = arguments.last().map(String::as_str).unwrap_or_default();
    match short {
        Some(letter) if !last.starts_with("--") => format!("flag needs an argument: {letter:?} in {last}"),
        _ => format!("flag needs an argument: {}", named.split([' ', '=', '[']).next().unwrap_or(named)),
    }
}

/// `-t, --timeout` for clap's `--timeout <int>`.
fn both_names(named: &str, definition: &Command) -> String {
    match find(named, definition) {
        Some(flag) => match (flag.get_short(), flag.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (_, Some(long)) => format!("--{long}"),
            _ => named.to_owned(),
        },
        None => named.to_owned(),
    }
}

fn find<'a>(named: &str, definition: &'a Command) -> Option<&'a Arg> {
    let name = named.split([' ', '=', '[']).next()?;
    definition.get_arguments().find(|flag| {
        flag.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
            || flag
                .get_short()
                .is_some_and(|short| name.strip_prefix('-') == Some(short.to_string().as_str()))
    })
}
