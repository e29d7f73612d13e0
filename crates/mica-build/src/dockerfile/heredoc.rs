//! Heredocs: `<<WORD`, `<<-WORD`, `3<<"WORD"`, and the lines up to the one that is only WORD.

use super::position::Span;

/// A heredoc of `RUN`, `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, without quotes.
    pub name: String,
    /// The lines as written, each with its line end.
    pub content: String,
    /// Whether the word was written without quotes, so that variables are replaced where that is done at all.
    pub expand: bool,
    /// Whether `<<-` asked for the leading tabs to go.
    pub strips_tabs: bool,
    /// The number before `<<`; 0 when there is none.
    pub descriptor: u32,
    /// The lines between, without the one that ends it.
    pub span: Span,
}

impl Heredoc {
    /// The content, without leading tabs when `<<-` asked for that.
    pub fn stripped(&self) -> String {
        if !self.strips_tabs {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// The beginning of a heredoc: what one word such as `<<-EOF` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) name: String,
    pub(super) expand: bool,
    pub(super) strips_tabs: bool,
    pub(super) descriptor: u32,
}

/// What a word says when it opens a heredoc.
pub(super) fn opening(word: &str) -> Option<Opening> {
    let digits = word.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (strips_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.contains('<') {
        return None;
    }
    let (name, expand) = unquoted(rest)?;
    Some(Opening { name, expand, strips_tabs, descriptor: number.parse().unwrap_or(0) })
}

/// The word without its quotes, and whether there were none; nothing when it is not exactly one word.
fn unquoted(word: &str) -> Option<(String, bool)> {
    let mut name = String::new();
    let mut quote = None;
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None) => name.push(letters.next()?),
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if open == letter => quote = None,
            (_, None) if letter.is_whitespace() => return None,
            _ => name.push(letter),
        }
    }
    if quote.is_some() || name.is_empty() {
        return None;
    }
    let expand = name == word;
    Some((name, expand))
}

/// The heredocs that a line opens, in order.
pub(super) fn openings(line: &str) -> Vec<Opening> {
    super::split::words(line, '\\').iter().filter_map(|range| opening(&line[range.clone()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_have_names_quotes_tabs_and_descriptors() {
        let open =
            |word| opening(word).map(|found| (found.name, found.expand, found.strips_tabs, found.descriptor));
        assert_eq!(open("<<EOF"), Some(("EOF".into(), true, false, 0)));
        assert_eq!(open("3<<-EOF"), Some(("EOF".into(), true, true, 3)));
        assert_eq!(open("<<'EOF'"), Some(("EOF".into(), false, false, 0)));
        assert_eq!(open("<<-\"E F\""), Some(("E F".into(), false, true, 0)));
        assert_eq!(open("<<"), None);
        assert_eq!(open("<<<EOF"), None);
        assert_eq!(open("<<E F"), None);
        assert_eq!(open("EOF"), None);
        assert_eq!(open("<<'EOF"), None);
    }

    #[test]
    fn all_heredocs_of_a_line_are_found_in_order() {
        let names: Vec<_> =
            openings("COPY <<a <<-'b c' \"<<no\" /x/").into_iter().map(|open| open.name).collect();
        assert_eq!(names, ["a", "b c"]);
    }
}
