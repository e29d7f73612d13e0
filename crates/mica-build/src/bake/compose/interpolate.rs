//! `$NAME` and `${NAME…}` in the texts of compose files.

use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// How deep values may be nested, and defaults in defaults.
const DEPTH_LIMIT: usize = 60;

/// Replaces the variables of all texts of a document.
pub(super) fn all(
    value: &mut Value,
    variables: &BTreeMap<String, String>,
    depth: usize,
) -> Result<(), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("nested deeper than {DEPTH_LIMIT}"));
    }
    match value {
        Value::String(text) if text.contains('$') => *text = one(text, variables, 0)?,
        Value::Sequence(items) => {
            items.iter_mut().try_for_each(|item| all(item, variables, depth + 1))?;
        }
        Value::Mapping(members) => {
            members.values_mut().try_for_each(|member| all(member, variables, depth + 1))?;
        }
        _ => {}
    }
    Ok(())
}

/// Replaces the variables of a text.
fn one(text: &str, variables: &BTreeMap<String, String>, depth: usize) -> Result<String, String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("variables are nested deeper than {DEPTH_LIMIT}"));
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| format!("invalid interpolation format: {text:?}"))?;
            result.push_str(&braced(&after[..end], variables, depth)?);
            rest = &after[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err(format!("invalid interpolation format: {text:?} (a $ is written $$)"));
            }
            result.push_str(variables.get(&rest[..length]).map_or("", String::as_str));
            rest = &rest[length..];
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// Where the brace ends that was opened before.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let is_letter = |(at, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    };
    text.bytes().enumerate().take_while(|letter| is_letter(*letter)).count()
}

/// `NAME`, or `NAME` with what is to be when it is set or not: `:-`, `-`, `:+`, `+`, `:?`, `?`.
fn braced(inside: &str, variables: &BTreeMap<String, String>, depth: usize) -> Result<String, String> {
    let (name, rest) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return Err(format!("invalid interpolation format: \"${{{inside}}}\""));
    }
    let set = variables.get(name);
    let (operator, word) = match rest.strip_prefix(':') {
        Some(after) => (after.chars().next(), after.get(1..).unwrap_or_default()),
        None => (rest.chars().next(), rest.get(1..).unwrap_or_default()),
    };
    // With the colon, an empty value is as good as none.
    let set = set.filter(|value| !rest.starts_with(':') || !value.is_empty());
    let word = |depth| one(word, variables, depth + 1);
    match (operator, set) {
        (None, set) if rest.is_empty() => Ok(set.cloned().unwrap_or_default()),
        (Some('-' | '?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) | (Some('+'), Some(_)) => word(depth),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let said = word(depth)?;
            Err(format!("required variable {name} is missing a value: {said}"))
        }
        _ => Err(format!("invalid interpolation format: \"${{{inside}}}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Result<String, String> {
        let variables = [("A", "1"), ("EMPTY", "")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        one(text, &variables, 0)
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        let cases = [
            ("$A-${A}", "1-1"),
            ("$$A", "$A"),
            ("$NONE.", "."),
            ("${NONE:-x}${EMPTY:-y}${EMPTY-z}", "xy"),
            ("${A:+set}${EMPTY:+no}${EMPTY+is}", "setis"),
            ("${NONE:-a${A}b${NONE-c}}", "a1bc"),
            ("${A:?must}", "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            shown("${NONE:?say why}").unwrap_err(),
            "required variable NONE is missing a value: say why"
        );
        for text in ["$", "${A", "${}", "${A!b}", "$ x"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_value_or_an_error(text in "[A{}$:?+é-]{0,40}") {
            let _ = shown(&text);
        }
    }
}
