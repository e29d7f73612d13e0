//! The vocabulary of command definitions: flags in docker's kinds, and typed access to what was typed.
//!
//! Nothing here knows a command. The value parsers speak Go's words, because scripts compare them.

use clap::{Arg, ArgAction, ArgMatches};
use mica_model::{Filters, size};

/// The id of the positional arguments of every command.
pub(crate) const OPERANDS: &str = "operands";

/// A flag of docker that waits for a later issue: known, refused with a reason.
#[derive(Debug, Clone, Copy)]
pub struct PlannedFlag {
    /// Long name without dashes.
    pub long: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// Whether a value follows.
    pub takes: Takes,
    /// What brings it, in words.
    pub awaits: &'static str,
}

/// Whether a flag is followed by a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `--flag` or `--flag=false`.
    Nothing,
    /// `--flag VALUE`.
    Value,
}

impl PlannedFlag {
    /// A flag followed by a value.
    pub const fn value(long: &'static str, short: Option<char>, awaits: &'static str) -> Self {
        Self { long, short, takes: Takes::Value, awaits }
    }

    /// A flag that is on or off.
    pub const fn switch(long: &'static str, short: Option<char>, awaits: &'static str) -> Self {
        Self { long, short, takes: Takes::Nothing, awaits }
    }

    /// Its place in the definition, hidden from help.
    pub fn arg(&self) -> Arg {
        let arg = match self.takes {
            Takes::Nothing => switch(self.long, ""),
            Takes::Value => list(self.long, "string", ""),
        };
        let arg = arg.hide(true);
        self.short.map_or(arg.clone(), |letter| arg.short(letter))
    }
}

/// A flag that is on or off: `--flag`, `--flag=false`.
pub fn switch(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(parse_bool)
        .hide_possible_values(true)
}

/// A flag with a text; the last one wins.
pub fn text(long: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).help(help).value_name(kind).action(ArgAction::Set).allow_hyphen_values(true)
}

/// A flag that may be given many times.
pub fn list(long: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).help(help).value_name(kind).action(ArgAction::Append).allow_hyphen_values(true)
}

/// A flag with a whole number.
pub fn number(long: &'static str, help: &'static str) -> Arg {
    text(long, "int", help).value_parser(parse_integer)
}

/// A flag with a duration such as `1m30s`, in nanoseconds.
pub fn duration(long: &'static str, help: &'static str) -> Arg {
    text(long, "duration", help).value_parser(parse_duration)
}

/// A flag with a size such as `512m`, in bytes.
pub fn bytes(long: &'static str, help: &'static str) -> Arg {
    text(long, "bytes", help).value_parser(parse_bytes)
}

/// `--format` of the commands that print rows.
pub fn format_of_rows() -> Arg {
    text("format", "string", FORMAT_OF_ROWS)
}

/// `--format` of the commands that print one document.
pub fn format_of_document() -> Arg {
    text("format", "string", FORMAT_OF_DOCUMENT).short('f')
}

/// `-f, --filter`.
pub fn filter(help: &'static str) -> Arg {
    list("filter", "filter", help).short('f').value_parser(parse_filter)
}

/// `--filter` of the commands that delete, where `-f` is `--force`.
pub fn filter_of_prune(help: &'static str) -> Arg {
    list("filter", "filter", help).value_parser(parse_filter)
}

/// What was typed for one command, by flag name.
#[derive(Debug, Clone)]
pub struct Matches {
    inner: ArgMatches,
}

impl Matches {
    /// Wraps what clap found.
    pub(crate) const fn new(inner: ArgMatches) -> Self {
        Self { inner }
    }

    /// Whether a switch is on.
    pub fn on(&self, flag: &str) -> bool {
        self.switch(flag).unwrap_or(false)
    }

    /// A switch, if it was typed.
    pub fn switch(&self, flag: &str) -> Option<bool> {
        self.value(flag)
    }

    /// Whether a flag was typed at all.
    pub fn given(&self, flag: &str) -> bool {
        self.inner.try_contains_id(flag).unwrap_or(false)
    }

    /// A text, if it was typed.
    pub fn text(&self, flag: &str) -> Option<String> {
        self.value(flag)
    }

    /// A text, or an empty one.
    pub fn text_or_empty(&self, flag: &str) -> String {
        self.value(flag).unwrap_or_default()
    }

    /// A whole number or a size, if it was typed.
    pub fn number(&self, flag: &str) -> Option<i64> {
        self.value(flag)
    }

    /// All values of a list, in order.
    pub fn list(&self, flag: &str) -> Vec<String> {
        self.values(flag)
    }

    /// All of `--filter`; their form was checked when they were parsed.
    pub fn filters(&self) -> Filters {
        let mut filters = Filters::default();
        for argument in self.list("filter") {
            let _ = filters.add_argument(&argument);
        }
        filters
    }

    /// The positional arguments.
    pub fn operands(&self) -> Vec<String> {
        self.values(OPERANDS)
    }

    /// The first positional argument, or nothing.
    pub fn operand(&self, index: usize) -> Option<String> {
        self.operands().into_iter().nth(index)
    }

    /// A typed value, if the flag was typed; `None` also for another type than defined.
    pub fn value<T: Clone + Send + Sync + 'static>(&self, flag: &str) -> Option<T> {
        self.inner.try_get_one::<T>(flag).ok().flatten().cloned()
    }

    fn values<T: Clone + Send + Sync + 'static>(&self, flag: &str) -> Vec<T> {
        self.inner
            .try_get_many::<T>(flag)
            .ok()
            .flatten()
            .map(|all| all.cloned().collect())
            .unwrap_or_default()
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(ValueError::syntax("ParseBool", text)),
    }
}

/// Go's `strconv.ParseInt` with base 0, in 64 bits.
pub fn parse_integer(text: &str) -> Result<i64, ValueError> {
    let error = || ValueError::syntax("ParseInt", text);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['-', '+']) {
        return Err(error());
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let magnitude = i128::from_str_radix(digits, radix).map_err(|_| error())?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| ValueError {
        message: format!("strconv.ParseInt: parsing {text:?}: value out of range"),
    })
}

fn parse_bytes(text: &str) -> Result<i64, ValueError> {
    if text == "-1" {
        return Ok(-1);
    }
    size::parse_binary(text).map_err(|error| ValueError { message: error.to_string() })
}

fn parse_duration(text: &str) -> Result<i64, ValueError> {
    mica_model::duration::parse_duration(text).map_err(|error| ValueError { message: error.to_string() })
}

fn parse_filter(text: &str) -> Result<String, ValueError> {
    if text.is_empty() || text.contains('=') {
        return Ok(text.to_owned());
    }
    Err(ValueError { message: "bad format of filter (expected name=value)".to_owned() })
}

/// Why the value of a flag cannot be taken, in the words after the colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// The words.
    pub message: String,
}

impl ValueError {
    pub(crate) fn syntax(function: &str, text: &str) -> Self {
        Self { message: format!("strconv.{function}: parsing {text:?}: invalid syntax") }
    }
}

const FORMAT_OF_ROWS: &str = "Format output using a custom template:\n\
'table':            Print output in table format with column headers (default)\n\
'table TEMPLATE':   Print output in table format using the given Go template\n\
'json':             Print in JSON format\n\
'TEMPLATE':         Print output using the given Go template";

const FORMAT_OF_DOCUMENT: &str = "Format output using a custom template:\n\
'json':             Print in JSON format\n\
'TEMPLATE':         Print output using the given Go template";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_go_does() {
        assert_eq!(parse_integer("0x10"), Ok(16));
        assert_eq!(parse_integer("010"), Ok(8));
        assert_eq!(parse_integer("-12"), Ok(-12));
        assert_eq!(parse_integer("0"), Ok(0));
        for wrong in ["", "-", "+-1", "1e3", " 1", "9223372036854775808"] {
            assert!(parse_integer(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            parse_integer("abc").map_err(|error| error.to_string()),
            Err("strconv.ParseInt: parsing \"abc\": invalid syntax".to_owned())
        );
    }

    #[test]
    fn reads_booleans_as_go_does() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("0"), Ok(false));
        assert!(parse_bool("yes").is_err());
    }
}
