//! Words of a Dockerfile instruction: quotes, backslashes, and variables of the image's environment.

/// Splits `text` at blanks, keeping quotes and backslashes for [`expand`].
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.push(character);
                word.extend(characters.next());
            }
            ('"' | '\'', None) => {
                quote = Some(character);
                word.push(character);
            }
            (_, Some(open)) if open == character => {
                quote = None;
                word.push(character);
            }
            (_, None) if character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and backslashes away and puts the values of `environment` (`NAME=value`) in for
/// `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`. Nothing if a quote or brace is open.
pub(super) fn expand(text: &str, environment: &[String]) -> Option<String> {
    let mut expanded = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match (character, quote) {
            ('\'', None) => quote = Some('\''),
            ('"', None) => quote = Some('"'),
            ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
            (_, Some('\'')) => expanded.push(character),
            ('\\', inside) => {
                let Some(next) = rest.chars().next() else {
                    expanded.push('\\');
                    continue;
                };
                // Within double quotes a backslash is itself unless it saves something.
                if inside.is_some() && !matches!(next, '"' | '$' | '\\') {
                    expanded.push('\\');
                }
                expanded.push(next);
                rest = &rest[next.len_utf8()..];
            }
            ('$', _) => rest = variable(rest, environment, &mut expanded)?,
            _ => expanded.push(character),
        }
    }
    quote.is_none().then_some(expanded)
}

/// Puts the value of the variable that `rest` begins with into `expanded` and gives what follows.
fn variable<'a>(rest: &'a str, environment: &[String], expanded: &mut String) -> Option<&'a str> {
    if let Some(braced) = rest.strip_prefix('{') {
        let (inside, after) = braced.split_once('}')?;
        let (name, rule) = inside.split_at(name_length(inside));
        let value = value(name, environment);
        match (rule.get(..2), value) {
            _ if name.is_empty() => return None,
            (None, value) if rule.is_empty() => expanded.push_str(value),
            (Some(":-"), "") => expanded.push_str(&expand(&rule[2..], environment)?),
            (Some(":-"), value) => expanded.push_str(value),
            (Some(":+"), "") => {}
            (Some(":+"), _) => expanded.push_str(&expand(&rule[2..], environment)?),
            _ => return None,
        }
        return Some(after);
    }
    let (name, after) = rest.split_at(name_length(rest));
    if name.is_empty() {
        expanded.push('$');
    } else {
        expanded.push_str(value(name, environment));
    }
    Some(after)
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn value<'a>(name: &str, environment: &'a [String]) -> &'a str {
    let entry = environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    entry.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_and_expands() {
        let environment = ["A=x y".to_owned(), "E=".to_owned()];
        assert_eq!(split(r#"a "b c" d\ e 'f g'"#), ["a", "\"b c\"", "d\\ e", "'f g'"]);
        for (text, expected) in [
            (r#""b c""#, "b c"),
            (r"d\ e", "d e"),
            ("$A", "x y"),
            ("'$A'", "$A"),
            (r"\$A", "$A"),
            ("${A}/z", "x y/z"),
            ("${N:-d}${E:-e}", "de"),
            ("${A:+set}${N:+set}", "set"),
            (r#""\n\"""#, "\\n\""),
            ("$", "$"),
            ("$N.", "."),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Some(expected), "{text}");
        }
        for text in ["'", "\"", "${A", "${A:?x}", "${}"] {
            assert_eq!(expand(text, &environment), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a${}:'\"\\\\é +-]{0,20}") {
            for word in split(&text) {
                expand(&word, &["a=b".to_owned()]);
            }
        }
    }
}
