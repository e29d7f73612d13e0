//! The only place that turns an error into words, a hint and an exit code.
//!
//! The words follow docker's, because scripts look for them; a line with a hint follows where we
//! know what the user can do.

use crate::config::ConfigError;
use crate::output::template::TemplateError;
use crate::terminal::{AttachError, DetachKeysError};
use mica_api::Error as EngineError;
use mica_model::ErrorKind;
use std::fmt::Write as _;
use std::io;

/// What a command answers: its exit code, or why it ended early.
pub type Outcome = Result<u8, Failure>;

/// Exit code of a command that did what it was asked.
pub const SUCCESS: u8 = 0;

/// Exit code of an ordinary failure.
pub const FAILURE: u8 = 1;

/// Exit code of a template for a document that cannot be understood.
pub const TEMPLATE_FAILURE: u8 = 64;

/// Exit code where mica itself, not the program in the container, failed.
pub const ENGINE_FAILURE: u8 = 125;

/// Exit code of a program that cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;

/// Exit code of a program that does not exist.
const COMMAND_NOT_FOUND: u8 = 127;

/// Exit code of a program that SIGPIPE ended.
const OUTPUT_CLOSED: u8 = 141;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine refused.
    #[error("{source}")]
    Engine {
        /// Its answer.
        #[from]
        source: EngineError,
    },
    /// The engine refused a request on the way to a running program (`run`, `create`).
    #[error("{source}")]
    Launch {
        /// Its answer.
        source: EngineError,
    },
    /// A flag that does not exist or has a wrong value.
    #[error("{message}")]
    Flag {
        /// In pflag's words.
        message: String,
    },
    /// Too few or too many arguments.
    #[error("{message}")]
    Arguments {
        /// In docker's words, without the name of the program.
        message: String,
    },
    /// A command that does not exist.
    #[error("unknown command: {typed}")]
    UnknownCommand {
        /// What was typed, with the program's name.
        typed: String,
        /// The nearest command that exists.
        nearest: Option<String>,
    },
    /// A command or flag of docker that a later version brings.
    #[error("{what} is not supported yet by mica; it comes with {awaits}")]
    Planned {
        /// The command or flag.
        what: String,
        /// What brings it.
        awaits: &'static str,
        /// Exit code that docker gives to a wrong use of the same thing.
        code: u8,
    },
    /// A request that makes no sense, seen before the engine was asked.
    #[error("{message}")]
    Refused {
        /// What was wrong, in docker's words.
        message: String,
    },
    /// The same on the way to a running program (`run`, `create`): exit code 125.
    #[error("{message}")]
    RefusedLaunch {
        /// What was wrong, in docker's words.
        message: String,
    },
    /// A file of the user.
    #[error("{action} {path}: {}", plain(source))]
    File {
        /// `open`, `read`, `write`.
        action: &'static str,
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Detach keys that name no keys.
    #[error(transparent)]
    DetachKeys(#[from] DetachKeysError),
    /// The connection with an attached container.
    #[error("{source}: {}", attach_reason(source))]
    Attach {
        /// Why.
        source: AttachError,
    },
    /// We took none of an attached container's output for too long.
    #[error(
        "left behind: nothing of the output was read for some seconds while the container waited to write more"
    )]
    LeftBehind,
    /// A template that cannot be understood, or does not fit what it is to show.
    #[error("{source}")]
    Template {
        /// Why.
        source: TemplateError,
        /// The exit code: docker has 64 for templates of documents, 1 for those of listings.
        code: u8,
    },
    /// A format of a listing that is no template, or names what rows do not have.
    #[error("{}", listing_words(source))]
    Listing {
        /// Why.
        source: TemplateError,
    },
    /// Whoever read our output has gone; nothing is said about that.
    #[error("the output was closed")]
    OutputClosed,
    /// Everything has been said already.
    #[error("failed")]
    Reported {
        /// The exit code.
        code: u8,
    },
}

impl Failure {
    /// A refusal in the words of `message`.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into() }
    }

    /// A refusal of `run` or `create` in the words of `message`.
    pub fn refused_launch(message: impl Into<String>) -> Self {
        Self::RefusedLaunch { message: message.into() }
    }

    /// A flag whose value cannot be taken, in pflag's words.
    pub fn flag_value(value: &str, flag: &str, reason: &str) -> Self {
        Self::Flag { message: format!("invalid argument {value:?} for {flag:?} flag: {reason}") }
    }

    /// An engine's refusal on the way to a running program.
    pub const fn launch(source: EngineError) -> Self {
        Self::Launch { source }
    }

    /// The exit code of the whole command.
    pub fn code(&self) -> u8 {
        match self {
            Self::Launch { source } => launch_code(source.kind),
            Self::Flag { .. } | Self::RefusedLaunch { .. } => ENGINE_FAILURE,
            Self::OutputClosed => OUTPUT_CLOSED,
            Self::Planned { code, .. } | Self::Reported { code } | Self::Template { code, .. } => *code,
            Self::Engine { source } => match source.kind {
                ErrorKind::CannotExecute | ErrorKind::CommandNotFound => launch_code(source.kind),
                _ => FAILURE,
            },
            _ => FAILURE,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Engine { source } | Self::Launch { source } => source.hint.clone(),
            Self::UnknownCommand { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean '{name}'?"))
            }
            Self::Planned { .. } => Some("COMPATIBILITY.md lists what works and what is planned".to_owned()),
            Self::LeftBehind => Some(
                "the container goes on; `mica logs` has all of it, `mica attach` joins it again".to_owned(),
            ),
            Self::Config(ConfigError::Remote { .. }) => {
                Some("unset it to use the engine of this machine".to_owned())
            }
            _ => None,
        }
    }
}

impl From<AttachError> for Failure {
    fn from(source: AttachError) -> Self {
        if source.is_closed_output() { Self::OutputClosed } else { Self::Attach { source } }
    }
}

/// docker begins with other words for listings than for documents.
fn listing_words(error: &TemplateError) -> String {
    let action = match error {
        TemplateError::Parse { .. } => "parse",
        TemplateError::Execute { .. } => "execute",
    };
    let words = error.to_string();
    let reason = words.strip_prefix("template parsing error: ").unwrap_or(&words);
    format!("failed to {action} template: {reason}")
}

fn attach_reason(error: &AttachError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// What surrounds an error: which command it happened in.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the program as it was called.
    pub program: &'a str,
    /// Name of the command, with the program's, as it was typed.
    pub command: &'a str,
    /// Its usage line or lines, each complete.
    pub usage: &'a str,
}

/// All that standard error is told about `failure`; empty where nothing is to be said.
pub fn words(failure: &Failure, place: Place<'_>) -> String {
    let Place { program, command, usage } = place;
    let hint = failure.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    let help = format!("\nRun '{command} --help' for more information\n");
    match failure {
        Failure::OutputClosed | Failure::Reported { .. } => String::new(),
        Failure::Flag { message } => format!("{message}\n{hint}\n{usage}{help}"),
        Failure::Arguments { message } => {
            // docker has another word where there is no upper limit.
            let is_open = message.contains("at least") && !message.contains("at most");
            let help = if is_open { help.replacen("Run", "See", 1) } else { help };
            format!("{program}: '{command}' {message}\n{hint}\n{usage}{help}")
        }
        Failure::UnknownCommand { typed, .. } => {
            // Below a noun its usage follows; the whole program's would be too long.
            let usage = if typed.split(' ').count() > 2 { format!("\n{usage}") } else { String::new() };
            format!("{program}: {failure}\n{hint}{usage}{help}")
        }
        Failure::RefusedLaunch { .. } | Failure::Launch { .. } => {
            format!("{program}: {}\n{hint}{help}", without_numbers(&failure.to_string()))
        }
        Failure::Engine { source } => format!("{}\n{hint}", engine_words(source)),
        _ => format!("{failure}\n{hint}"),
    }
}

/// The line about an engine's refusal of one of several targets.
pub fn engine_words(error: &EngineError) -> String {
    format!("Error: {}", without_numbers(&error.to_string()))
}

/// What the library says of an error, without the numbers that it puts behind the words: " (os error 2)".
fn without_numbers(text: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut pieces = text.split(BEGIN);
    let mut words = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix(')') {
            Some(rest) => words.push_str(rest),
            None => words.extend([BEGIN, piece]),
        }
    }
    words
}

/// Gathers the errors of a command with several targets, which goes on after each.
#[derive(Debug, Default)]
pub struct Gathered {
    lines: String,
}

impl Gathered {
    /// Notes the answer for one target; `None` if it failed.
    pub fn note<T>(&mut self, answer: Result<T, EngineError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                let _ = writeln!(self.lines, "{}", engine_words(&error));
                if let Some(hint) = &error.hint {
                    let _ = writeln!(self.lines, "hint: {hint}");
                }
                None
            }
        }
    }

    /// Whether all went well.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Says what failed and gives the exit code.
    ///
    /// # Errors
    /// `Reported`, when there was an error.
    pub fn finish(self, context: &crate::context::Context<'_>) -> Outcome {
        if self.lines.is_empty() {
            return Ok(SUCCESS);
        }
        context.say_error(&self.lines);
        Err(Failure::Reported { code: FAILURE })
    }
}

/// An input or output error as the C library says it, without Rust's "(os error 2)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

const fn launch_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::CannotExecute => CANNOT_EXECUTE,
        ErrorKind::CommandNotFound => COMMAND_NOT_FOUND,
        _ => ENGINE_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        program: "mica",
        command: "mica run",
        usage: "Usage:  mica run [OPTIONS] IMAGE [COMMAND] [ARG...]\n",
    };

    #[test]
    fn flags_are_explained_with_usage() {
        let failure = Failure::Flag { message: "unknown flag: --foo".to_owned() };
        assert_eq!(
            words(&failure, PLACE),
            "unknown flag: --foo\n\nUsage:  mica run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'mica run --help' for more information\n"
        );
        assert_eq!(failure.code(), 125);
    }

    #[test]
    fn launches_have_dockers_exit_codes() {
        for (kind, code) in
            [(ErrorKind::CommandNotFound, 127), (ErrorKind::CannotExecute, 126), (ErrorKind::Conflict, 125)]
        {
            assert_eq!(Failure::launch(EngineError::new(kind, "x")).code(), code);
        }
        assert_eq!(Failure::from(EngineError::not_found("x")).code(), 1);
    }

    #[test]
    fn hints_follow_the_message() {
        let failure =
            Failure::from(EngineError::not_found("No such container: x").with_hint("look at `mica ps -a`"));
        assert_eq!(words(&failure, PLACE), "Error: No such container: x\nhint: look at `mica ps -a`\n");
    }

    #[test]
    fn who_is_left_behind_is_told_where_the_rest_is() {
        assert_eq!(
            words(&Failure::LeftBehind, PLACE),
            "left behind: nothing of the output was read for some seconds while the container waited to write more\n\
             hint: the container goes on; `mica logs` has all of it, `mica attach` joins it again\n"
        );
        assert_eq!(Failure::LeftBehind.code(), 1);
    }

    #[test]
    fn file_errors_are_plain() {
        assert_eq!(plain(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }
}
