//! The attributes of a target: their types, and how one target's are put on top of another's.

use super::BakeError;
use hcl::Value;
use std::collections::BTreeMap;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A text.
    Text(String),
    /// True or false.
    Truth(bool),
    /// Texts in order.
    List(Vec<String>),
    /// Texts by name.
    Map(BTreeMap<String, String>),
}

/// What an attribute takes and how it is inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Truth,
    /// Replaces what was inherited.
    List,
    /// Comes after what was inherited.
    Appended,
    Map,
}

/// All attributes of a target beside `inherits`, `matrix` and `name`.
pub(super) const SHAPES: &[(&str, Shape)] = &[
    ("annotations", Shape::Appended),
    ("args", Shape::Map),
    ("attest", Shape::Appended),
    ("cache-from", Shape::Appended),
    ("cache-to", Shape::List),
    ("call", Shape::Text),
    ("context", Shape::Text),
    ("contexts", Shape::Map),
    ("description", Shape::Text),
    ("dockerfile", Shape::Text),
    ("dockerfile-inline", Shape::Text),
    ("entitlements", Shape::Appended),
    ("extra-hosts", Shape::Map),
    ("labels", Shape::Map),
    ("network", Shape::Text),
    ("no-cache", Shape::Truth),
    ("no-cache-filter", Shape::List),
    ("output", Shape::List),
    ("platforms", Shape::List),
    ("policy", Shape::Appended),
    ("pull", Shape::Truth),
    ("secret", Shape::Appended),
    ("shm-size", Shape::Text),
    ("ssh", Shape::Appended),
    ("tags", Shape::List),
    ("target", Shape::Text),
    ("ulimits", Shape::Appended),
];

/// What an attribute takes, when there is one of that name.
pub(super) fn shape(name: &str) -> Option<Shape> {
    SHAPES.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

impl Field {
    /// A value as an attribute of a shape; null is none.
    pub(super) fn from_value(shape: Shape, value: &Value, owner: &str) -> Result<Option<Self>, BakeError> {
        let wrong = |expected: &'static str| BakeError::Type {
            owner: owner.to_owned(),
            expected,
            value: serde_json::to_string(value).unwrap_or_default(),
        };
        Ok(Some(match (shape, value) {
            (_, Value::Null) => return Ok(None),
            (Shape::Text, value) => Self::Text(text(value).ok_or_else(|| wrong("a text"))?),
            (Shape::Truth, Value::Bool(truth)) => Self::Truth(*truth),
            (Shape::Truth, Value::String(word)) if word == "true" || word == "false" => {
                Self::Truth(word == "true")
            }
            (Shape::Truth, _) => return Err(wrong("true or false")),
            (Shape::List | Shape::Appended, Value::Array(items)) => {
                let items = items.iter().filter(|item| !item.is_null());
                Self::List(items.map(entry).collect::<Option<_>>().ok_or_else(|| wrong("a list of texts"))?)
            }
            (Shape::List | Shape::Appended, _) => return Err(wrong("a list of texts")),
            (Shape::Map, Value::Object(members)) => {
                // A member that is null is as if it were not there.
                let members = members.iter().filter(|(_, value)| !value.is_null());
                let pairs = members.map(|(key, value)| Some((key.clone(), text(value)?)));
                Self::Map(pairs.collect::<Option<_>>().ok_or_else(|| wrong("an object of texts"))?)
            }
            (Shape::Map, _) => return Err(wrong("an object of texts")),
        }))
    }

    /// Puts another value of the same attribute on top.
    pub(super) fn put_on_top(&mut self, shape: Shape, other: &Self) {
        match (self, other) {
            (Self::Map(map), Self::Map(other)) => map.extend(other.clone()),
            (Self::List(list), Self::List(other)) if shape == Shape::Appended => {
                for item in other {
                    if !list.contains(item) {
                        list.push(item.clone());
                    }
                }
            }
            (this, other) => *this = other.clone(),
        }
    }

    /// As JSON.
    pub(super) fn document(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Truth(truth) => (*truth).into(),
            Self::List(list) => list.clone().into(),
            Self::Map(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str())))
                .collect(),
        }
    }
}

/// A value that can stand for a text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// An entry of a list: a text, or an object that is written `key=value,…`.
fn entry(value: &Value) -> Option<String> {
    let Value::Object(members) = value else { return text(value) };
    let quoted = |field: String| match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    };
    let members = members.iter().filter(|(_, value)| !value.is_null());
    // The type comes first, as everybody writes it.
    let (first, rest): (Vec<_>, Vec<_>) = members.partition(|(key, _)| *key == "type");
    let fields =
        first.into_iter().chain(rest).map(|(key, value)| Some(quoted(format!("{key}={}", text(value)?))));
    Some(fields.collect::<Option<Vec<_>>>()?.join(","))
}
