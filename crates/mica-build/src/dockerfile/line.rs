//! Logical lines: continued lines joined, comments dropped, and the way back from a place in the joined text to the
//! place in the file.

use super::position::{Position, Span, Word};
use std::ops::Range;

/// The longest part of a line between two places whose column is known, so that finding a column stays cheap in lines
/// of any length.
const STRIDE_BYTES: usize = 512;

/// The lines of a file, from the next one on.
#[derive(Debug)]
pub(super) struct Lines<'source> {
    lines: Vec<&'source str>,
    next: usize,
    escape: char,
}

/// An instruction on one line.
#[derive(Debug)]
pub(super) struct Logical {
    /// The text, without the white space around it.
    pub(super) text: String,
    /// The comment lines directly above.
    pub(super) comments: Vec<Word>,
    /// The first empty line inside.
    pub(super) empty_continuation: Option<Span>,
    pieces: Vec<Piece>,
}

/// A part of the text that stands in the file without a break.
#[derive(Debug)]
struct Piece {
    start: usize,
    position: Position,
}

impl<'source> Lines<'source> {
    /// All lines of a text.
    pub(super) fn new(source: &'source str, escape: char) -> Self {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        Self { lines: source.split_inclusive('\n').collect(), next: 0, escape }
    }

    /// The next instruction, or nothing at the end of the file.
    pub(super) fn logical(&mut self) -> Option<Logical> {
        let mut comments = Vec::new();
        while let Some(line) = self.take() {
            match comment(line) {
                Some(_) => comments.push(self.comment_word(line)),
                None if line.trim().is_empty() => comments.clear(),
                None => return Some(self.join(line, comments)),
            }
        }
        None
    }

    /// The lines up to the one that is only the name, which is taken too; nothing when there is no such line.
    pub(super) fn heredoc(&mut self, name: &str, strips_tabs: bool) -> Option<(String, Span)> {
        let start = Position { line: self.number() + 1, column: 1 };
        let mut content = String::new();
        while let Some(line) = self.take() {
            let bare = line.trim_end_matches(['\r', '\n']);
            let bare = if strips_tabs { bare.trim_start_matches('\t') } else { bare };
            if bare == name {
                return Some((content, Span::new(start, Position { line: self.number(), column: 1 })));
            }
            content.push_str(line);
        }
        None
    }

    /// The place after the last line that was taken.
    pub(super) fn end(&self) -> Position {
        let line =
            self.next.checked_sub(1).and_then(|last| self.lines.get(last)).copied().unwrap_or_default();
        Position { line: self.number().max(1), column: columns(line.trim_end_matches(['\r', '\n'])) + 1 }
    }

    fn take(&mut self) -> Option<&'source str> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some(line)
    }

    /// The number of the line that was taken last.
    fn number(&self) -> u32 {
        u32::try_from(self.next).unwrap_or(u32::MAX)
    }

    fn comment_word(&self, line: &str) -> Word {
        let start = Position { line: self.number(), column: columns(line) - columns(line.trim_start()) + 1 };
        Word::new(comment(line).unwrap_or_default().to_owned(), Span::new(start, self.end()))
    }

    fn join(&mut self, first: &str, comments: Vec<Word>) -> Logical {
        let mut joined =
            Logical { text: String::new(), comments, empty_continuation: None, pieces: Vec::new() };
        let indent = first.len() - first.trim_start().len();
        let mut continues = self.append(&mut joined, first, indent);
        while continues {
            let Some(line) = self.take() else { break };
            if comment(line).is_some() {
                continue;
            }
            if line.trim().is_empty() {
                let at = Position { line: self.number(), column: 1 };
                joined.empty_continuation.get_or_insert(Span::new(at, self.end()));
                continue;
            }
            continues = self.append(&mut joined, line, 0);
        }
        joined.text.truncate(joined.text.trim_end().len());
        joined
    }

    /// Adds a line without its end; whether the next one belongs to it.
    fn append(&self, joined: &mut Logical, line: &str, indent: usize) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let body = &line[indent.min(line.len())..];
        let continued = continued(body, self.escape);
        let column = columns(&line[..line.len() - body.len()]) + 1;
        joined.push(continued.unwrap_or(body), Position { line: self.number(), column });
        continued.is_some()
    }
}

impl Logical {
    fn push(&mut self, mut text: &str, mut position: Position) {
        loop {
            self.pieces.push(Piece { start: self.text.len(), position });
            let (piece, rest) = text.split_at(text.floor_char_boundary(STRIDE_BYTES));
            self.text.push_str(piece);
            position.column += columns(piece);
            text = rest;
            if text.is_empty() {
                return;
            }
        }
    }

    /// Where the character at an offset stands.
    fn start(&self, offset: usize) -> Position {
        self.position(self.pieces.partition_point(|piece| piece.start <= offset), offset)
    }

    /// The place after the character that ends at an offset.
    fn end(&self, offset: usize) -> Position {
        self.position(self.pieces.partition_point(|piece| piece.start < offset), offset)
    }

    fn position(&self, pieces_before: usize, offset: usize) -> Position {
        let Some(piece) = self.pieces.get(pieces_before.saturating_sub(1)) else {
            return Position { line: 1, column: 1 };
        };
        let column = piece.position.column + columns(self.text.get(piece.start..offset).unwrap_or_default());
        Position { column, ..piece.position }
    }

    /// Where a part of the text stands.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let start = self.start(range.start);
        Span::new(start, if range.is_empty() { start } else { self.end(range.end) })
    }

    /// A part of the text as a word.
    pub(super) fn word(&self, range: Range<usize>) -> Word {
        let text = self.text.get(range.clone()).unwrap_or_default();
        Word::new(text.to_owned(), self.span(range))
    }
}

/// The text of a comment line.
pub(super) fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#').map(str::trim)
}

/// The text before the escape character that joins the next line to this one. Two of them are one that is escaped.
fn continued(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

fn columns(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(source: &str) -> Logical {
        Lines::new(source, '\\').logical().unwrap()
    }

    #[test]
    fn continued_lines_are_joined_without_comments_and_empty_lines() {
        let line = logical("\n  RUN a \\  \n# no\n\n   b \\\n c \n RUN d");
        assert_eq!(line.text, "RUN a    b  c");
        assert_eq!(line.empty_continuation.map(|span| span.start.line), Some(4));
    }

    #[test]
    fn places_lead_back_to_the_file() {
        let line = logical("\u{feff}  RUN ä \\\n  b");
        let at = |line, column| Position { line, column };
        assert_eq!(line.word(0..3).span, Span::new(at(1, 3), at(1, 6)));
        assert_eq!(line.word(4..6).span, Span::new(at(1, 7), at(1, 8)));
        let b = line.text.find('b').unwrap();
        assert_eq!(line.word(b..b + 1).span, Span::new(at(2, 3), at(2, 4)));
    }

    #[test]
    fn places_in_a_long_line_are_right() {
        let line = logical(&format!("RUN {} x", "äb".repeat(2000)));
        let x = line.text.len() - 1;
        assert_eq!(line.word(x..x + 1).span.start, Position { line: 1, column: 4006 });
    }

    #[test]
    fn two_escapes_do_not_continue_a_line() {
        assert_eq!(logical("RUN a\\\\\nb").text, "RUN a\\\\");
        assert_eq!(logical("RUN a \\").text, "RUN a");
        assert_eq!(Lines::new("RUN a `\n b", '`').logical().unwrap().text, "RUN a  b");
    }

    #[test]
    fn comments_directly_above_belong_to_the_instruction() {
        let line = logical("# far\n\n# one\n  #  two \nRUN x");
        let texts: Vec<_> = line.comments.iter().map(|word| word.value.as_str()).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(line.comments[1].span.start, Position { line: 4, column: 3 });
    }
}
