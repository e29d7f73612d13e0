//! One pattern of an ignore file.

use regex_lite::Regex;

/// A pattern.
#[derive(Debug)]
pub(super) struct Glob {
    pattern: String,
    kind: Kind,
}

/// How it is tried: most patterns need no search.
#[derive(Debug)]
enum Kind {
    Exact,
    /// `text**`.
    Prefix,
    /// `**text`.
    Suffix,
    Search(Regex),
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `**` and the slash after it.
    Directories,
    /// `**` at the end.
    Everything,
    /// `*`.
    Star,
    /// `?`.
    One,
    /// What stands for itself.
    Letter(char),
    /// What was escaped.
    Escaped(char),
    /// A letter of a class in brackets, brackets included.
    Class(char),
}

impl Glob {
    /// Reads a pattern; nothing when it is none.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let parts = parts(pattern)?;
        let is_wild = |part: &Part| !matches!(part, Part::Letter(_));
        let kind = match parts.iter().position(is_wild) {
            None => Kind::Exact,
            Some(at) if at + 1 == parts.len() && parts[at] == Part::Everything && at > 0 => Kind::Prefix,
            Some(0)
                if matches!(parts[0], Part::Directories | Part::Everything)
                    && !parts[1..].iter().any(is_wild) =>
            {
                Kind::Suffix
            }
            Some(_) => Kind::Search(Regex::new(&expression(&parts)).ok()?),
        };
        Some(Self { pattern: pattern.to_owned(), kind })
    }

    /// Whether it matches a path.
    pub(super) fn matches(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.pattern,
            Kind::Prefix => path.starts_with(self.pattern.trim_end_matches("**")),
            Kind::Suffix => {
                let suffix = &self.pattern[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Kind::Search(regex) => regex.is_match(path),
        }
    }

    /// Whether it may match something below a directory: false only when the names that it spells out say so.
    pub(super) fn may_match_below(&self, directory: &str) -> bool {
        let wild = self.pattern.find(['*', '?', '[', '\\']).unwrap_or(self.pattern.len());
        let literal = &self.pattern[..wild];
        let below = format!("{directory}/");
        literal.starts_with(&below) || wild < self.pattern.len() && below.starts_with(literal)
            // A pattern such as `a*` goes on in the middle of a name, and its star does not go beyond it.
            || wild < self.pattern.len() && directory.starts_with(literal)
    }
}

/// The parts of a pattern; nothing when brackets are not closed or nothing is escaped.
fn parts(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.next_if_eq(&'*').is_some() => {
                letters.next_if_eq(&'/');
                parts.push(if letters.peek().is_none() { Part::Everything } else { Part::Directories });
            }
            '*' => parts.push(Part::Star),
            '?' => parts.push(Part::One),
            '\\' => parts.push(Part::Escaped(letters.next()?)),
            '[' => class(&mut letters, &mut parts)?,
            letter => parts.push(Part::Letter(letter)),
        }
    }
    Some(parts)
}

/// A class in brackets: at least one letter or range, `^` before them for all others.
fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, parts: &mut Vec<Part>) -> Option<()> {
    parts.push(Part::Class('['));
    if letters.next_if_eq(&'^').is_some() {
        parts.push(Part::Class('^'));
    }
    let mut is_empty = true;
    while is_empty || letters.peek() != Some(&']') {
        let low = class_letter(letters)?;
        parts.push(Part::Escaped(low));
        if letters.next_if_eq(&'-').is_some() {
            let high = class_letter(letters)?;
            parts.extend([Part::Class('-'), Part::Escaped(high)]);
        }
        is_empty = false;
    }
    letters.next();
    parts.push(Part::Class(']'));
    Some(())
}

fn class_letter(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match letters.next()? {
        '-' | ']' => None,
        '\\' => letters.next(),
        letter => Some(letter),
    }
}

fn expression(parts: &[Part]) -> String {
    let mut text = String::from("^");
    for part in parts {
        match part {
            Part::Directories => text.push_str("(?:.*/)?"),
            Part::Everything => text.push_str(".*"),
            Part::Star => text.push_str("[^/]*"),
            Part::One => text.push_str("[^/]"),
            Part::Class(letter) => text.push(*letter),
            Part::Letter(letter) | Part::Escaped(letter) => {
                text.push_str(&regex_lite::escape(letter.encode_utf8(&mut [0; 4])));
            }
        }
    }
    text + "$"
}
