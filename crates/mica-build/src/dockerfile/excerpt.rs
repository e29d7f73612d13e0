//! The lines around a place in a Dockerfile, as docker shows them, with the place itself underlined.

use super::position::Span;
use std::fmt::Write as _;

const RULE: &str = "--------------------";

/// How many lines are shown around a place of several lines, and of one.
const AROUND: (usize, usize) = (2, 4);

/// The lines around a place. The whole of `marked` gets arrows; `place`, when it is on one line, is underlined.
pub fn excerpt(name: &str, source: &str, marked: Span, place: Span) -> String {
    let lines: Vec<&str> = source.strip_prefix('\u{feff}').unwrap_or(source).lines().collect();
    let count = lines.len().max(1);
    let line_of = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).clamp(1, count);
    let (first, last) = (line_of(marked.start.line), line_of(marked.end.line));
    let (from, to) = around(first, last, count);
    let mut text = format!("{name}:{first}\n{RULE}\n");
    for number in from..=to {
        let arrow = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line = lines.get(number - 1).copied().unwrap_or_default();
        let _ = writeln!(text, " {number:3} | {arrow} {}", printable(line));
        if number == line_of(place.start.line)
            && place.start.line == place.end.line
            && let Some(underline) = underline(line, place)
        {
            let _ = writeln!(text, "     |     {underline}");
        }
    }
    text + RULE + "\n"
}

/// Which lines are shown: by turns one before and one after, until there are enough.
fn around(first: usize, last: usize, count: usize) -> (usize, usize) {
    let wanted = if first == last { AROUND.1 } else { AROUND.0 };
    let (mut from, mut to) = (first, last);
    let mut shown = 0;
    while shown < wanted {
        if from > 1 {
            from -= 1;
            shown += 1;
        }
        if to < count {
            to += 1;
            shown += 1;
        }
        shown += 1;
    }
    (from, to)
}

/// Tabs stay, so that what is below them is aligned; other control characters would speak to the terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter })
        .collect()
}

/// Carets below the place; nothing when it is the whole line.
fn underline(line: &str, place: Span) -> Option<String> {
    let start = usize::try_from(place.start.column).ok()?.saturating_sub(1);
    let width = usize::try_from(place.end.column.saturating_sub(place.start.column)).ok()?;
    if width == 0 || width >= line.trim().chars().count() {
        return None;
    }
    let before: String =
        line.chars().take(start).map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
    Some(before + &"^".repeat(width))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn the_place_is_marked_and_underlined() {
        let source = "FROM a\n\nRUN x\n\tCOPY --form=b c d\nRUN y\nRUN z\nRUN z\n";
        let error = parse(source).unwrap_err();
        let text = excerpt("Dockerfile", source, error.span, error.span);
        let expected = "Dockerfile:4\n--------------------\n   2 |     \n   3 |     RUN x\n   4 | >>> \tCOPY --form=b c d\n     \
            |     \t     ^^^^^^^^\n   5 |     RUN y\n   6 |     RUN z\n--------------------\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn control_characters_are_not_printed() {
        let source = "FROM a\n\u{1b}[31mRUN";
        let error = parse(source).unwrap_err();
        let text = excerpt("f", source, error.span, error.span);
        assert!(text.contains("\u{fffd}[31mRUN") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_empty_file_has_an_excerpt_too() {
        let error = parse("").unwrap_err();
        assert_eq!(
            excerpt("f", "", error.span, error.span),
            "f:1\n--------------------\n   1 | >>> \n--------------------\n"
        );
    }
}
