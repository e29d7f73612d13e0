//! The lines `# key=value` at the very top of a file that speak to the parser.

use super::check::CheckOptions;
use super::error::{ParseError, Problem};
use super::line;
use super::position::{Located, Position, Span, Word};

/// What the first lines say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=image`: the frontend that the file was written for. This parser reads all that docker's own know.
    pub syntax: Option<Word>,
    /// `# escape=`: what continues lines and escapes characters, a backslash or a backquote.
    pub escape: char,
    /// `# check=`: options of the linter.
    pub check: Option<Located<CheckOptions>>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

/// Reads the directives of a file: the lines from the first one on that have their form.
pub(super) fn read(source: &str) -> Result<Directives, ParseError> {
    let mut directives = Directives::default();
    let mut seen = Vec::new();
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    for (line, number) in source.lines().zip(1..) {
        let Some((key, value)) = directive(line) else { break };
        let start = Position { line: number, column: 1 };
        let end =
            Position { line: number, column: u32::try_from(line.chars().count()).unwrap_or(u32::MAX) + 1 };
        let span = Span::new(start, end);
        let fail = |problem| ParseError { problem, span };
        let key = key.to_ascii_lowercase();
        if seen.contains(&key) {
            return Err(fail(Problem::DuplicateDirective { name: key }));
        }
        match (key.as_str(), value) {
            ("syntax", image) => directives.syntax = Some(Word::new(image.to_owned(), span)),
            ("escape", "\\") => directives.escape = '\\',
            ("escape", "`") => directives.escape = '`',
            ("escape", other) => return Err(fail(Problem::Escape { text: other.to_owned() })),
            ("check", options) => {
                directives.check = Some(Located::new(CheckOptions::parse(options).map_err(fail)?, span));
            }
            _ => break,
        }
        seen.push(key);
    }
    Ok(directives)
}

/// The key and the value of a line that has the form of a directive.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line::comment(line)?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = key.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && key.chars().all(|letter| letter.is_ascii_alphanumeric());
    (is_key && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_up_to_the_first_other_line() {
        let found =
            read("\u{feff}# Syntax = docker/dockerfile:1\n#escape=`\n# check=error=true\nFROM x").unwrap();
        assert_eq!(found.syntax.unwrap().value, "docker/dockerfile:1");
        assert_eq!(found.escape, '`');
        assert!(found.check.unwrap().value.error);
        assert_eq!(read("\n# escape=`\n").unwrap().escape, '\\');
        assert_eq!(read("# a comment\n# escape=`\n").unwrap().escape, '\\');
        assert_eq!(read("# unknown=x\n# escape=`\n").unwrap().escape, '\\');
    }

    #[test]
    fn wrong_directives_are_errors_at_their_line() {
        let error = read("# escape=\\\n# ESCAPE=`\n").unwrap_err();
        assert_eq!((error.span.start.line, error.to_string().contains("only one escape")), (2, true));
        assert!(read("# escape=x\n").is_err());
        assert!(read("# check=what\n").is_err());
    }
}
