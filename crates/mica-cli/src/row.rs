//! Rows of listings that are short enough to have all their fields computed at once, and how
//! they are shown.

use crate::output::format::{Detail, Format, Layout};
use crate::output::template::{Object, TemplateError};
use crate::report::Failure;
use serde_json::Value;
use std::collections::BTreeMap;

/// A row: fields by name, in the order of the alphabet as docker writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    type_name: &'static str,
    fields: Vec<(&'static str, String)>,
    labels: BTreeMap<String, String>,
}

impl Row {
    /// A row of what docker calls `type_name` in messages.
    pub(crate) fn new<const N: usize>(type_name: &'static str, fields: [(&'static str, String); N]) -> Self {
        Self { type_name, fields: fields.into(), labels: BTreeMap::new() }
    }

    /// The row with labels that a format can ask for one by one.
    pub(crate) fn with_labels(self, labels: Option<&BTreeMap<String, String>>) -> Self {
        Self { labels: labels.cloned().unwrap_or_default(), ..self }
    }

    #[cfg(test)]
    /// A field; empty if there is no such field.
    pub(crate) fn cell(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value.as_str())
    }
}

impl Object for Row {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| Value::from(value.as_str()))
    }

    fn method(&self, name: &str, argument: &str) -> Option<Value> {
        (name == "Label").then(|| self.labels.get(argument).cloned().unwrap_or_default().into())
    }

    fn all(&self) -> Value {
        let pairs = self.fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        Value::Object(pairs.collect())
    }
}

/// The format that a command's flags ask for.
///
/// # Errors
/// `Template`, when it is none.
pub(crate) fn format(text: &str, layout: &Layout, is_quiet: bool) -> Result<Format, Failure> {
    let detail = if is_quiet { Detail::Quiet } else { Detail::Full };
    Format::parse(text, layout, detail).map_err(failure)
}

/// All of a listing, ready to print.
///
/// # Errors
/// `Template`, when the format names what rows do not have.
pub(crate) fn show(format: &Format, rows: &[Row]) -> Result<String, Failure> {
    let objects: Vec<&dyn Object> = rows.iter().map(|row| row as &dyn Object).collect();
    format.render(&objects).map_err(failure)
}

const fn failure(source: TemplateError) -> Failure {
    Failure::Listing { source }
}
