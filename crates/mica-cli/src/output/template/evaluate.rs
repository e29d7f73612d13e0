//! Walks the tree of a template and writes its text.

use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipeline, Place};
use super::value::{Nature, omitted, type_name, written_name};
use super::{Missing, Mode, Template, TemplateError, Value, function, printf};
use serde_json::Value as Json;

/// How deep actions and templates may call one another.
const DEPTH_MAX: usize = 200;

/// What is written for a key that a map does not have.
const NO_VALUE: &str = "<no value>";

/// Whether to go on after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

type Evaluated<T> = Result<T, TemplateError>;

/// The state of one execution.
pub(super) struct Evaluator<'t, 'a> {
    template: &'t Template,
    mode: Mode,
    /// The name of the definition being executed, for messages.
    name: String,
    variables: Vec<(String, Value<'a>)>,
    depth: usize,
    text: String,
}

impl<'t, 'a> Evaluator<'t, 'a> {
    pub(super) fn new(template: &'t Template, mode: Mode, root: &Value<'a>) -> Self {
        let variables = vec![("$".to_owned(), root.clone())];
        Self { template, mode, name: template.name.clone(), variables, depth: 0, text: String::new() }
    }

    pub(super) fn run(mut self, root: &Value<'a>) -> Evaluated<String> {
        let template = self.template;
        self.nodes(&template.main, root)?;
        Ok(self.text)
    }

    fn fail<T>(&self, place: Place, reason: impl Into<String>) -> Evaluated<T> {
        Err(self.template.execute_error(&self.name, place, reason.into()))
    }

    fn nodes(&mut self, nodes: &'t [Node], dot: &Value<'a>) -> Evaluated<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'t Node, dot: &Value<'a>) -> Evaluated<Flow> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.write(&value);
                }
            }
            Node::Branch { kind, pipeline, then, otherwise } => {
                let mark = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let flow = match kind {
                    Branch::Range => self.range(node, &value, dot),
                    _ if !value.is_true() => self.nodes(otherwise, dot),
                    Branch::If => self.nodes(then, dot),
                    Branch::With => self.nodes(then, &value),
                };
                self.variables.truncate(mark);
                return flow;
            }
            Node::Template { name, argument, place } => {
                self.call_template(name, argument.as_ref(), *place, dot)?
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn write(&mut self, value: &Value<'a>) {
        let json = value.json();
        let text = match value {
            _ if !json.is_null() => &printf::plain(&json),
            Value::Missing => NO_VALUE,
            _ if self.mode.missing() == Missing::NoValue => NO_VALUE,
            Value::Data { nature: Nature::Map, .. } => "map[]",
            Value::Data { nature: Nature::Plain, .. } => "[]",
            _ => "<nil>",
        };
        self.text.push_str(text);
    }

    fn call_template(
        &mut self,
        name: &str,
        argument: Option<&'t Pipeline>,
        place: Place,
        dot: &Value<'a>,
    ) -> Evaluated<()> {
        let template = self.template;
        let Some(nodes) = template.definitions.get(name) else {
            return self.fail(place, format!("template {name:?} not defined"));
        };
        if self.depth >= DEPTH_MAX {
            return self.fail(place, format!("exceeded maximum template depth ({DEPTH_MAX})"));
        }
        let dot = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        let outside = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name.to_owned());
        self.depth += 1;
        self.nodes(nodes, &dot)?;
        self.depth -= 1;
        self.name = outer_name;
        self.variables = outside;
        Ok(())
    }

    fn range(&mut self, node: &'t Node, value: &Value<'a>, dot: &Value<'a>) -> Evaluated<Flow> {
        let Node::Branch { pipeline, then, otherwise, .. } = node else { return Ok(Flow::On) };
        let json = value.json().into_owned();
        let count = match &json {
            Json::Null => 0,
            Json::Array(items) => items.len(),
            Json::Object(map) => map.len(),
            Json::Number(number) if !number.is_f64() => {
                number.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
            }
            other => {
                let place = pipeline.commands[0].operands[0].place;
                return self.fail(place, format!("range can't iterate over {}", printf::plain(other)));
            }
        };
        if count == 0 {
            return self.nodes(otherwise, dot);
        }
        let mut keys: Vec<&String> = json.as_object().map(|map| map.keys().collect()).unwrap_or_default();
        keys.sort();
        let mark = self.variables.len();
        for index in 0..count {
            let key = keys.get(index).map_or_else(|| Json::from(index), |key| Json::from(key.as_str()));
            let item = match &json {
                Json::Number(_) => Value::from(Json::from(index)),
                Json::Object(_) => {
                    value.child(|json| json.get(keys.get(index)?), "").unwrap_or(Value::Missing)
                }
                _ => value.child(|json| json.get(index), "").unwrap_or(Value::Missing),
            };
            self.bind_item(pipeline, key, &item);
            let flow = self.nodes(then, &item)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn bind_item(&mut self, pipeline: &Pipeline, key: Json, item: &Value<'a>) {
        let values = match pipeline.variables.len() {
            1 => vec![item.clone()],
            _ => vec![key.into(), item.clone()],
        };
        for (name, value) in pipeline.variables.iter().zip(values) {
            self.bind(name, value, pipeline.assigns);
        }
    }

    fn bind(&mut self, name: &str, value: Value<'a>, assigns: bool) {
        let existing = self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name);
        match existing {
            Some((_, variable)) => *variable = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: &Value<'a>) -> Evaluated<Value<'a>> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipeline.variables {
            self.bind(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &'t Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Evaluated<Value<'a>> {
        let Some((first, arguments)) = command.operands.split_first() else {
            return self.fail(command.place, "empty command");
        };
        match &first.kind {
            OperandKind::Function(name) => return self.function(name, command, dot, last),
            OperandKind::Nil if last.is_none() => return self.fail(first.place, "nil is not a command"),
            OperandKind::Field(path) if last.is_some() || !arguments.is_empty() => {
                return self.method(path, command, dot, last);
            }
            _ => {}
        }
        if last.is_some() || !arguments.is_empty() {
            let shown = self.template.cite(first.place);
            return self.fail(first.place, format!("can't give argument to non-function {shown}"));
        }
        self.operand(first, dot)
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Value<'a>) -> Evaluated<Value<'a>> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Json::Null.into()),
            OperandKind::Literal(json) => Ok(json.clone().into()),
            OperandKind::Field(path) => self.path(dot.clone(), path, operand.place),
            OperandKind::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map_or(Value::Missing, |(_, value)| value.clone());
                self.path(value, path, operand.place)
            }
            OperandKind::Function(name) => self.apply(name, operand.place, operand.place, Vec::new()),
            OperandKind::Nested(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                self.path(value, path, operand.place)
            }
        }
    }

    fn path(&self, mut value: Value<'a>, path: &[String], place: Place) -> Evaluated<Value<'a>> {
        for (index, name) in path.iter().enumerate() {
            let field = self.field(&value, name, place);
            let is_last = index + 1 == path.len();
            // Only the last name may stand for something left out, nothing has no fields; but an empty map has.
            value = match (field, omitted(written_name(name).unwrap_or(name))) {
                (Err(_), Some(empty)) if (is_last || empty.is_object()) && value.is_document() => {
                    empty.into()
                }
                (field, _) => field?,
            };
        }
        Ok(value)
    }

    fn field(&self, value: &Value<'a>, name: &str, place: Place) -> Evaluated<Value<'a>> {
        let lost = || format!("can't evaluate field {name} in type {}", value.type_name());
        match value {
            Value::Missing => Ok(Value::Missing),
            Value::Object(object) => match object.field(name) {
                Some(json) => Ok(json.into()),
                None => self.fail(place, lost()),
            },
            _ => match &*value.json() {
                Json::Object(_) => match named(value, name) {
                    Some(child) => Ok(child),
                    None if self.mode.missing() == Missing::NoValue || value.is_free() => Ok(Value::Missing),
                    None => self.fail(place, format!("map has no entry for key {name:?}")),
                },
                Json::Null if self.mode.missing() == Missing::NoValue || value.is_free() => {
                    Ok(Value::Missing)
                }
                Json::Null => self.fail(place, format!("nil pointer evaluating interface {{}}.{name}")),
                _ => self.fail(place, lost()),
            },
        }
    }

    fn method(
        &mut self,
        path: &[String],
        command: &'t Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Evaluated<Value<'a>> {
        let place = command.operands[0].place;
        let mut arguments = Vec::new();
        for operand in &command.operands[1..] {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        let name = path.last().map(String::as_str).unwrap_or_default();
        let holder = self.path(dot.clone(), &path[..path.len() - 1], place)?;
        if let (Value::Object(object), [argument]) = (&holder, &*arguments)
            && let Some(value) = argument.json().as_str().and_then(|argument| object.method(name, argument))
        {
            return Ok(value.into());
        }
        self.field(&holder, name, place)?;
        self.fail(place, format!("{name} has arguments but cannot be invoked as function"))
    }

    fn function(
        &mut self,
        name: &str,
        command: &'t Command,
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Evaluated<Value<'a>> {
        let operands = &command.operands[1..];
        let place = command.operands[0].place;
        if let Some(reason) = function::wrong_count(name, operands.len() + usize::from(last.is_some())) {
            return self.fail(place, reason);
        }
        let stops_at = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut arguments = Vec::new();
        for (index, operand) in operands.iter().enumerate() {
            let value = self.operand(operand, dot)?;
            if Some(value.is_true()) == stops_at {
                return Ok(value);
            }
            self.check_type(name, index, &value, operand)?;
            arguments.push(value);
        }
        if let Some(last) = last {
            self.check_last_type(name, arguments.len(), &last, place)?;
            arguments.push(last);
        }
        if stops_at.is_some() {
            return Ok(arguments.pop().unwrap_or(Value::Missing));
        }
        self.apply(name, place, command.place, arguments)
    }

    fn check_type(&self, name: &str, index: usize, value: &Value<'a>, operand: &Operand) -> Evaluated<()> {
        let Some(wanted) = function::argument_type(name, index).filter(|_| self.mode != Mode::Heading) else {
            return Ok(());
        };
        let json = value.json();
        if function::is_of_type(&json, wanted) {
            return Ok(());
        }
        if matches!(operand.kind, OperandKind::Literal(_)) && wanted != "[]string" {
            let expected = if wanted == "int" { "integer" } else { wanted };
            let found = self.template.cite(operand.place);
            return self.fail(operand.place, format!("expected {expected}; found {found}"));
        }
        self.fail(operand.place, wrong_type(wanted, value))
    }

    fn check_last_type(&self, name: &str, index: usize, value: &Value<'a>, place: Place) -> Evaluated<()> {
        match function::argument_type(name, index).filter(|_| self.mode != Mode::Heading) {
            Some(wanted) if !function::is_of_type(&value.json(), wanted) => {
                self.fail(place, wrong_type(wanted, value))
            }
            _ => Ok(()),
        }
    }

    fn apply(
        &self,
        name: &str,
        place: Place,
        whole: Place,
        arguments: Vec<Value<'a>>,
    ) -> Evaluated<Value<'a>> {
        if let Some(reason) = function::wrong_count(name, arguments.len()) {
            return self.fail(place, reason);
        }
        let result = if name == "index" {
            index(arguments)
        } else {
            let arguments: Vec<Json> =
                arguments.iter().map(|argument| argument.json().into_owned()).collect();
            let kept =
                (self.mode == Mode::Heading).then(|| function::call_in_heading(name, &arguments)).flatten();
            kept.map_or_else(|| function::call(name, &arguments), Ok).map(Value::from)
        };
        result.or_else(|reason| self.fail(whole, format!("error calling {name}: {reason}")))
    }
}

fn wrong_type(wanted: &str, value: &Value<'_>) -> String {
    match value {
        Value::Missing => format!("invalid value; expected {wanted}"),
        value => format!("wrong type for value; expected {wanted}; got {}", value.type_name()),
    }
}

/// `index`: elements of elements; what a map does not have is the zero of its values.
fn index<'a>(arguments: Vec<Value<'a>>) -> Result<Value<'a>, String> {
    let mut arguments = arguments.into_iter();
    let mut value = arguments.next().unwrap_or(Value::Missing);
    for key in arguments {
        let key = key.json().into_owned();
        let next = match (&*value.json(), &key) {
            (Json::Object(map), Json::String(name)) => {
                // A map of labels answers with an empty string, one of documents with nothing.
                let texts = map.values().all(Json::is_string) && value.is_free();
                let zero = if texts { Value::from(Json::from("")) } else { Value::Missing };
                value.child(|json| json.get(name), name).unwrap_or(zero)
            }
            (Json::Null, Json::String(_)) if value.is_free() => Value::from(Json::from("")),
            (Json::Null, _) if matches!(value, Value::Missing) => Value::Missing,
            (Json::Null, _) => return Err("index of untyped nil".to_owned()),
            (Json::Object(_), key) => {
                return Err(format!("value has type {}; should be string", type_name(key)));
            }
            (Json::Array(_) | Json::String(_), key) if key.is_i64() || key.is_u64() => {
                let position = key.as_u64().and_then(|position| usize::try_from(position).ok());
                let found = position.and_then(|position| element(&value, position));
                found.ok_or_else(|| format!("index out of range: {key}"))?
            }
            (Json::Array(_) | Json::String(_), key) => {
                return Err(format!("cannot index slice/array with type {}", type_name(key)));
            }
            (other, _) => return Err(format!("can't index item of type {}", type_name(other))),
        };
        value = next;
    }
    Ok(value)
}

fn element<'a>(value: &Value<'a>, position: usize) -> Option<Value<'a>> {
    if let Json::String(text) = &*value.json() {
        return text.as_bytes().get(position).map(|byte| Json::from(*byte).into());
    }
    value.child(|json| json.get(position), "")
}

/// A field of a document; one of a structure also by the name that docker's own programs have for it.
fn named<'a>(value: &Value<'a>, name: &str) -> Option<Value<'a>> {
    let field = |name: &str| value.child(|json| json.get(name), name);
    field(name).or_else(|| written_name(name).filter(|_| !value.is_free()).and_then(field))
}
