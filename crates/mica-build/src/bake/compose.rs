//! Compose files: each service with a `build` is a target of its name, and `default` is all of them.

mod combine;
mod dotenv;
mod interpolate;
#[cfg(test)]
mod tests;

pub(super) use dotenv::read as read_dotenv;

use super::definition::{Attributes, Definitions};
use super::{BakeError, BakeFile, Others};
use hcl::Expression;
use hcl::expr::ObjectKey;
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;

/// What `build` of a service may hold beside what is read by itself: compose's name, and the attribute it becomes.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("additional_contexts", "contexts"),
    ("args", "args"),
    ("cache_from", "cache-from"),
    ("cache_to", "cache-to"),
    ("context", "context"),
    ("dockerfile", "dockerfile"),
    ("dockerfile_inline", "dockerfile-inline"),
    ("entitlements", "entitlements"),
    ("extra_hosts", "extra-hosts"),
    ("labels", "labels"),
    ("network", "network"),
    ("no_cache", "no-cache"),
    ("no_cache_filter", "no-cache-filter"),
    ("platforms", "platforms"),
    ("pull", "pull"),
    ("shm_size", "shm-size"),
    ("ssh", "ssh"),
    ("tags", "tags"),
    ("target", "target"),
];

/// What it may hold that a build does not need: containers' isolation on Windows, and what builders attest.
const IGNORED: &[&str] = &["isolation", "provenance", "sbom"];

/// What `x-bake` of a `build` may hold.
const EXTENSIONS: &[&str] = &[
    "cache-from",
    "cache-to",
    "contexts",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "secret",
    "ssh",
    "tags",
];

/// Attributes whose values are texts by name.
const MAPS: &[&str] = &["args", "contexts", "extra-hosts", "labels"];

/// Adds what a compose file says. Variables come from the environment.
pub(super) fn add(
    file: &BakeFile,
    (variables, others): (&BTreeMap<String, String>, Others<'_>),
    definitions: &mut Definitions,
) -> Result<(), BakeError> {
    let document = combine::Combiner { variables, others }.document(file)?;
    let reader = Reader { file, variables, document: &document };
    let mut names = Vec::new();
    for (name, service) in reader.mapping("services", document.get("services"))? {
        let Some(service) = service.as_mapping() else { continue };
        let owner = format!("service {name}");
        let Some(build) = service.get("build").filter(|build| !build.is_null()) else { continue };
        let mut attributes = reader.build(&owner, build)?;
        let has_tags = attributes.iter().any(|(key, _)| key == "tags");
        if let (false, Some(image)) = (has_tags, service.get("image").and_then(Value::as_str)) {
            attributes.push(("tags".to_owned(), Expression::Array(vec![image.into()])));
        }
        let has_platforms = attributes.iter().any(|(key, _)| key == "platforms");
        if let (false, Some(platform)) = (has_platforms, service.get("platform").and_then(Value::as_str)) {
            attributes.push(("platforms".to_owned(), Expression::Array(vec![platform.into()])));
        }
        let target = target_name(&name);
        definitions.targets.push((target.clone(), attributes));
        names.push(target);
    }
    let all = Expression::Array(names.into_iter().map(Expression::from).collect());
    definitions.groups.push(("default".to_owned(), vec![("targets".to_owned(), all)]));
    Ok(())
}

/// Dots are no letters of targets' names.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

struct Reader<'a> {
    file: &'a BakeFile,
    variables: &'a BTreeMap<String, String>,
    document: &'a Value,
}

impl Reader<'_> {
    fn wrong(&self, owner: &str, expected: &'static str, value: &Value) -> BakeError {
        let value = serde_json::to_string(value).unwrap_or_default();
        BakeError::Type { owner: format!("{}: {owner}", self.file.name), expected, value }
    }

    /// The members of an object, which may be absent.
    fn mapping(&self, owner: &str, value: Option<&Value>) -> Result<Vec<(String, Value)>, BakeError> {
        let none = Mapping::new();
        let mapping = match value {
            None | Some(Value::Null) => &none,
            Some(Value::Mapping(mapping)) => mapping,
            Some(other) => return Err(self.wrong(owner, "an object", other)),
        };
        let member = |(key, value): (&Value, &Value)| Some((scalar(key)?, value.clone()));
        Ok(mapping.iter().filter_map(member).collect())
    }

    fn build(&self, owner: &str, build: &Value) -> Result<Attributes, BakeError> {
        if let Some(context) = build.as_str() {
            return Ok(vec![("context".to_owned(), context.into())]);
        }
        let owner = format!("{owner}.build");
        let mut attributes = Attributes::new();
        let mut extensions = Attributes::new();
        for (key, value) in self.mapping(&owner, Some(build))? {
            let owner = format!("{owner}.{key}");
            if value.is_null() {
                continue;
            }
            match key.as_str() {
                "x-bake" => extensions = self.extensions(&owner, &value)?,
                "secrets" => attributes.push(("secret".to_owned(), self.secrets(&owner, &value)?)),
                "ulimits" => attributes.push(("ulimits".to_owned(), self.limits(&owner, &value)?)),
                "privileged" => {
                    if truth(&value).ok_or_else(|| self.wrong(&owner, "true or false", &value))? {
                        let right = Expression::Array(vec!["security.insecure".into()]);
                        attributes.push(("entitlements".to_owned(), right));
                    }
                }
                key if key.starts_with("x-") || IGNORED.contains(&key) => {}
                key => match ATTRIBUTES.iter().find(|(known, _)| *known == key) {
                    Some((_, name)) => attributes.push(self.attribute(&owner, name, &value)?),
                    None => {
                        let known: Vec<&str> = ATTRIBUTES.iter().map(|(known, _)| *known).collect();
                        return Err(super::definition::unknown(&owner, key, &known));
                    }
                },
            }
        }
        // What is written for bake comes in the place of what is written for compose.
        attributes.retain(|(key, _)| !extensions.iter().any(|(other, _)| other == key));
        attributes.extend(extensions);
        Ok(attributes)
    }

    fn extensions(&self, owner: &str, value: &Value) -> Result<Attributes, BakeError> {
        let mut attributes = Attributes::new();
        for (key, value) in self.mapping(owner, Some(value))? {
            let Some(name) = EXTENSIONS.iter().find(|known| **known == key) else {
                return Err(super::definition::unknown(owner, &key, EXTENSIONS));
            };
            let value = match value {
                // A single entry need not be a list.
                Value::String(_) if !matches!(*name, "no-cache" | "pull") => Value::Sequence(vec![value]),
                value => value,
            };
            attributes.push(self.attribute(&format!("{owner}.{key}"), name, &value)?);
        }
        Ok(attributes)
    }

    fn attribute(&self, owner: &str, name: &str, value: &Value) -> Result<(String, Expression), BakeError> {
        let expression = match name {
            name if MAPS.contains(&name) => self.named(owner, name, value)?,
            "ssh" => {
                let pairs = self.pairs(owner, value)?.into_iter();
                let entry = |(id, path): (String, Option<String>)| match path {
                    Some(path) => Expression::from(format!("{id}={path}")),
                    None => Expression::from(id),
                };
                Expression::Array(pairs.map(entry).collect())
            }
            "no-cache" | "pull" => {
                Expression::Bool(truth(value).ok_or_else(|| self.wrong(owner, "true or false", value))?)
            }
            _ => match value {
                Value::Sequence(items) => {
                    let items: Option<Vec<Expression>> =
                        items.iter().map(|item| scalar(item).map(Expression::from)).collect();
                    Expression::Array(items.ok_or_else(|| self.wrong(owner, "a list of texts", value))?)
                }
                value => {
                    scalar(value).map(Expression::from).ok_or_else(|| self.wrong(owner, "a text", value))?
                }
            },
        };
        Ok((name.to_owned(), expression))
    }

    /// Texts by name, from an object or from a list of `name=value`.
    fn named(&self, owner: &str, name: &str, value: &Value) -> Result<Expression, BakeError> {
        let mut members: Vec<(ObjectKey, Expression)> = Vec::new();
        for (key, value) in self.pairs(owner, value)? {
            // A bare name of an argument takes the value that it has here.
            let value = match (name, value) {
                ("args", None) => self.variables.get(&key).cloned(),
                (_, value) => Some(value.unwrap_or_default()),
            };
            let Some(value) = value else { continue };
            let value = match value.strip_prefix("service:").filter(|_| name == "contexts") {
                Some(service) => format!("target:{}", target_name(service)),
                None => value,
            };
            members.push((ObjectKey::Expression(Expression::String(key)), Expression::String(value)));
        }
        Ok(members.into_iter().collect::<hcl::expr::Object<_, _>>().into())
    }

    fn pairs(&self, owner: &str, value: &Value) -> Result<Vec<(String, Option<String>)>, BakeError> {
        let wrong = || self.wrong(owner, "an object or a list of name=value", value);
        let separators: &[char] = if owner.ends_with("extra_hosts") { &['=', ':'] } else { &['='] };
        match value {
            Value::Mapping(_) => {
                let members = self.mapping(owner, Some(value))?.into_iter();
                let member = |(key, value): (String, Value)| match &value {
                    Value::Null => Some((key, None)),
                    value => Some((key, Some(scalar(value)?))),
                };
                members.map(member).collect::<Option<_>>().ok_or_else(wrong)
            }
            Value::Sequence(items) => {
                let item = |item: &Value| {
                    let text = scalar(item)?;
                    Some(match text.split_once(separators) {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    })
                };
                items.iter().map(item).collect::<Option<_>>().ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// Names of secrets of the file, each with the file or variable that it is.
    fn secrets(&self, owner: &str, value: &Value) -> Result<Expression, BakeError> {
        let wrong = || self.wrong(owner, "a list of secrets", value);
        let mut entries = Vec::new();
        for secret in value.as_sequence().ok_or_else(wrong)? {
            let source = match secret {
                Value::String(name) => name.as_str(),
                other => other.get("source").and_then(Value::as_str).ok_or_else(wrong)?,
            };
            let id = secret.get("target").and_then(Value::as_str).unwrap_or(source);
            let defined = self.document.get("secrets").and_then(|secrets| secrets.get(source));
            let field = |name: &str| defined.and_then(|secret| secret.get(name)).and_then(Value::as_str);
            let entry = match (field("file"), field("environment")) {
                (Some(file), _) => format!("id={id},src={file}"),
                (None, Some(variable)) => format!("id={id},env={variable}"),
                (None, None) => {
                    let reason = format!("{owner}: secret {source:?} has neither a file nor a variable");
                    return Err(BakeError::Syntax { file: self.file.name.clone(), reason });
                }
            };
            entries.push(Expression::from(entry));
        }
        Ok(Expression::Array(entries))
    }

    /// `name: 5` or `name: {soft: 5, hard: 6}`.
    fn limits(&self, owner: &str, value: &Value) -> Result<Expression, BakeError> {
        let mut entries = Vec::new();
        for (name, limit) in self.mapping(owner, Some(value))? {
            let wrong = || self.wrong(owner, "a number, or an object with soft and hard", &limit);
            let part = |key: &str| limit.get(key).and_then(scalar);
            let text = match &limit {
                Value::Mapping(_) => {
                    let (soft, hard) = (part("soft"), part("hard"));
                    let soft = soft.or_else(|| hard.clone()).ok_or_else(wrong)?;
                    format!("{name}={soft}:{}", hard.unwrap_or_else(|| soft.clone()))
                }
                number => format!("{name}={}", scalar(number).ok_or_else(wrong)?),
            };
            entries.push(Expression::from(text));
        }
        Ok(Expression::Array(entries))
    }
}

/// A value that can be written as a text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
