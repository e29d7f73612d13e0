//! `.env`: variables for compose files, a line each.

use std::collections::BTreeMap;

/// Reads `NAME=value` lines. Double quotes know escapes, single ones nothing; ` #` begins a comment.
pub(in crate::bake) fn read(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        let after = rest.get(line.len() + 1..).unwrap_or_default();
        let Some((name, value)) = assignment(line) else {
            rest = after;
            continue;
        };
        let start = line.len() - value.len();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go on in the lines below.
                let (value, length) = quoted(&rest[start + 1..], quote);
                let behind = &rest[start + 1 + length..];
                rest = behind.split_once('\n').map_or("", |(_, below)| below);
                value
            }
            _ => {
                rest = after;
                plain(value)
            }
        };
        variables.insert(name.to_owned(), value);
    }
    variables
}

/// The name and all that follows its `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    (!name.is_empty() && !name.starts_with('#')).then_some((name, value.trim_start()))
}

fn plain(value: &str) -> String {
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    value[..end].trim().to_owned()
}

/// The text up to the quote, and how long it is with it.
fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return (value, at + 1),
            '\\' if quote == '"' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, other)) => value.push(other),
                None => {}
            },
            letter => value.push(letter),
        }
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_variables() {
        let text = "# comment\nA=1\nexport B = two words # not this\nC='$x # y'\r\nD=\"a\\n\\\"b\"\n\nE=\nF=\"over\ntwo\"\nG=x#y";
        let variables = read(text);
        let shown: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=1", "B=two words", "C=$x # y", "D=a\n\"b", "E=", "F=over\ntwo", "G=x#y"]);
    }

    #[test]
    fn a_quote_may_be_the_last_letter() {
        assert_eq!(read("A=\"b\"")["A"], "b");
        assert_eq!(read("A=\"b")["A"], "b");
        assert_eq!(read("A='b'\nB=c")["B"], "c");
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[A-C=\"'\\\\ #\n\ré]{0,40}") {
            read(&text);
        }
    }
}
