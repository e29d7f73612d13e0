//! The flags of instructions: `--name` and `--name=value` between the name of the instruction and its arguments.

use super::error::{ParseError, Problem};
use super::line::Logical;
use super::position::{Span, Word};
use super::suggestion;
use std::ops::Range;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A text, once.
    Text,
    /// A text, any number of times.
    Texts,
    /// `true`, `false` or nothing.
    Truth,
}

/// The flags of one instruction, checked against those that it knows.
#[derive(Debug, Default)]
pub(super) struct Flags {
    flags: Vec<Flag>,
}

#[derive(Debug)]
struct Flag {
    name: String,
    value: Word,
}

impl Flags {
    /// Checks what was written against the known flags.
    pub(super) fn new(
        line: &Logical,
        written: Vec<(String, Range<usize>)>,
        known: &[(&'static str, Takes)],
    ) -> Result<Self, ParseError> {
        let mut flags = Self::default();
        for (text, range) in written {
            let span = line.span(range.clone());
            let flag = flags.check(&text, known).map_err(|problem| ParseError { problem, span })?;
            let value_at = range.start + flag.name.len() + 3;
            let is_plain = line.text.get(value_at..range.end) == Some(flag.value.value.as_str());
            let span = if is_plain { line.span(value_at..range.end) } else { span };
            flags.flags.push(Flag { value: Word::new(flag.value.value, span), ..flag });
        }
        Ok(flags)
    }

    fn check(&self, text: &str, known: &[(&'static str, Takes)]) -> Result<Flag, Problem> {
        let text = text.strip_prefix("--").unwrap_or(text);
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let owned = || name.to_owned();
        let Some((_, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            return Err(Problem::UnknownFlag {
                flag: owned(),
                suggestion: suggestion::nearest(name, &names),
            });
        };
        if *takes != Takes::Texts && self.text(name).is_some() {
            return Err(Problem::DuplicateFlag { flag: owned() });
        }
        let value = match (takes, value) {
            (Takes::Truth, None) => "true".to_owned(),
            (Takes::Truth, Some("")) | (_, None) => return Err(Problem::FlagWithoutValue { flag: owned() }),
            (Takes::Truth, Some(value)) => match value.to_ascii_lowercase().as_str() {
                truth @ ("true" | "false") => truth.to_owned(),
                _ => return Err(Problem::FlagNotBoolean { flag: owned(), value: value.to_owned() }),
            },
            (_, Some(value)) => value.to_owned(),
        };
        let nowhere = super::position::Position { line: 1, column: 1 };
        Ok(Flag { name: owned(), value: Word::new(value, Span::new(nowhere, nowhere)) })
    }

    /// The value of a flag.
    pub(super) fn text(&self, name: &str) -> Option<&Word> {
        self.flags.iter().find(|flag| flag.name == name).map(|flag| &flag.value)
    }

    /// The values of a flag that may come again and again.
    pub(super) fn texts(&self, name: &str) -> Vec<Word> {
        self.flags.iter().filter(|flag| flag.name == name).map(|flag| flag.value.clone()).collect()
    }

    /// What a flag that is true or false says.
    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value.value == "true")
    }
}

/// The flags at the beginning of a text without their quotes and escapes, and where the rest begins.
///
/// The character that escapes here is the backslash, whatever `# escape=` says: that is how docker reads flags.
pub(super) fn extract(text: &str) -> (Vec<(String, Range<usize>)>, usize) {
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let start = at + text[at..].find(|letter: char| !letter.is_whitespace()).unwrap_or(text.len() - at);
        if !text[start..].starts_with("--") {
            return (flags, start);
        }
        let (word, end) = flag_word(&text[start..]);
        at = start + end;
        if word == "--" {
            return (flags, at);
        }
        flags.push((word, start..at));
    }
}

/// The first word without quotes and escapes, and where it ends.
fn flag_word(text: &str) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.extend(letters.next().map(|(_, letter)| letter)),
            (_, Some(open)) if open == letter => quote = None,
            ('\'' | '"', None) => quote = Some(letter),
            (_, None) if letter.is_whitespace() => return (word, at),
            _ => word.push(letter),
        }
    }
    (word, text.len())
}

/// True or false as Go reads it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_word_without_dashes() {
        let words = |text| {
            let (flags, rest) = extract(text);
            (flags.into_iter().map(|(word, _)| word).collect::<Vec<_>>(), &text[rest..])
        };
        assert_eq!(words("--a=1 --b='x y' c --d"), (vec!["--a=1".into(), "--b=x y".into()], "c --d"));
        assert_eq!(words("--a -- --b"), (vec!["--a".into()], " --b"));
        assert_eq!(words("-a"), (vec![], "-a"));
        assert_eq!(words("--a=\\ b c"), (vec!["--a= b".into()], "c"));
        assert_eq!(words("--a"), (vec!["--a".into()], ""));
    }
}
