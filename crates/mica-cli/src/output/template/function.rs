//! The functions that templates may call: Go's and docker's.

use super::printf;
use super::value::type_name;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// The functions by name, with how many arguments they take at least and at most.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, usize::MAX),
    ("call", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("index", 1, usize::MAX),
    ("join", 2, 2),
    ("js", 0, usize::MAX),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("pad", 3, 3),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, 4),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
    ("urlquery", 0, usize::MAX),
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// What is wrong with so many arguments of `name`, if anything is.
pub(super) fn wrong_count(name: &str, count: usize) -> Option<String> {
    let (_, least, most) = FUNCTIONS.iter().find(|(known, ..)| *known == name)?;
    if (*least..=*most).contains(&count) {
        return None;
    }
    let want = if least == most { format!("{least}") } else { format!("at least {least}") };
    Some(format!("wrong number of args for {name}: want {want} got {count}"))
}

/// Which type an argument must have; `None` for any.
pub(super) fn argument_type(name: &str, index: usize) -> Option<&'static str> {
    match (name, index) {
        ("lower" | "upper" | "title", 0)
        | ("pad" | "truncate" | "printf", 0)
        | ("split", _)
        | ("join", 1) => Some("string"),
        ("pad", _) | ("truncate", 1) => Some("int"),
        ("join", 0) => Some("[]string"),
        _ => None,
    }
}

/// Whether a value is of a type that [`argument_type`] names.
pub(super) fn is_of_type(json: &Json, wanted: &str) -> bool {
    match wanted {
        "string" => json.is_string(),
        "int" => json.is_i64() || json.is_u64(),
        _ => json.is_array() || json.is_null(),
    }
}

/// Calls a function other than `and`, `or` and `index` with arguments that were checked. The
/// error is what follows "error calling name: ".
pub(super) fn call(name: &str, arguments: &[Json]) -> Result<Json, String> {
    let text = |index: usize| arguments.get(index).and_then(Json::as_str).unwrap_or_default();
    let number = |index: usize| {
        arguments.get(index).and_then(Json::as_u64).and_then(|value| usize::try_from(value).ok())
    };
    let spaces = |index: usize| " ".repeat(number(index).unwrap_or(0).min(10_000));
    let null = Json::Null;
    let first = arguments.first().unwrap_or(&null);
    Ok(match name {
        "json" => Json::String(first.to_string()),
        "lower" => text(0).to_lowercase().into(),
        "upper" => text(0).to_uppercase().into(),
        "title" => title(text(0)).into(),
        "split" => split(text(0), text(1)),
        "join" => {
            let items = first.as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().map(printf::plain).collect::<Vec<_>>().join(text(1)).into()
        }
        "pad" if text(0).is_empty() => "".into(),
        "pad" => format!("{}{}{}", spaces(1), text(0), spaces(2)).into(),
        "truncate" => truncate(text(0), number(1).unwrap_or(usize::MAX)).into(),
        "print" => printf::print(arguments).into(),
        "println" => printf::println(arguments).into(),
        "printf" => printf::printf(text(0), &arguments[1..]).into(),
        "html" => escape(arguments, html).into(),
        "js" => escape(arguments, javascript).into(),
        "urlquery" => escape(arguments, url_query).into(),
        "not" => (!super::Value::data(first).is_true()).into(),
        "len" => length(first)?.into(),
        "slice" => slice(first, &arguments[1..])?,
        "eq" if arguments.len() == 1 => return Err("missing argument for comparison".to_owned()),
        "eq" => any_equal(first, &arguments[1..])?.into(),
        "ne" => (!any_equal(first, &arguments[1..])?).into(),
        "lt" => (order(first, &arguments[1])? == Some(Ordering::Less)).into(),
        "le" => matches!(order(first, &arguments[1])?, Some(Ordering::Less | Ordering::Equal)).into(),
        "gt" => (order(first, &arguments[1])? == Some(Ordering::Greater)).into(),
        "ge" => matches!(order(first, &arguments[1])?, Some(Ordering::Greater | Ordering::Equal)).into(),
        // JSON holds no functions, so there is nothing that could be called.
        _ => return Err(format!("non-function {} of type {}", printf::plain(first), type_name(first))),
    })
}

/// In the heading of a table functions leave the names of columns alone, but for case.
pub(super) fn call_in_heading(name: &str, arguments: &[Json]) -> Option<Json> {
    let keeps = matches!(name, "json" | "title" | "lower" | "upper" | "join" | "split" | "pad" | "truncate");
    keeps.then(|| arguments.first().cloned().unwrap_or(Json::Null))
}

fn title(text: &str) -> String {
    let mut previous = ' ';
    let capital = |character: char| {
        let starts = !previous.is_alphanumeric() && previous != '_' && previous != '\'';
        previous = character;
        if starts { character.to_uppercase().collect::<String>() } else { character.to_string() }
    };
    text.chars().map(capital).collect()
}

fn split(text: &str, separator: &str) -> Json {
    if separator.is_empty() {
        return text.chars().map(|c| Json::String(c.to_string())).collect();
    }
    text.split(separator).map(Json::from).collect()
}

/// Cuts at a number of bytes, or before a character that would be torn.
fn truncate(text: &str, length: usize) -> &str {
    if text.len() <= length {
        return text;
    }
    let end = (0..=length).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn length(json: &Json) -> Result<usize, String> {
    match json {
        Json::String(text) => Ok(text.len()),
        Json::Array(items) => Ok(items.len()),
        Json::Object(map) => Ok(map.len()),
        // Null stands for an empty list or map of docker's types far more often than for nothing.
        Json::Null => Ok(0),
        other => Err(format!("len of type {}", type_name(other))),
    }
}

fn slice(json: &Json, bounds: &[Json]) -> Result<Json, String> {
    let length = match json {
        Json::String(_) if bounds.len() > 2 => return Err("cannot 3-index slice a string".to_owned()),
        Json::String(_) | Json::Array(_) => length(json)?,
        Json::Null => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", type_name(other))),
    };
    let mut ends = [0, length, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        let number = bound
            .as_i64()
            .ok_or_else(|| format!("cannot index slice/array with type {}", type_name(bound)))?;
        *end = usize::try_from(number)
            .ok()
            .filter(|n| *n <= length)
            .ok_or_else(|| format!("index out of range: {number}"))?;
    }
    if ends[0] > ends[1] {
        return Err(format!("invalid slice index: {} > {}", ends[0], ends[1]));
    }
    if ends[1] > ends[2] {
        return Err(format!("invalid slice index: {} > {}", ends[1], ends[2]));
    }
    Ok(match json {
        Json::String(text) => String::from_utf8_lossy(&text.as_bytes()[ends[0]..ends[1]]).into(),
        Json::Array(items) => items[ends[0]..ends[1]].to_vec().into(),
        _ => Json::Null,
    })
}

fn any_equal(first: &Json, others: &[Json]) -> Result<bool, String> {
    for other in others {
        match (first, other) {
            (Json::Array(_) | Json::Object(_), Json::Null) | (Json::Null, _) | (_, Json::Null) => {}
            (Json::Array(_) | Json::Object(_), _) | (_, Json::Array(_) | Json::Object(_)) => {
                return Err(format!("non-comparable type {}: {}", printf::plain(first), type_name(first)));
            }
            _ if type_name(first) != type_name(other) => {
                return Err("incompatible types for comparison".to_owned());
            }
            _ => {}
        }
        if first == other {
            return Ok(true);
        }
    }
    Ok(false)
}

fn order(left: &Json, right: &Json) -> Result<Option<Ordering>, String> {
    let orderable = |json: &Json| matches!(json, Json::String(_) | Json::Number(_));
    if !orderable(left) || !orderable(right) {
        return Err("invalid type for comparison".to_owned());
    }
    match (left, right) {
        (Json::String(left), Json::String(right)) => Ok(Some(left.cmp(right))),
        (Json::Number(a), Json::Number(b)) if type_name(left) == type_name(right) => {
            match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => Ok(Some(a.cmp(&b))),
                _ => Ok(a.as_f64().partial_cmp(&b.as_f64())),
            }
        }
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn escape(arguments: &[Json], replace: impl Fn(char, &mut String)) -> String {
    let text = printf::print(arguments);
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|character| replace(character, &mut escaped));
    escaped
}

fn html(character: char, escaped: &mut String) {
    match character {
        '<' => escaped.push_str("&lt;"),
        '>' => escaped.push_str("&gt;"),
        '&' => escaped.push_str("&amp;"),
        '"' => escaped.push_str("&#34;"),
        '\'' => escaped.push_str("&#39;"),
        '\0' => escaped.push('\u{fffd}'),
        other => escaped.push(other),
    }
}

fn javascript(character: char, escaped: &mut String) {
    match character {
        '\\' | '\'' | '"' => escaped.extend(['\\', character]),
        '<' | '>' | '&' | '=' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
            escaped.push_str(&format!("\\u{:04X}", u32::from(character)));
        }
        other => escaped.push(other),
    }
}

fn url_query(character: char, escaped: &mut String) {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | '~' => escaped.push(character),
        ' ' => escaped.push('+'),
        other => {
            other.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escaped.push_str(&format!("%{byte:02X}")))
        }
    }
}
