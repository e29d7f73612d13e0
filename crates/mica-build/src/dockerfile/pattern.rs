//! The patterns of `${x#pattern}`, `${x%pattern}` and `${x/pattern/y}`: letters, `?` and `*`.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Letter(char),
    /// `?`.
    One,
    /// `*`.
    Any,
}

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

/// An escape that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// Something else than `*`, `?`, a backslash, `/` or `}` after a backslash.
    #[error("invalid escape '\\{letter}'")]
    Escape {
        /// What stands after the backslash.
        letter: String,
    },
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn new(text: &str) -> Result<Self, PatternProblem> {
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match letters.next() {
                    Some(letter @ ('*' | '?' | '\\' | '/' | '}')) => Part::Letter(letter),
                    other => return Err(PatternProblem::Escape { letter: other.into_iter().collect() }),
                },
                letter => Part::Letter(letter),
            });
        }
        Ok(Self { parts })
    }

    /// The text without the shortest or longest beginning that the pattern matches.
    pub(super) fn without_prefix<'a>(&self, text: &'a str, longest: bool) -> &'a str {
        let end = ends(self.parts.iter().copied(), text.chars(), longest);
        &text[end.unwrap_or_default()..]
    }

    /// The text without the shortest or longest end that the pattern matches.
    pub(super) fn without_suffix<'a>(&self, text: &'a str, longest: bool) -> &'a str {
        let length = ends(self.parts.iter().rev().copied(), text.chars().rev(), longest);
        &text[..text.len() - length.unwrap_or_default()]
    }

    /// The text with the first match or all matches replaced, the longest at each place; nothing when it grows larger
    /// than the limit.
    pub(super) fn replace(
        &self,
        text: &str,
        replacement: &str,
        all: bool,
        limit_bytes: usize,
    ) -> Option<String> {
        let mut result = String::new();
        let mut at = 0;
        let mut after_match = None;
        while at <= text.len() {
            let rest = &text[at..];
            let length = ends(self.parts.iter().copied(), rest.chars(), true);
            // Directly after a match, an empty one is none.
            if let Some(length) = length.filter(|length| *length > 0 || after_match != Some(at)) {
                result.push_str(replacement);
                at += length;
                after_match = Some(at);
                if !all {
                    result.push_str(&text[at..]);
                    return Some(result).filter(|result| result.len() <= limit_bytes);
                }
                if length > 0 {
                    continue;
                }
            }
            let Some(letter) = text[at..].chars().next() else { break };
            result.push(letter);
            at += letter.len_utf8();
            if result.len() > limit_bytes {
                return None;
            }
        }
        Some(result)
    }
}

/// How many bytes of the text, from its beginning on, the parts match: the fewest or the most.
fn ends(
    parts: impl Iterator<Item = Part>,
    letters: impl Iterator<Item = char>,
    longest: bool,
) -> Option<usize> {
    let parts: Vec<Part> = parts.collect();
    // Which numbers of parts can have been used up when a letter is read.
    let mut states = vec![false; parts.len() + 1];
    let mut found = None;
    states[0] = true;
    skip_stars(&parts, &mut states);
    let mut length = 0;
    for letter in letters.map(Some).chain([None]) {
        if states[parts.len()] {
            found = Some(length);
            if !longest {
                return found;
            }
        }
        let Some(letter) = letter else { break };
        states = step(&parts, &states, letter);
        if !states.contains(&true) {
            break;
        }
        length += letter.len_utf8();
    }
    found
}

fn step(parts: &[Part], states: &[bool], letter: char) -> Vec<bool> {
    let mut next = vec![false; states.len()];
    for (at, part) in parts.iter().enumerate().filter(|(at, _)| states[*at]) {
        match part {
            Part::Letter(wanted) if *wanted == letter => next[at + 1] = true,
            Part::One if letter != '\n' => next[at + 1] = true,
            Part::Any if letter != '\n' => next[at] = true,
            _ => {}
        }
    }
    skip_stars(parts, &mut next);
    next
}

/// A star may match nothing.
fn skip_stars(parts: &[Part], states: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if states[at] && *part == Part::Any {
            states[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_and_longest_ends_are_found() {
        let pattern = |text| Pattern::new(text).unwrap();
        assert_eq!(pattern("a*b").without_prefix("axbxbx", false), "xbx");
        assert_eq!(pattern("a*b").without_prefix("axbxbx", true), "x");
        assert_eq!(pattern("b*x").without_suffix("axbxbx", false), "axbx");
        assert_eq!(pattern("b*x").without_suffix("axbxbx", true), "ax");
        assert_eq!(pattern("??").without_suffix("\u{e4}\u{f6}\u{fc}", false), "\u{e4}");
        assert_eq!(pattern("z").without_prefix("abc", true), "abc");
        assert_eq!(pattern("\\*").without_prefix("*a", true), "a");
    }

    #[test]
    fn one_or_all_matches_are_replaced() {
        let replace = |pattern: &str, text, all| Pattern::new(pattern).unwrap().replace(text, "-", all, 1000);
        assert_eq!(replace("b", "abcbd", false).unwrap(), "a-cbd");
        assert_eq!(replace("b", "abcbd", true).unwrap(), "a-c-d");
        assert_eq!(replace("*", "abc", true).unwrap(), "-");
        assert_eq!(replace("x", "abc", true).unwrap(), "abc");
        assert_eq!(replace("", "ab", true).unwrap(), "-a-b-");
        assert_eq!(replace("a", &"a".repeat(1001), true), Some("-".repeat(1001)));
        assert_eq!(Pattern::new("a").unwrap().replace("aab", "0123456789", true, 5), None);
    }
}
