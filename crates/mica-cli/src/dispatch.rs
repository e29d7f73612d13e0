//! From argv to the one command it names, building nothing else.
//!
//! Clap is asked only about that one command; the options before it and the words that name it
//! are found here, so that a command's start costs what its own flags cost.

use crate::args::{Matches, parse_bool};
use crate::command::{self, Command};
use crate::config::{Config, Environment, GlobalOptions};
use crate::context::{Context, OpenEngine, Streams};
use crate::report::{self, FAILURE, Failure, Outcome, Place, SUCCESS};
use crate::{complaint, help};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Instant;

/// What surrounds a command line: replaced in tests.
#[derive(Debug)]
pub struct Surroundings {
    /// The environment.
    pub environment: Environment,
    /// Standard output and error.
    pub streams: Streams,
}

/// Does what `argv` says; answers the exit code.
pub fn run(argv: Vec<OsString>, surroundings: Surroundings, open: OpenEngine<'_>) -> u8 {
    let started = Instant::now();
    let mut argv = argv.into_iter();
    let program = program_name(argv.next().as_deref());
    let config = Config { environment: surroundings.environment, options: GlobalOptions::default() };
    let mut context = Context::new(program, config, surroundings.streams, open);
    let mut usage = help::root_usage(&context.program);
    let outcome = text_arguments(argv).and_then(|arguments| {
        let rest = global_options(&arguments, &mut context)?;
        match rest {
            Next::Words(words) => command_words(words, &mut context, &mut usage),
            Next::Help => help::root(&context),
            Next::Version => help::version_line(&context),
        }
    });
    context.debug(|| format!("{} took {:?}", context.typed, started.elapsed()));
    outcome.unwrap_or_else(|failure| {
        let place = Place { program: &context.program, command: &context.typed, usage: &usage };
        context.say_error(&report::words(&failure, place));
        failure.code()
    })
}

/// What comes after the options before the command.
enum Next<'a> {
    Words(&'a [String]),
    Help,
    Version,
}

/// The name that messages call the program by: `docker` for a link of that name, else `mica`.
fn program_name(argument: Option<&OsStr>) -> String {
    let name = argument.map(Path::new).and_then(Path::file_name).and_then(|name| name.to_str());
    if name == Some("docker") { "docker".to_owned() } else { "mica".to_owned() }
}

fn text_arguments(argv: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    argv.map(OsString::into_string)
        .collect::<Result<_, _>>()
        .map_err(|argument| Failure::refused(format!("argument {argument:?} is not text in UTF-8")))
}

/// An option before the command.
struct GlobalOption {
    long: &'static str,
    short: Option<char>,
    help: &'static str,
    set: Set,
}

/// An option before the command, as documents show it.
#[derive(Debug, Clone, Copy)]
pub struct GlobalFlag {
    /// Long name without dashes.
    pub long: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// What it does, in a line.
    pub help: &'static str,
    /// Whether it is on or off.
    pub is_switch: bool,
}

/// All options before the command.
pub fn global_flags() -> impl Iterator<Item = GlobalFlag> {
    let flag = |long, short, help, is_switch| GlobalFlag { long, short, help, is_switch };
    GLOBAL_OPTIONS
        .iter()
        .map(move |option| flag(option.long, option.short, option.help, matches!(option.set, Set::Switch(_))))
        .chain([
            flag("help", Some('h'), "Print usage", true),
            flag("version", Some('v'), "Print version information and quit", true),
        ])
}

/// What an option before the command does.
enum Set {
    Value(fn(&mut GlobalOptions, String)),
    Switch(fn(&mut GlobalOptions, bool)),
}

const GLOBAL_OPTIONS: &[GlobalOption] = &[
    GlobalOption {
        long: "root",
        short: None,
        help: "Where images and containers are kept",
        set: Set::Value(|options, value| options.root = Some(value.into())),
    },
    GlobalOption {
        long: "run-root",
        short: None,
        help: "Where run-time state is kept",
        set: Set::Value(|options, value| options.run_directory = Some(value.into())),
    },
    GlobalOption {
        long: "config",
        short: None,
        help: "Location of client config files",
        set: Set::Value(|options, value| options.config_directory = Some(value.into())),
    },
    GlobalOption {
        long: "host",
        short: Some('H'),
        help: "Engine to connect to",
        set: Set::Value(|options, value| options.host = Some(value)),
    },
    GlobalOption {
        long: "context",
        short: Some('c'),
        help: "Name of the context to use",
        set: Set::Value(|options, value| options.context = Some(value)),
    },
    GlobalOption {
        long: "debug",
        short: Some('D'),
        help: "Enable debug mode",
        set: Set::Switch(|options, on| options.debug = on),
    },
    GlobalOption {
        long: "log-level",
        short: Some('l'),
        help: "Set the logging level",
        set: Set::Value(|options, value| options.log_level = Some(value)),
    },
    GlobalOption {
        long: "tls",
        short: None,
        help: "Use TLS",
        set: Set::Switch(|options, on| options.tls = on),
    },
    GlobalOption {
        long: "tlsverify",
        short: None,
        help: "Use TLS and verify the remote",
        set: Set::Switch(|options, on| options.tls = on),
    },
    GlobalOption {
        long: "tlscacert",
        short: None,
        help: "Trust certificates signed only by this CA",
        set: Set::Value(|options, _| options.tls = true),
    },
    GlobalOption {
        long: "tlscert",
        short: None,
        help: "Path to TLS certificate file",
        set: Set::Value(|options, _| options.tls = true),
    },
    GlobalOption {
        long: "tlskey",
        short: None,
        help: "Path to TLS key file",
        set: Set::Value(|options, _| options.tls = true),
    },
];

/// Reads the options before the command and answers what follows them.
fn global_options<'a>(arguments: &'a [String], context: &mut Context<'_>) -> Result<Next<'a>, Failure> {
    let mut rest = arguments;
    while let Some((first, after)) = rest.split_first() {
        rest = match first.as_str() {
            "-h" | "--help" => return Ok(Next::Help),
            "-v" | "--version" => return Ok(Next::Version),
            "--" => {
                rest = after;
                break;
            }
            long if long.starts_with("--") => long_option(&long[2..], after, &mut context.config.options)?,
            short if short.len() > 1 && short.starts_with('-') => {
                short_options(&short[1..], after, &mut context.config.options)?
            }
            _ => break,
        };
    }
    context.config.check()?;
    if rest.is_empty() { Ok(Next::Help) } else { Ok(Next::Words(rest)) }
}

fn long_option<'a>(
    text: &str,
    after: &'a [String],
    options: &mut GlobalOptions,
) -> Result<&'a [String], Failure> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let Some(option) = GLOBAL_OPTIONS.iter().find(|option| option.long == name) else {
        return Err(Failure::Flag { message: format!("unknown flag: --{name}") });
    };
    match (&option.set, value, after.split_first()) {
        (Set::Switch(set), value, _) => {
            set(options, option.switched(value)?);
            Ok(after)
        }
        (Set::Value(set), Some(value), _) => {
            set(options, value.to_owned());
            Ok(after)
        }
        (Set::Value(set), None, Some((value, after))) => {
            set(options, value.clone());
            Ok(after)
        }
        (Set::Value(_), None, None) => {
            Err(Failure::Flag { message: format!("flag needs an argument: --{name}") })
        }
    }
}

fn short_options<'a>(
    cluster: &str,
    after: &'a [String],
    options: &mut GlobalOptions,
) -> Result<&'a [String], Failure> {
    for (index, letter) in cluster.char_indices() {
        let Some(option) = GLOBAL_OPTIONS.iter().find(|option| option.short == Some(letter)) else {
            let message = format!("unknown shorthand flag: {letter:?} in -{}", &cluster[index..]);
            return Err(Failure::Flag { message });
        };
        let attached = &cluster[index + letter.len_utf8()..];
        let value = attached.strip_prefix('=');
        match (&option.set, after.split_first()) {
            (Set::Switch(set), _) => {
                set(options, option.switched(value)?);
                if value.is_some() {
                    return Ok(after);
                }
            }
            (Set::Value(set), _) if !attached.is_empty() => {
                set(options, value.unwrap_or(attached).to_owned());
                return Ok(after);
            }
            (Set::Value(set), Some((value, after))) => {
                set(options, value.clone());
                return Ok(after);
            }
            (Set::Value(_), None) => {
                return Err(Failure::Flag {
                    message: format!("flag needs an argument: {letter:?} in -{cluster}"),
                });
            }
        }
    }
    Ok(after)
}

impl GlobalOption {
    /// Whether the switch is on, with what was typed after `=`.
    fn switched(&self, value: Option<&str>) -> Result<bool, Failure> {
        let value = value.unwrap_or("true");
        parse_bool(value).map_err(|error| {
            let short = self.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
            Failure::flag_value(value, &format!("{short}--{}", self.long), &error.message)
        })
    }
}

/// Finds the command that `words` begin with, and does it.
fn command_words(words: &[String], context: &mut Context<'_>, usage: &mut String) -> Outcome {
    let first = words[0].as_str();
    if first == "help" {
        return help::topic(&words[1..], context);
    }
    // `buildx history` is a noun, too.
    let longest = |count: &usize| words.get(..*count).and_then(|words| command::noun(&words.join(" ")));
    if let Some((count, noun)) = [2, 1].iter().find_map(|count| Some((*count, longest(count)?))) {
        return verb_words(noun, words.split_at(count), context, usage);
    }
    match command::find(first) {
        Some(command) => execute(command, &words[..1], &words[1..], context, usage),
        None => Err(unknown(&words[..1], context)),
    }
}

/// What follows a noun.
fn verb_words(
    noun: &command::Noun,
    (nouns, rest): (&[String], &[String]),
    context: &mut Context<'_>,
    usage: &mut String,
) -> Outcome {
    context.typed = format!("{} {}", context.program, noun.name);
    *usage = format!("Usage:  {}\n", context.typed);
    match rest.first().map(String::as_str) {
        None | Some("-h" | "--help") => help::noun(noun, context),
        Some(flag) if flag.starts_with("--") => {
            Err(Failure::Flag { message: format!("unknown flag: {flag}") })
        }
        Some(flag) if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            Err(Failure::Flag { message: format!("unknown shorthand flag: {letter:?} in {flag}") })
        }
        Some(verb) => {
            let path: Vec<String> = nouns.iter().chain(rest.first()).cloned().collect();
            match command::find(&format!("{} {verb}", noun.name)) {
                Some(command) => execute(command, &path, &rest[1..], context, usage),
                None => Err(unknown(&path, context)),
            }
        }
    }
}

fn unknown(words: &[String], context: &mut Context<'_>) -> Failure {
    let path = words.join(" ");
    let typed = format!("{} {path}", context.program);
    let excluded = command::planned::excluded(&path);
    let refusal = |excluded: &command::planned::ExcludedCommand| {
        Failure::refused(format!("'{typed}' is not part of mica: {}", excluded.reason))
    };
    // What is excluded by its whole name may have a noun that is planned.
    if let Some(excluded) = excluded.filter(|excluded| excluded.path == path) {
        return refusal(excluded);
    }
    if let Some(planned) = command::planned::find(&path) {
        let what = format!("'{} {path}'", context.program);
        return Failure::Planned { what, awaits: planned.awaits, code: FAILURE };
    }
    if let Some(excluded) = excluded {
        return refusal(excluded);
    }
    let nearest = help::nearest(&path).map(|near| format!("{} {near}", context.program));
    Failure::UnknownCommand { typed, nearest }
}

fn execute(
    command: &'static Command,
    path: &[String],
    arguments: &[String],
    context: &mut Context<'_>,
    usage: &mut String,
) -> Outcome {
    context.typed = format!("{} {}", context.program, path.join(" "));
    let matches = parse(command, arguments);
    if matches.is_err() {
        *usage = command.usage(&context.typed);
    }
    let matches = matches?;
    if matches.on("help") {
        context.print(&help::command(command, &context.typed, context))?;
        return Ok(SUCCESS);
    }
    let count = matches.operands().len();
    if let Some(message) = command.operands.complaint(count) {
        *usage = command.usage(&context.typed);
        return Err(Failure::Arguments { message });
    }
    refuse_planned(command, &matches)?;
    (command.execute)(&matches, context).inspect_err(|failure| {
        if matches!(failure, Failure::Flag { .. } | Failure::Arguments { .. }) {
            *usage = command.usage(&context.typed);
        }
    })
}

/// Parses the arguments of one command.
///
/// # Errors
/// `Flag`, in pflag's words.
pub fn parse(command: &'static Command, arguments: &[String]) -> Result<Matches, Failure> {
    let mut definition = command.definition().no_binary_name(true);
    match definition.try_get_matches_from_mut(arguments) {
        Ok(matches) => Ok(Matches::new(matches)),
        Err(error) => Err(complaint::flag(&error, &definition, arguments)),
    }
}

/// Refuses flags that a later version brings.
///
/// # Errors
/// `Planned`, with what brings it.
pub fn refuse_planned(command: &Command, matches: &Matches) -> Result<(), Failure> {
    match command.planned.iter().find(|flag| matches.given(flag.long)) {
        Some(flag) => Err(Failure::Planned {
            what: format!("--{}", flag.long),
            awaits: flag.awaits,
            code: report::ENGINE_FAILURE,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
