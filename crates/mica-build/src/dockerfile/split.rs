//! Cuts the rest of an instruction into words; quotes and escapes hold words together and stay in them.

use std::ops::Range;

/// The words of a text that quotes and escapes hold together, as ranges of it.
pub(super) fn words(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if quote.is_none() && letter.is_whitespace() {
            found.extend(start.take().map(|start| start..at));
            continue;
        }
        start.get_or_insert(at);
        match quote {
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if open == letter => quote = None,
            // Nothing can be escaped between single quotes.
            _ if letter == escape && quote != Some('\'') => {
                letters.next();
            }
            _ => {}
        }
    }
    found.extend(start.map(|start| start..text.len()));
    found
}

/// The words of a text between white space, whatever they hold, as ranges of it.
pub(super) fn plain_words(text: &str) -> Vec<Range<usize>> {
    let offset = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split(is_blank)
        .filter(|word| !word.is_empty())
        .map(|word| offset(word)..offset(word) + word.len())
        .collect()
}

/// The first word of a text, and where the rest begins.
pub(super) fn first_word(text: &str) -> (&str, usize) {
    let end = text.find(is_blank).unwrap_or(text.len());
    let rest = text[end..].find(|letter| !is_blank(letter)).map_or(text.len(), |at| end + at);
    (&text[..end], rest)
}

/// The white space that separates words.
pub(super) const fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        let cut = |text: &'static str| -> Vec<&str> {
            words(text, '\\').into_iter().map(|range| &text[range]).collect()
        };
        assert_eq!(cut("a='b c' d\\ e \"f \\\" g\"h"), ["a='b c'", "d\\ e", "\"f \\\" g\"h"]);
        assert_eq!(cut("  x  "), ["x"]);
        assert_eq!(cut("'a\\' b"), ["'a\\'", "b"]);
        assert_eq!(cut("''"), ["''"]);
        assert_eq!(cut("it's open"), ["it's open"]);
    }

    #[test]
    fn plain_words_and_first_words() {
        let text = "a\tb  c";
        assert_eq!(plain_words(text), [0..1, 2..3, 5..6]);
        assert_eq!(first_word("run   x"), ("run", 6));
        assert_eq!(first_word("run"), ("run", 3));
    }
}
