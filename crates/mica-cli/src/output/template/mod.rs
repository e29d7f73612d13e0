//! Templates of `--format`: the language of Go's text/template over JSON, with docker's functions.

mod ast;
mod evaluate;
mod function;
mod lexer;
mod number;
mod parser;
mod printf;
mod value;

pub use value::{Nature, Object, Value};

use ast::{Node, Place};

/// How many characters of the template a message cites.
const CITATION_LENGTH: usize = 20;

/// A template that has been understood.
#[derive(Debug)]
pub struct Template {
    name: String,
    source: String,
    main: Vec<Node>,
    definitions: parser::Definitions,
}

/// Why a template cannot be understood or executed, in docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The source is not a template.
    #[error("template parsing error: template: {name}:{line}: {reason}")]
    Parse {
        /// The name of the template, often empty.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The template does not fit its data.
    #[error(
        "template parsing error: template: {name}:{line}:{column}: executing {definition:?} at <{citation}>: {reason}"
    )]
    Execute {
        /// The name of the template, often empty.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 0.
        column: usize,
        /// The name of the definition that was executed, often empty.
        definition: String,
        /// The part of the template.
        citation: String,
        /// What is wrong.
        reason: String,
    },
}

impl TemplateError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::InvalidArgument
    }
}

/// What a key means that a document does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// `<no value>`, as for Go's maps.
    NoValue,
    /// An error, as for the documents of `inspect`; maps of labels and the like still give
    /// `<no value>`.
    Error,
}

/// How a template is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With the data.
    Data(Missing),
    /// With the names of columns, to make the heading of a table: functions leave them alone.
    Heading,
}

impl Mode {
    const fn missing(self) -> Missing {
        match self {
            Self::Data(missing) => missing,
            Self::Heading => Missing::NoValue,
        }
    }
}

impl Template {
    /// Parses a template without a name, as docker does for listings and `inspect`.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_named("", source)
    }

    /// Parses a template whose messages bear a name, such as `version`.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn parse_named(name: &str, source: &str) -> Result<Self, TemplateError> {
        let (main, definitions) = parser::parse(source).map_err(|complaint| TemplateError::Parse {
            name: name.to_owned(),
            line: line(source, complaint.at),
            reason: complaint.reason,
        })?;
        Ok(Self { name: name.to_owned(), source: source.to_owned(), main, definitions })
    }

    /// Executes the template with `root` as `.` and `$`.
    ///
    /// # Errors
    /// [`TemplateError::Execute`].
    pub fn execute(&self, root: &Value<'_>, mode: Mode) -> Result<String, TemplateError> {
        evaluate::Evaluator::new(self, mode, root).run(root)
    }

    /// Executes the template with a document of `inspect`, whose missing fields are mistakes.
    ///
    /// # Errors
    /// [`TemplateError::Execute`].
    pub fn render(&self, document: &serde_json::Value) -> Result<String, TemplateError> {
        self.execute(&Value::data(document), Mode::Data(Missing::Error))
    }

    fn cite(&self, place: Place) -> &str {
        self.source.get(place.start..place.end).unwrap_or_default()
    }

    fn execute_error(&self, definition: &str, place: Place, reason: String) -> TemplateError {
        let whole = self.cite(place);
        let citation = match whole.char_indices().nth(CITATION_LENGTH) {
            Some((end, _)) => format!("{}...", &whole[..end]),
            None => whole.to_owned(),
        };
        let before = self.source.get(..place.at).unwrap_or_default();
        TemplateError::Execute {
            name: self.name.clone(),
            line: line(&self.source, place.at),
            column: before.len() - before.rfind('\n').map_or(0, |end| end + 1),
            definition: definition.to_owned(),
            citation,
            reason,
        }
    }
}

fn line(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
