//! Places in a Dockerfile: lines and columns, as people count them.

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
}

/// A part of the text, which may go over several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Position,
    /// The place after its last character.
    pub end: Position,
}

impl Span {
    /// The part between two places.
    pub const fn new(start: Position, end: Position) -> Self {
        Self { start, end }
    }

    /// The smallest part that holds both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The first and the last line.
    pub const fn lines(self) -> (u32, u32) {
        (self.start.line, self.end.line)
    }
}

/// A value with the part of the text that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Located<T> {
    /// A value at its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A word of an instruction, as written: quotes, escapes and variables are still in it unless the instruction says
/// otherwise.
pub type Word = Located<String>;
