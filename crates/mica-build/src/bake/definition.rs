//! The files as blocks of expressions, before anything has a value. JSON's texts are templates, as in HCL.

use super::place::Places;
use super::{BakeError, BakeFile};
use hcl::expr::{ObjectKey, TemplateExpr};
use hcl::{Body, Expression, Structure};

/// Attributes in order.
pub(super) type Attributes = Vec<(String, Expression)>;

/// All blocks of all files, in order.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub(super) variables: Vec<VariableBlock>,
    pub(super) functions: Vec<FunctionBlock>,
    pub(super) groups: Vec<(String, Attributes)>,
    pub(super) targets: Vec<(String, Attributes)>,
    /// Where blocks and attributes are written.
    pub(super) places: Places,
}

#[derive(Debug, Default)]
pub(super) struct VariableBlock {
    pub(super) name: String,
    pub(super) default: Option<Expression>,
    pub(super) description: Option<Expression>,
    /// Conditions, each with what is said when it does not hold.
    pub(super) validations: Vec<(Expression, Option<Expression>)>,
    /// Whether the environment may set it: false for attributes outside of blocks.
    pub(super) can_be_set: bool,
}

#[derive(Debug)]
pub(super) struct FunctionBlock {
    pub(super) name: String,
    pub(super) parameters: Vec<String>,
    pub(super) variadic: Option<String>,
    pub(super) result: Expression,
}

impl Definitions {
    /// Adds what a file in HCL says.
    pub(super) fn add_hcl(&mut self, file: &BakeFile) -> Result<(), BakeError> {
        let body = hcl_body(file, &mut self.places)?;
        let added = self.add(file, body);
        added.map_err(|error| self.places.located(error))
    }

    /// Adds what a file in JSON says.
    pub(super) fn add_json(&mut self, file: &BakeFile) -> Result<(), BakeError> {
        let body = json_body(file)?;
        self.add(file, body)
    }

    fn add(&mut self, file: &BakeFile, body: Body) -> Result<(), BakeError> {
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => self.variables.push(VariableBlock {
                    name: attribute.key.to_string(),
                    default: Some(attribute.expr),
                    ..VariableBlock::default()
                }),
                Structure::Block(block) => self.block(file, block)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, file: &BakeFile, block: hcl::Block) -> Result<(), BakeError> {
        let kind = block.identifier.to_string();
        let labels: Vec<String> = block.labels.iter().map(|label| label.as_str().to_owned()).collect();
        let unexpected = || BakeError::Block { file: file.name.clone(), block: kind.clone() };
        let [name] = labels.as_slice() else { return Err(unexpected()) };
        let owner = format!("{kind} {name}");
        match kind.as_str() {
            "variable" => self.variables.push(VariableBlock::new(name, block.body, &owner)?),
            "function" => self.functions.push(FunctionBlock::new(name, block.body, &owner)?),
            "group" => self.groups.push((checked(name)?, attributes(block.body, &owner)?)),
            "target" => self.targets.push((checked(name)?, attributes(block.body, &owner)?)),
            _ => return Err(unexpected()),
        }
        Ok(())
    }
}

impl VariableBlock {
    fn new(name: &str, body: Body, owner: &str) -> Result<Self, BakeError> {
        let mut block = Self { name: name.to_owned(), can_be_set: true, ..Self::default() };
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => match attribute.key.as_str() {
                    "default" => block.default = Some(attribute.expr),
                    "description" => block.description = Some(attribute.expr),
                    // The type only restrains what the default and the conditions say anyway.
                    "type" => {}
                    other => return Err(unknown(owner, other, &["default", "description", "type"])),
                },
                Structure::Block(inner) if inner.identifier.as_str() == "validation" => {
                    let attributes = attributes(inner.body, owner)?;
                    let find = |name: &str| {
                        attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
                    };
                    let condition =
                        find("condition").ok_or_else(|| unknown(owner, "validation", &["condition"]))?;
                    block.validations.push((condition, find("error_message")));
                }
                Structure::Block(inner) => {
                    return Err(unknown(owner, inner.identifier.as_str(), &["validation"]));
                }
            }
        }
        Ok(block)
    }
}

impl FunctionBlock {
    fn new(name: &str, body: Body, owner: &str) -> Result<Self, BakeError> {
        let attributes = attributes(body, owner)?;
        let mut function =
            Self { name: name.to_owned(), parameters: Vec::new(), variadic: None, result: Expression::Null };
        for (key, value) in attributes {
            match (key.as_str(), value) {
                ("params", Expression::Array(names)) => {
                    function.parameters = names.iter().filter_map(name_of).collect()
                }
                ("variadic_param" | "variadic_params", value) => function.variadic = name_of(&value),
                ("result", value) => function.result = value,
                (other, _) => return Err(unknown(owner, other, &["params", "variadic_params", "result"])),
            }
        }
        Ok(function)
    }
}

/// A parameter, written as a name or as a text.
fn name_of(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Variable(name) => Some(name.to_string()),
        Expression::String(name) => Some(name.clone()),
        Expression::TemplateExpr(template) => match template.as_ref() {
            TemplateExpr::QuotedString(name) => Some(name.clone()),
            TemplateExpr::Heredoc(_) => None,
        },
        _ => None,
    }
}

pub(super) fn unknown(owner: &str, attribute: &str, known: &[&str]) -> BakeError {
    let suggestion = crate::dockerfile::nearest_word(attribute, known).map(str::to_owned);
    BakeError::Attribute { owner: owner.to_owned(), attribute: attribute.to_owned(), suggestion }
}

/// A name of a target or group.
pub(super) fn checked(name: &str) -> Result<String, BakeError> {
    let is_name = !name.is_empty()
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
    if is_name { Ok(name.to_owned()) } else { Err(BakeError::Name { name: name.to_owned() }) }
}

fn attributes(body: Body, owner: &str) -> Result<Attributes, BakeError> {
    let attribute = |structure| match structure {
        Structure::Attribute(attribute) => Ok((attribute.key.to_string(), attribute.expr)),
        Structure::Block(block) => Err(unknown(owner, block.identifier.as_str(), &[])),
    };
    body.into_iter().map(attribute).collect()
}

fn hcl_body(file: &BakeFile, places: &mut Places) -> Result<Body, BakeError> {
    // The parser descends into what is nested; a file is not to exhaust the stack.
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in file.text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let fail = |reason: String| BakeError::Syntax { file: file.name.clone(), reason };
    if deepest > DEPTH_LIMIT {
        return Err(fail(format!("nested deeper than {DEPTH_LIMIT}")));
    }
    let body = hcl::edit::parser::parse_body(&file.text).map_err(|error| BakeError::Place {
        file: file.name.clone(),
        line: error.location().line(),
        column: error.location().column(),
        source: Box::new(BakeError::Grammar { reason: error.message().to_owned() }),
    })?;
    places.note(file, &body);
    Ok(Body::from(body))
}

/// How deep expressions may be nested.
const DEPTH_LIMIT: usize = 100;

/// `{"target": {"name": {…}}}` as blocks; any other member is an attribute.
fn json_body(file: &BakeFile) -> Result<Body, BakeError> {
    let fail = |reason: String| BakeError::Syntax { file: file.name.clone(), reason };
    let document: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&file.text).map_err(|error| fail(error.to_string()))?;
    let mut body = Vec::new();
    for (key, value) in document {
        let is_block = matches!(key.as_str(), "variable" | "function" | "group" | "target");
        let (true, serde_json::Value::Object(blocks)) = (is_block, &value) else {
            body.push(Structure::Attribute(hcl::Attribute::new(identifier(&key), expression(&value))));
            continue;
        };
        for (name, attributes) in blocks {
            let Some(attributes) = attributes.as_object() else {
                return Err(fail(format!("{key} {name:?} is no object")));
            };
            let mut block = hcl::Block::builder(identifier(&key)).add_label(name.clone());
            for (key, value) in attributes {
                block = match (key.as_str(), value.as_object()) {
                    ("validation", Some(validation)) => {
                        let mut inner = hcl::Block::builder(identifier(key));
                        for (key, value) in validation {
                            inner = inner.add_attribute((identifier(key), expression(value)));
                        }
                        block.add_block(inner.build())
                    }
                    _ => block.add_attribute((identifier(key), expression(value))),
                };
            }
            body.push(Structure::Block(block.build()));
        }
    }
    Ok(Body::from(body))
}

fn identifier(name: &str) -> hcl::Identifier {
    hcl::Identifier::sanitized(name)
}

fn expression(value: &serde_json::Value) -> Expression {
    match value {
        serde_json::Value::String(text) => {
            Expression::TemplateExpr(Box::new(TemplateExpr::QuotedString(text.clone())))
        }
        serde_json::Value::Array(items) => Expression::Array(items.iter().map(expression).collect()),
        serde_json::Value::Object(members) => {
            let member = |(key, value): (&String, &serde_json::Value)| {
                (ObjectKey::Expression(Expression::String(key.clone())), expression(value))
            };
            Expression::Object(members.iter().map(member).collect())
        }
        serde_json::Value::Null => Expression::Null,
        serde_json::Value::Bool(truth) => Expression::Bool(*truth),
        serde_json::Value::Number(number) => {
            let whole = number.as_i64().map(hcl::Number::from);
            let number = whole.or_else(|| hcl::Number::from_f64(number.as_f64().unwrap_or_default()));
            number.map_or(Expression::Null, Expression::Number)
        }
    }
}
