//! Gives the expressions of bake files their values: variables first, then groups and targets.
//!
//! What refers to something that has no value yet is tried again when more is known, so that the order of the files
//! does not matter.

use super::definition::{Attributes, Definitions, VariableBlock, checked, unknown};
use super::field::{self, Shape};
use super::function::Functions;
use super::standard;
use super::target::Target;
use super::{Bake, BakeError, Group, Settings, Variable};
use hcl::eval::{Context, Evaluate};
use hcl::{Expression, Identifier, Value};
use std::collections::BTreeMap;

/// How many targets a matrix may make.
const MATRIX_LIMIT: usize = 10_000;

/// Gives everything its value.
pub(super) fn evaluate(definitions: Definitions, settings: &Settings) -> Result<Bake, BakeError> {
    let mut evaluator = Evaluator {
        values: BTreeMap::from([
            ("BAKE_CMD_CONTEXT".to_owned(), Value::from(settings.command_context.clone())),
            ("BAKE_LOCAL_PLATFORM".to_owned(), Value::from(settings.local_platform.clone())),
        ]),
        functions: Functions::new(definitions.functions),
    };
    let variables = evaluator.variables(definitions.variables, settings)?;
    let mut bake = Bake { variables, ..Bake::default() };
    for (name, attributes) in definitions.groups {
        let group = evaluator.group(&name, attributes)?;
        bake.groups.insert(name, group);
    }
    evaluator.targets(definitions.targets, &mut bake)?;
    Ok(bake)
}

struct Evaluator {
    values: BTreeMap<String, Value>,
    functions: Functions,
}

impl Evaluator {
    fn value(
        &self,
        expression: &Expression,
        more: &BTreeMap<String, Value>,
        owner: &str,
    ) -> Result<Value, BakeError> {
        let fail = |reason: String| BakeError::Expression { owner: owner.to_owned(), reason };
        let expression = self.functions.inline(expression).map_err(fail)?;
        let mut context = Context::new();
        standard::declare(&mut context);
        for (name, value) in self.values.iter().chain(more) {
            context.declare_var(Identifier::sanitized(name), value.clone());
        }
        expression.evaluate(&context).map_err(|error| fail(error.to_string()))
    }

    fn variables(
        &mut self,
        blocks: Vec<VariableBlock>,
        settings: &Settings,
    ) -> Result<Vec<Variable>, BakeError> {
        let blocks = merged(blocks);
        let none = BTreeMap::new();
        let mut open: Vec<&VariableBlock> = blocks.iter().collect();
        loop {
            let before = open.len();
            let mut last_error = None;
            let mut still_open = Vec::new();
            for block in open {
                let owner = format!("variable {}", block.name);
                let default =
                    block.default.as_ref().map_or(Ok(Value::Null), |value| self.value(value, &none, &owner));
                match default.and_then(|default| given(block, default, settings)) {
                    Ok(value) => {
                        self.values.insert(block.name.clone(), value);
                    }
                    Err(error) => {
                        last_error.get_or_insert(error);
                        still_open.push(block);
                    }
                }
            }
            match last_error {
                None => break,
                Some(error) if still_open.len() == before => return Err(error),
                Some(_) => open = still_open,
            }
        }
        blocks.iter().try_for_each(|block| self.validate(block))?;
        blocks.iter().filter(|block| block.can_be_set).map(|block| self.described(block)).collect()
    }

    fn validate(&self, block: &VariableBlock) -> Result<(), BakeError> {
        let owner = format!("variable {}", block.name);
        for (condition, message) in &block.validations {
            if self.value(condition, &BTreeMap::new(), &owner)? == Value::Bool(true) {
                continue;
            }
            let message =
                message.as_ref().map(|message| self.value(message, &BTreeMap::new(), &owner)).transpose()?;
            let reason = message.as_ref().and_then(field::text);
            let reason = reason.unwrap_or_else(|| "the value is refused by its validation".to_owned());
            return Err(BakeError::Validation { name: block.name.clone(), reason });
        }
        Ok(())
    }

    fn described(&self, block: &VariableBlock) -> Result<Variable, BakeError> {
        let owner = format!("variable {}", block.name);
        let description = match &block.description {
            Some(description) => self.value(description, &BTreeMap::new(), &owner)?,
            None => Value::Null,
        };
        let value = self.values.get(&block.name).filter(|value| !value.is_null());
        let shown = |value: &Value| {
            field::text(value).unwrap_or_else(|| serde_json::to_string(value).unwrap_or_default())
        };
        Ok(Variable {
            name: block.name.clone(),
            description: field::text(&description).unwrap_or_default(),
            value: value.map(shown),
        })
    }

    fn group(&self, name: &str, attributes: Attributes) -> Result<Group, BakeError> {
        let owner = format!("group {name}");
        let mut group = Group::default();
        for (key, expression) in attributes {
            let value = self.value(&expression, &BTreeMap::new(), &owner)?;
            match key.as_str() {
                "targets" => group.targets = texts(&value, &owner)?,
                "description" => group.description = field::text(&value).unwrap_or_default(),
                _ => return Err(unknown(&owner, &key, &["targets", "description"])),
            }
        }
        Ok(group)
    }

    /// Targets may refer to each other's attributes: those that fail are tried again with what the others are.
    fn targets(&mut self, blocks: Vec<(String, Attributes)>, bake: &mut Bake) -> Result<(), BakeError> {
        let mut by_name: BTreeMap<String, Vec<Attributes>> = BTreeMap::new();
        for (name, attributes) in blocks {
            by_name.entry(name).or_default().push(attributes);
        }
        loop {
            let mut failed = Vec::new();
            let before = by_name.len();
            by_name.retain(|name, blocks| match self.target(name, blocks) {
                Ok(targets) => {
                    bake.take(name, targets);
                    false
                }
                Err(error) => {
                    failed.push((name.clone(), error));
                    true
                }
            });
            if failed.is_empty() {
                return Ok(());
            }
            if failed.len() == before && self.values.contains_key("target") {
                bake.targets.extend(failed.into_iter().map(|(name, error)| (name, Err(error))));
                return Ok(());
            }
            self.values.insert("target".to_owned(), bake.known_targets());
        }
    }

    /// One target, or those of its matrix.
    fn target(&self, name: &str, blocks: &[Attributes]) -> Result<Vec<Target>, BakeError> {
        let owner = format!("target {name}");
        let last =
            |wanted: &str| blocks.iter().flatten().rfind(|(key, _)| key == wanted).map(|(_, value)| value);
        let Some(matrix) = last("matrix") else {
            return Ok(vec![self.one_target(name, blocks, &BTreeMap::new())?]);
        };
        let title = last("name").ok_or_else(|| BakeError::MatrixWithoutName { target: name.to_owned() })?;
        let matrix = self.value(matrix, &BTreeMap::new(), &owner)?;
        let mut targets: Vec<Target> = Vec::new();
        for combination in combinations(&matrix, &owner)? {
            let title = self.value(title, &combination, &owner)?;
            let title = checked(&field::text(&title).unwrap_or_default())?;
            if targets.iter().any(|known| known.name == title) {
                return Err(BakeError::MatrixName { target: name.to_owned(), name: title });
            }
            targets.push(self.one_target(&title, blocks, &combination)?);
        }
        Ok(targets)
    }

    fn one_target(
        &self,
        name: &str,
        blocks: &[Attributes],
        more: &BTreeMap<String, Value>,
    ) -> Result<Target, BakeError> {
        let mut target = Target::new(name);
        for block in blocks {
            let mut layer = Target::new(name);
            for (key, expression) in block.iter().filter(|(key, _)| key != "matrix" && key != "name") {
                let owner = format!("target {name}.{key}");
                let value = self.value(expression, more, &owner)?;
                if key == "inherits" {
                    target.inherits = texts(&value, &owner)?;
                } else {
                    layer.set(key, &value)?;
                }
            }
            target.put_on_top(&layer);
        }
        Ok(target)
    }
}

impl Bake {
    /// Takes the targets of one block; those of a matrix are a group of the block's name.
    fn take(&mut self, name: &str, targets: Vec<Target>) {
        let is_matrix = targets.len() != 1 || targets.first().is_some_and(|target| target.name != name);
        if is_matrix {
            let targets = targets.iter().map(|target| target.name.clone()).collect();
            self.groups.insert(name.to_owned(), Group { description: String::new(), targets });
        }
        self.targets.extend(targets.into_iter().map(|target| (target.name.clone(), Ok(target))));
    }

    /// The attributes of the targets, for expressions such as `target.base.tags`.
    fn known_targets(&self) -> Value {
        let known = self.targets.iter().filter_map(|(name, target)| Some((name, target.as_ref().ok()?)));
        let object = known.map(|(name, target)| (name.clone(), from_json(&target.document())));
        Value::Object(object.collect())
    }
}

pub(super) fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => {
            let whole = number.as_i64().map(hcl::Number::from);
            let number = whole.or_else(|| hcl::Number::from_f64(number.as_f64().unwrap_or_default()));
            number.map_or(Value::Null, Value::Number)
        }
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(from_json).collect()),
        serde_json::Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), from_json(value))).collect())
        }
    }
}

/// One block for each name: what a later one says wins.
fn merged(blocks: Vec<VariableBlock>) -> Vec<VariableBlock> {
    let mut merged: Vec<VariableBlock> = Vec::new();
    for block in blocks {
        match merged.iter_mut().find(|known| known.name == block.name) {
            Some(known) => {
                known.default = block.default.or_else(|| known.default.take());
                known.description = block.description.or_else(|| known.description.take());
                known.validations.extend(block.validations);
            }
            None => merged.push(block),
        }
    }
    merged
}

/// The value of a variable: what was given for it, as the type of its default, or the default.
fn given(block: &VariableBlock, default: Value, settings: &Settings) -> Result<Value, BakeError> {
    let Some(text) = settings.variables.get(&block.name).filter(|_| block.can_be_set) else {
        return Ok(default);
    };
    let wrong = |expected: &'static str| BakeError::Type {
        owner: format!("variable {}", block.name),
        expected,
        value: text.clone(),
    };
    match default {
        Value::Bool(_) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" => Ok(Value::Bool(true)),
            "false" | "0" | "f" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Value::Number(_) => {
            let whole = text.parse::<i64>().ok().map(hcl::Number::from);
            let number = whole.or_else(|| text.parse().ok().and_then(hcl::Number::from_f64));
            number.map(Value::Number).ok_or_else(|| wrong("a number"))
        }
        Value::Array(_) if !text.starts_with('[') => {
            Ok(Value::Array(text.split(',').map(|item| Value::from(item.trim())).collect()))
        }
        Value::Array(_) | Value::Object(_) => {
            let value: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong("JSON"))?;
            Ok(from_json(&value))
        }
        _ => Ok(Value::String(text.clone())),
    }
}

fn texts(value: &Value, owner: &str) -> Result<Vec<String>, BakeError> {
    match field::Field::from_value(Shape::List, value, owner)? {
        Some(field::Field::List(list)) => Ok(list),
        _ => Ok(Vec::new()),
    }
}

/// Every way to choose one value of each list.
fn combinations(matrix: &Value, owner: &str) -> Result<Vec<BTreeMap<String, Value>>, BakeError> {
    let wrong = || BakeError::Type {
        owner: format!("{owner}.matrix"),
        expected: "an object of lists",
        value: serde_json::to_string(matrix).unwrap_or_default(),
    };
    let mut found = vec![BTreeMap::new()];
    for (name, values) in matrix.as_object().ok_or_else(wrong)? {
        let values = values.as_array().ok_or_else(wrong)?;
        if found.len().saturating_mul(values.len()) > MATRIX_LIMIT {
            return Err(wrong());
        }
        let with = |chosen: &BTreeMap<String, Value>, value: &Value| {
            let mut chosen = chosen.clone();
            chosen.insert(name.clone(), value.clone());
            chosen
        };
        found = found.iter().flat_map(|chosen| values.iter().map(move |value| with(chosen, value))).collect();
    }
    Ok(found)
}
