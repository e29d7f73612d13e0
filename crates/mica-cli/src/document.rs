//! Documents: one value shown as JSON or through a template, as `inspect` and `info` do.

use crate::context::Context;
use crate::output::template::{Missing, Mode, Template, TemplateError, Value as Shown};
use crate::report::{FAILURE, Failure, Outcome, SUCCESS, TEMPLATE_FAILURE, engine_words};
use mica_api::Error;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// How a document is shown.
#[derive(Debug)]
pub(crate) enum Form {
    /// JSON with a field on each line.
    Indented,
    /// JSON on one line.
    Compact,
    /// Through a template.
    Template(Template),
}

impl Form {
    /// The form that `--format` asks for; indented JSON if it is empty.
    ///
    /// # Errors
    /// `Template`, with exit code 64 as docker has it here.
    pub(crate) fn parse(format: &str) -> Result<Self, Failure> {
        match format {
            "" => Ok(Self::Indented),
            "json" => Ok(Self::Compact),
            source => Template::parse(source)
                .map(Self::Template)
                .map_err(|source| Failure::Template { source, code: TEMPLATE_FAILURE }),
        }
    }

    /// The same for commands that show text of their own if `--format` is empty.
    ///
    /// # Errors
    /// As [`Form::parse`].
    pub(crate) fn parse_unless_empty(format: &str) -> Result<Option<Self>, Failure> {
        if format.is_empty() { Ok(None) } else { Self::parse(format).map(Some) }
    }

    /// `value` in this form, without a line end.
    ///
    /// # Errors
    /// `Template`, when it does not fit the value.
    pub(crate) fn show(&self, value: &Value) -> Result<String, Failure> {
        match self {
            Self::Indented => Ok(indented(value)),
            Self::Compact => Ok(value.to_string()),
            Self::Template(template) => {
                execute(template, value).map_err(|source| Failure::Template { source, code: FAILURE })
            }
        }
    }
}

fn execute(template: &Template, value: &Value) -> Result<String, TemplateError> {
    template.execute(&Shown::data(value), Mode::Data(Missing::Error))
}

/// JSON with four spaces a level, as docker prints it.
fn indented(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    // Writing a value to memory cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, formatter));
    String::from_utf8_lossy(&text).into_owned()
}

/// What `object` looks like on the wire.
///
/// # Errors
/// `Internal`, if it cannot be written as JSON.
pub(crate) fn to_value(object: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(object)
        .map_err(|source| Error::internal(format!("the object cannot be shown: {source}")))
}

/// Fetches and shows several objects; goes on after those that cannot be had.
pub(crate) fn inspect_all(
    references: &[String],
    format: &str,
    context: &Context<'_>,
    mut fetch: impl FnMut(&str) -> Result<Value, Error>,
) -> Outcome {
    let form = Form::parse(format)?;
    let mut values = Vec::new();
    let mut complaints = String::new();
    for reference in references {
        match fetch(reference) {
            Ok(value) => values.push(value),
            Err(error) => complaints.push_str(&format!("{}\n", engine_words(&error))),
        }
    }
    let text = match &form {
        Form::Indented => format!("{}\n", indented(&Value::Array(values))),
        Form::Compact => format!("{}\n", Value::Array(values)),
        Form::Template(template) => {
            let mut text = String::new();
            for value in &values {
                match execute(template, value) {
                    Ok(line) => text.push_str(&format!("{line}\n")),
                    Err(error) => complaints.push_str(&format!("{error}\n")),
                }
            }
            if text.is_empty() { "\n".to_owned() } else { text }
        }
    };
    context.print(&text)?;
    if complaints.is_empty() {
        return Ok(SUCCESS);
    }
    context.say_error(&complaints);
    Err(Failure::Reported { code: FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_indented_as_docker_does() {
        let value = json!([{ "Id": "x", "Empty": {}, "None": [], "List": [1] }]);
        assert_eq!(
            Form::parse("").unwrap().show(&value).unwrap(),
            "[\n    {\n        \"Id\": \"x\",\n        \"Empty\": {},\n        \"None\": [],\n        \
             \"List\": [\n            1\n        ]\n    }\n]"
        );
        assert_eq!(Form::parse("json").unwrap().show(&json!({"a": 1})).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn templates_have_two_exit_codes() {
        assert_eq!(Form::parse("{{").unwrap_err().code(), 64);
        assert_eq!(Form::parse("{{.Foo}}").unwrap().show(&json!({"a": 1})).unwrap_err().code(), 1);
    }
}
