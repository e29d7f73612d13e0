//! What can be wrong with a Dockerfile, and where.

use super::position::{Position, Span};
use mica_model::ErrorKind;
use mica_model::duration::DurationError;

/// Something wrong in a Dockerfile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {}: {problem}", .span.start.line)]
pub struct ParseError {
    /// What is wrong.
    pub problem: Problem,
    /// Where.
    pub span: Span,
}

impl ParseError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }

    /// Where it begins.
    pub const fn position(&self) -> Position {
        self.span.start
    }
}

/// What is wrong, without its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No instruction at all.
    #[error("file with no instructions")]
    Empty,
    /// No `FROM` at all.
    #[error("no build stage in current context")]
    NoStage,
    /// An instruction that nobody knows.
    #[error("unknown instruction: {name}{}", did_you_mean(*.suggestion))]
    UnknownInstruction {
        /// The word.
        name: String,
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// A flag that the instruction does not know.
    #[error("unknown flag: --{flag}{}", did_you_mean(*.suggestion))]
    UnknownFlag {
        /// Its name without dashes.
        flag: String,
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// A flag that may come only once.
    #[error("duplicate flag specified: --{flag}")]
    DuplicateFlag {
        /// Its name without dashes.
        flag: String,
    },
    /// A flag that needs a value.
    #[error("missing a value on flag: --{flag}")]
    FlagWithoutValue {
        /// Its name without dashes.
        flag: String,
    },
    /// A flag that takes true or false only.
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    FlagNotBoolean {
        /// Its name without dashes.
        flag: String,
        /// What it was given.
        value: String,
    },
    /// A flag that knows its values.
    #[error("invalid value for flag --{flag}: {value}{}", did_you_mean(*.suggestion))]
    FlagValue {
        /// Its name without dashes.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// A flag with a duration that cannot be read.
    #[error("invalid value for flag --{flag}: {problem}")]
    FlagDuration {
        /// Its name without dashes.
        flag: &'static str,
        /// What is wrong with it.
        problem: DurationError,
    },
    /// A duration of a health check below docker's least.
    #[error("Interval {flag:?} cannot be less than 1ms: {value}")]
    FlagDurationTooShort {
        /// Its name without dashes.
        flag: &'static str,
        /// What it was given.
        value: String,
    },
    /// No argument where one is needed.
    #[error("{instruction} requires at least one argument")]
    NoArgument {
        /// The instruction.
        instruction: &'static str,
    },
    /// None or several arguments where exactly one is needed.
    #[error("{instruction} requires exactly one argument")]
    NotOneArgument {
        /// The instruction.
        instruction: &'static str,
    },
    /// A copy without a destination.
    #[error(
        "{instruction} requires at least two arguments, but only one was provided. Destination could not be determined"
    )]
    NoDestination {
        /// The instruction.
        instruction: &'static str,
    },
    /// A heredoc as the destination of a copy.
    #[error("{instruction} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// The instruction.
        instruction: &'static str,
    },
    /// A heredoc whose last line is missing.
    #[error("unterminated heredoc: no line that is only {name:?}")]
    UnterminatedHeredoc {
        /// The word that should end it.
        name: String,
    },
    /// `FROM` with two or more than three words.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A stage with a name that is none.
    #[error("invalid name for build stage: {name:?}, name can't start with a number or contain symbols")]
    StageName {
        /// The name.
        name: String,
    },
    /// `ENV name`.
    #[error("{instruction} must have two arguments")]
    NoValue {
        /// The instruction.
        instruction: &'static str,
    },
    /// A later word of `ENV a=b c`.
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoEqualsSign {
        /// The word.
        word: String,
    },
    /// `ENV =value`.
    #[error("{instruction} names can not be blank")]
    BlankName {
        /// The instruction.
        instruction: &'static str,
    },
    /// A JSON array with numbers or arrays in it.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotTexts,
    /// `SHELL` without a JSON array.
    #[error("SHELL requires the arguments to be in JSON form")]
    NotJson,
    /// `VOLUME ""`.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `HEALTHCHECK NONE something`.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    /// `HEALTHCHECK CMD` and nothing more.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckNoCommand,
    /// `HEALTHCHECK SOMETHING`.
    #[error("Unknown type {word:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType {
        /// The word.
        word: String,
    },
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    /// `ONBUILD FROM`, `ONBUILD MAINTAINER`.
    #[error("{instruction} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger {
        /// The instruction.
        instruction: String,
    },
    /// A trigger of an image that is not exactly one instruction.
    #[error("onbuild trigger should be a single expression: {expression}")]
    TriggerNotSingle {
        /// The text in the image.
        expression: String,
    },
    /// `# escape=x`.
    #[error("invalid ESCAPE token '{text}' does not match ` or \\")]
    Escape {
        /// What was given.
        text: String,
    },
    /// A directive that came before.
    #[error("only one {name} parser directive can be used")]
    DuplicateDirective {
        /// Its name.
        name: String,
    },
    /// A part of `# check=` that means nothing.
    #[error("invalid check option {option:?}")]
    CheckOption {
        /// The part.
        option: String,
    },
    /// `FROM $x` where `$x` is empty.
    #[error("base name ({base}) should not be blank")]
    BlankBase {
        /// What is written.
        base: String,
    },
    /// A word that cannot be expanded.
    #[error("failed to process word: {0}")]
    Expansion(#[from] super::expand::ExpansionProblem),
    /// Something wrong with a `--mount`.
    #[error(transparent)]
    Mount(#[from] super::mount::MountProblem),
    /// A wish for a device that makes no sense.
    #[error(transparent)]
    Device(#[from] super::device::DeviceProblem),
}

/// The near miss in parentheses.
pub(super) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default()
}
