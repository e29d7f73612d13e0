//! Variables in words: `$x`, `${x:-y}` and their kin, quotes and escapes, as docker's Dockerfiles know them.
//!
//! The rules are near those of a shell and differ in small things: nothing is split but where [`Expansion::words`] is
//! asked for, an unset variable is empty, and outside of quotes an escape character stands for whatever comes after it.

use super::pattern::{Pattern, PatternProblem};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// How deep `${x:-${y:-…}}` may go.
const DEPTH_LIMIT: usize = 64;

/// How large a word may become: lines such as `ENV a=$a$a` double it each.
const SIZE_LIMIT_BYTES: usize = 16 << 20;

/// Where variables have their values.
pub trait Variables {
    /// The value of a variable, when it is set.
    fn value(&self, name: &str) -> Option<&str>;
}

/// A word with its variables replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The word, as one.
    pub text: String,
    /// The same, split at the white space that was not quoted.
    pub words: Vec<String>,
    /// Variables that were asked for and had a value.
    pub used: BTreeSet<String>,
    /// Variables that were asked for and had none.
    pub undefined: BTreeSet<String>,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpansionProblem {
    /// A quote that is not closed.
    #[error("unexpected end of statement while looking for matching {quote}-quote")]
    OpenQuote {
        /// `single` or `double`.
        quote: &'static str,
    },
    /// A `${` that is not closed.
    #[error("syntax error: missing '}}'")]
    OpenBrace,
    /// A `${x/y` without a second `/`.
    #[error("syntax error: missing '/' in ${{}}")]
    OpenPattern,
    /// `${}`, `${:…}`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${x!y}`.
    #[error("unsupported modifier ({modifier}) in substitution")]
    Modifier {
        /// What stands after the name.
        modifier: String,
    },
    /// `${x:?why}` where there is no value.
    #[error("{name}: {reason}")]
    Required {
        /// The variable.
        name: String,
        /// What the file says to that.
        reason: String,
    },
    /// A pattern with an escape that is none.
    #[error(transparent)]
    Pattern(#[from] PatternProblem),
    /// Braces in braces in braces.
    #[error("substitutions are nested deeper than {DEPTH_LIMIT}")]
    TooDeep,
    /// A value that has grown beyond all measure.
    #[error("the value is larger than 16 MiB")]
    TooLarge,
    /// Values that have grown beyond all measure together.
    #[error("the values of variables add more than 64 MiB to the file")]
    AllTooLarge,
}

/// How a text is read.
#[derive(Debug, Clone, Copy)]
enum Quotes {
    /// Quotes hold together and go.
    Remove,
    /// Quotes mean nothing and stay.
    Keep,
}

/// Replaces the variables of a word; quotes and escapes go.
///
/// # Errors
/// When the word is not well formed or asks for a value that must be there.
pub fn expand(text: &str, escape: char, variables: &dyn Variables) -> Result<Expansion, ExpansionProblem> {
    Expander::new(text, escape, Quotes::Remove, variables).run()
}

/// Replaces the variables of a file that stands in a heredoc: quotes stay.
///
/// # Errors
/// When it is not well formed or asks for a value that must be there.
pub fn expand_content(text: &str, variables: &dyn Variables) -> Result<Expansion, ExpansionProblem> {
    Expander::new(text, '\\', Quotes::Keep, variables).run()
}

struct Expander<'a> {
    letters: Peekable<Chars<'a>>,
    escape: char,
    quotes: Quotes,
    /// Whether escapes stay: patterns have their own.
    raw_escapes: bool,
    depth: usize,
    variables: &'a dyn Variables,
    used: BTreeSet<String>,
    undefined: BTreeSet<String>,
}

/// A word and its parts, while they grow.
#[derive(Default)]
struct Growing {
    text: String,
    words: Vec<String>,
    word: Option<String>,
}

impl Growing {
    fn push(&mut self, letter: char, may_split: bool) {
        self.text.push(letter);
        if may_split && letter.is_whitespace() {
            self.words.extend(self.word.take().filter(|word| !word.is_empty()));
        } else {
            self.word.get_or_insert_default().push(letter);
        }
    }

    fn push_all(&mut self, text: &str, may_split: bool) {
        text.chars().for_each(|letter| self.push(letter, may_split));
    }

    fn finish(mut self) -> (String, Vec<String>) {
        self.words.extend(self.word.take().filter(|word| !word.is_empty()));
        (self.text, self.words)
    }
}

impl<'a> Expander<'a> {
    fn new(text: &'a str, escape: char, quotes: Quotes, variables: &'a dyn Variables) -> Self {
        Self {
            letters: text.chars().peekable(),
            escape,
            quotes,
            raw_escapes: false,
            depth: 0,
            variables,
            used: BTreeSet::new(),
            undefined: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Result<Expansion, ExpansionProblem> {
        let (text, words) = self.until(None)?;
        Ok(Expansion { text, words, used: self.used, undefined: self.undefined })
    }

    /// Reads up to a letter that ends it, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpansionProblem> {
        let mut result = Growing::default();
        while let Some(letter) = self.letters.next() {
            if Some(letter) == stop {
                return Ok(result.finish());
            }
            match (letter, self.quotes) {
                ('$', _) => result.push_all(&self.dollar()?, true),
                ('\'', Quotes::Remove) => result.push_all(&self.single_quoted()?, false),
                ('"', Quotes::Remove) => result.push_all(&self.double_quoted()?, false),
                _ if letter == self.escape => self.escaped(&mut result),
                _ => result.push(letter, true),
            }
            if result.text.len() > SIZE_LIMIT_BYTES {
                return Err(ExpansionProblem::TooLarge);
            }
        }
        if stop.is_some() { Err(ExpansionProblem::OpenBrace) } else { Ok(result.finish()) }
    }

    /// The letter after an escape character stands for itself; at the end there is none.
    fn escaped(&mut self, result: &mut Growing) {
        if self.raw_escapes {
            result.push(self.escape, false);
        }
        if let Some(letter) = self.letters.next() {
            result.push(letter, false);
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpansionProblem> {
        let mut text = String::new();
        for letter in self.letters.by_ref() {
            if letter == '\'' {
                return Ok(text);
            }
            text.push(letter);
        }
        Err(ExpansionProblem::OpenQuote { quote: "single" })
    }

    fn double_quoted(&mut self) -> Result<String, ExpansionProblem> {
        let mut text = String::new();
        while let Some(letter) = self.letters.next() {
            match letter {
                '"' => return Ok(text),
                '$' => text.push_str(&self.dollar()?),
                _ if letter == self.escape => {
                    // Only what means something between these quotes can be escaped.
                    let next = self.letters.peek().copied();
                    let means = next.is_some_and(|next| next == '"' || next == '$' || next == self.escape);
                    if self.raw_escapes || !means && next.is_some() {
                        text.push(letter);
                    }
                    text.extend(self.letters.next());
                }
                _ => text.push(letter),
            }
            if text.len() > SIZE_LIMIT_BYTES {
                return Err(ExpansionProblem::TooLarge);
            }
        }
        Err(ExpansionProblem::OpenQuote { quote: "double" })
    }

    /// What comes after a `$`.
    fn dollar(&mut self) -> Result<String, ExpansionProblem> {
        if self.letters.next_if_eq(&'{').is_some() {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.look_up(&name).unwrap_or_default())
    }

    /// What comes after a `${`.
    fn braces(&mut self) -> Result<String, ExpansionProblem> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(ExpansionProblem::TooDeep);
        }
        let expanded = match self.letters.peek() {
            None => Err(ExpansionProblem::OpenBrace),
            Some('{' | '}' | ':') => Err(ExpansionProblem::BadSubstitution),
            Some(_) => {
                let name = self.name();
                self.modified(&name)
            }
        };
        self.depth -= 1;
        expanded
    }

    /// What comes after the name in braces.
    fn modified(&mut self, name: &str) -> Result<String, ExpansionProblem> {
        let unsupported = |modifier: String| Err(ExpansionProblem::Modifier { modifier });
        match self.letters.next() {
            None => Err(ExpansionProblem::OpenBrace),
            Some('}') => Ok(self.look_up(name).unwrap_or_default()),
            Some(':') => match self.letters.next() {
                Some(modifier @ ('-' | '+' | '?')) => self.conditional(name, modifier, true),
                Some(modifier) => unsupported(format!(":{modifier}")),
                None => Err(ExpansionProblem::OpenBrace),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.conditional(name, modifier, false),
            Some(end @ ('#' | '%')) => self.trimmed(name, end),
            Some('/') => self.replaced(name),
            Some(modifier) => unsupported(modifier.to_string()),
        }
    }

    /// `${x-word}`, `${x+word}`, `${x?word}`, and the same with `:`, for which an empty value is none.
    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpansionProblem> {
        let (word, _) = self.until(Some('}'))?;
        let value = self.look_up(name);
        let is_empty = value.as_ref().is_some_and(|value| empty_is_unset && value.is_empty());
        let present = value.filter(|value| !empty_is_unset || !value.is_empty());
        match (modifier, present) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let state = if is_empty { "empty" } else { "unset" };
                let reason = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                Err(ExpansionProblem::Required { name: name.to_owned(), reason })
            }
        }
    }

    /// `${x#pattern}`, `${x##pattern}`, `${x%pattern}`, `${x%%pattern}`.
    fn trimmed(&mut self, name: &str, end: char) -> Result<String, ExpansionProblem> {
        let (word, _) = self.raw(|expander| expander.until(Some('}')))?;
        let value = self.look_up(name).unwrap_or_default();
        let (pattern, longest) = word.strip_prefix(end).map_or((word.as_str(), false), |rest| (rest, true));
        let pattern = Pattern::new(pattern)?;
        Ok(match end {
            '#' => pattern.without_prefix(&value, longest).to_owned(),
            _ => pattern.without_suffix(&value, longest).to_owned(),
        })
    }

    /// `${x/pattern/replacement}`, `${x//pattern/replacement}`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpansionProblem> {
        let all = self.letters.next_if_eq(&'/').is_some();
        let pattern = self.raw(|expander| expander.until(Some('/')));
        let (pattern, _) = pattern.map_err(|problem| match problem {
            ExpansionProblem::OpenBrace => ExpansionProblem::OpenPattern,
            other => other,
        })?;
        let (replacement, _) = self.until(Some('}'))?;
        let value = self.look_up(name).unwrap_or_default();
        Pattern::new(&pattern)?
            .replace(&value, &replacement, all, SIZE_LIMIT_BYTES)
            .ok_or(ExpansionProblem::TooLarge)
    }

    /// Reads something in which escapes stay.
    fn raw<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.raw_escapes, true);
        let result = read(self);
        self.raw_escapes = before;
        result
    }

    /// A name: letters, digits and `_`; or only digits; or one special letter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.letters.peek().copied() {
            Some(first) if first.is_numeric() => {
                name.extend(std::iter::from_fn(|| self.letters.next_if(|letter| letter.is_numeric())));
            }
            Some(first) if "@*#?-$!".contains(first) => name.extend(self.letters.next()),
            _ => {
                let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
                name.extend(std::iter::from_fn(|| self.letters.next_if(is_name)));
            }
        }
        name
    }

    fn look_up(&mut self, name: &str) -> Option<String> {
        let value = self.variables.value(name);
        let seen = if value.is_some() { &mut self.used } else { &mut self.undefined };
        seen.insert(name.to_owned());
        value.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Variables for Fixed {
        fn value(&self, name: &str) -> Option<&str> {
            match name {
                "USER" => Some("me"),
                "PATHS" => Some("/a/b/c"),
                "LIST" => Some("x y"),
                "EMPTY" => Some(""),
                "FILE" => Some("archive.tar.gz"),
                _ => None,
            }
        }
    }

    fn word(text: &str) -> Result<String, ExpansionProblem> {
        expand(text, '\\', &Fixed).map(|expansion| expansion.text)
    }

    /// Expects texts to expand to others, all of them.
    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(word(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn quotes_and_escapes_go() {
        check(&[
            ("he'll'o", "hello"),
            ("he\\'llo", "he'llo"),
            ("he\\\\'ll'o", "he\\llo"),
            ("abc\\tdef", "abctdef"),
            ("'abc\\tdef'", "abc\\tdef"),
            ("\"abc\\tdef\"", "abc\\tdef"),
            ("\"a\\\"b\\$c\\\\d\"", "a\"b$c\\d"),
            ("\"he'llo\"", "he'llo"),
            ("hello\\", "hello"),
            ("''\"\"", ""),
            ("a\u{e4}\\\u{e4}", "a\u{e4}\u{e4}"),
        ]);
        assert_eq!(word("'open"), Err(ExpansionProblem::OpenQuote { quote: "single" }));
        assert_eq!(word("\"open"), Err(ExpansionProblem::OpenQuote { quote: "double" }));
        assert_eq!(expand("a`$USER\\", '`', &Fixed).unwrap().text, "a$USER\\");
    }

    #[test]
    fn variables_are_replaced_but_not_between_single_quotes() {
        check(&[
            ("$USER/x", "me/x"),
            ("${USER}x", "mex"),
            ("'$USER'", "$USER"),
            ("\"$USER\"", "me"),
            ("\\$USER", "$USER"),
            ("$nobody.", "."),
            ("a$", "a$"),
            ("$ x", "$ x"),
            ("$1x", "x"),
            ("$$USER", "USER"),
            ("$/x", "$/x"),
            ("$\u{e4}x y", " y"),
        ]);
    }

    #[test]
    fn defaults_alternatives_and_requirements() {
        check(&[
            ("${nobody:-a}", "a"),
            ("${EMPTY:-a}", "a"),
            ("${EMPTY-a}", ""),
            ("${nobody-a}", "a"),
            ("${USER:+a}", "a"),
            ("${EMPTY:+a}", ""),
            ("${EMPTY+a}", "a"),
            ("${nobody+a}", ""),
            ("${USER:?a}", "me"),
            ("${EMPTY?a}", ""),
            ("${nobody:-${EMPTY:-$USER}}", "me"),
            ("${nobody:-'}'}", "}"),
            ("${nobody:-a\\}b}", "a}b"),
        ]);
        let required = |name: &str, reason: &str| {
            Err(ExpansionProblem::Required { name: name.into(), reason: reason.into() })
        };
        assert_eq!(word("${nobody:?say $USER}"), required("nobody", "say me"));
        assert_eq!(word("${nobody?}"), required("nobody", "is not allowed to be unset"));
        assert_eq!(word("${EMPTY:?}"), required("EMPTY", "is not allowed to be empty"));
    }

    #[test]
    fn patterns_trim_and_replace() {
        check(&[
            ("${PATHS#*/}", "a/b/c"),
            ("${PATHS##*/}", "c"),
            ("${PATHS%/*}", "/a/b"),
            ("${PATHS%%/*}", ""),
            ("${FILE%.*}", "archive.tar"),
            ("${FILE%%.*}", "archive"),
            ("${FILE#a?c}", "hive.tar.gz"),
            ("${PATHS/\\//_}", "_a/b/c"),
            ("${PATHS//\\//_}", "_a_b_c"),
            ("${FILE/a*r/x}", "x.gz"),
            ("${FILE//[/x}", "archive.tar.gz"),
            ("${USER/m/$LIST}", "x ye"),
            ("${nobody#x}", ""),
        ]);
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        assert_eq!(word("${}"), Err(ExpansionProblem::BadSubstitution));
        assert_eq!(word("${:-x}"), Err(ExpansionProblem::BadSubstitution));
        assert_eq!(word("${"), Err(ExpansionProblem::OpenBrace));
        assert_eq!(word("${USER"), Err(ExpansionProblem::OpenBrace));
        assert_eq!(word("${USER:-x"), Err(ExpansionProblem::OpenBrace));
        assert_eq!(word("${USER/x"), Err(ExpansionProblem::OpenPattern));
        assert_eq!(word("${USER!x}"), Err(ExpansionProblem::Modifier { modifier: "!".into() }));
        assert_eq!(word("${USER:#x}"), Err(ExpansionProblem::Modifier { modifier: ":#".into() }));
        assert!(matches!(word("${USER#\\x}"), Err(ExpansionProblem::Pattern(_))));
        assert_eq!(word(&"${a:-".repeat(1000)), Err(ExpansionProblem::TooDeep));
    }

    #[test]
    fn words_are_split_where_nothing_holds_them_together() {
        let words = |text| expand(text, '\\', &Fixed).unwrap().words;
        assert_eq!(words("$LIST z"), ["x", "y", "z"]);
        assert_eq!(words("\"$LIST\" a\\ b 'c d'e"), ["x y", "a b", "c de"]);
        assert_eq!(words("a${LIST}b"), ["ax", "yb"]);
        assert_eq!(words("$EMPTY"), Vec::<String>::new());
    }

    #[test]
    fn used_and_undefined_variables_are_told() {
        let expansion = expand("$USER ${x:-$y}", '\\', &Fixed).unwrap();
        assert_eq!(Vec::from_iter(expansion.used), ["USER"]);
        assert_eq!(Vec::from_iter(expansion.undefined), ["x", "y"]);
    }

    #[test]
    fn contents_keep_their_quotes() {
        let content = |text| expand_content(text, &Fixed).unwrap().text;
        assert_eq!(content("a='$USER' \"$USER\"\n\\$USER it's\n"), "a='me' \"me\"\n$USER it's\n");
    }
}
