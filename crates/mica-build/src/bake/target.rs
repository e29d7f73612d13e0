//! Targets: one build each.

use super::field::{self, Field, SHAPES, Shape};
use super::{BakeError, definition};
use std::collections::BTreeMap;

/// One build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The targets that it stands on top of, the first one lowest.
    pub inherits: Vec<String>,
    fields: BTreeMap<&'static str, Field>,
}

impl Target {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Sets an attribute.
    pub(super) fn set(&mut self, attribute: &str, value: &hcl::Value) -> Result<(), BakeError> {
        let owner = format!("target {}", self.name);
        let Some((name, shape)) = SHAPES.iter().find(|(known, _)| *known == attribute) else {
            let mut known: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
            known.extend(["inherits", "matrix", "name"]);
            return Err(definition::unknown(&owner, attribute, &known));
        };
        if let Some(field) = Field::from_value(*shape, value, &format!("{owner}.{name}"))? {
            self.fields.insert(name, field);
        }
        Ok(())
    }

    /// Puts another target on top: what it says wins, or comes after.
    pub(super) fn put_on_top(&mut self, other: &Self) {
        for (name, field) in &other.fields {
            let shape = field::shape(name).unwrap_or(Shape::Text);
            match self.fields.get_mut(name) {
                Some(own) => own.put_on_top(shape, field),
                None => {
                    self.fields.insert(name, field.clone());
                }
            }
        }
    }

    /// Fills in docker's defaults.
    pub(super) fn complete(&mut self) {
        self.fields.entry("context").or_insert_with(|| Field::Text(".".to_owned()));
        if !self.fields.contains_key("dockerfile-inline") {
            self.fields.entry("dockerfile").or_insert_with(|| Field::Text("Dockerfile".to_owned()));
        }
    }

    /// Makes it leave nothing but what the cache keeps.
    pub(super) fn keep_nothing(&mut self) {
        self.fields.insert("output", Field::List(vec!["type=cacheonly".to_owned()]));
    }

    /// The targets that its contexts name: `target:other`.
    pub(super) fn needs(&self) -> Vec<String> {
        let contexts = self.map("contexts").values();
        contexts.filter_map(|path| path.strip_prefix("target:")).map(str::to_owned).collect()
    }

    /// An attribute that is a text, such as `context`, `dockerfile`, `target`, `network`.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.fields.get(name) {
            Some(Field::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// An attribute that is true or false: `no-cache`, `pull`.
    pub fn truth(&self, name: &str) -> Option<bool> {
        match self.fields.get(name) {
            Some(Field::Truth(truth)) => Some(*truth),
            _ => None,
        }
    }

    /// An attribute that is a list, such as `tags`, `platforms`, `secret`, `output`; each entry as the flag takes it.
    pub fn list(&self, name: &str) -> &[String] {
        match self.fields.get(name) {
            Some(Field::List(list)) => list,
            _ => &[],
        }
    }

    /// An attribute with names: `args`, `labels`, `contexts`, `extra-hosts`.
    pub fn map(&self, name: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match self.fields.get(name) {
            Some(Field::Map(map)) => map,
            _ => &NONE,
        }
    }

    /// All that was set, by name.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.fields.iter().map(|(name, field)| (*name, field))
    }

    /// As `--print` shows it.
    pub fn document(&self) -> serde_json::Value {
        self.fields.iter().map(|(name, field)| ((*name).to_owned(), field.document())).collect()
    }
}

/// A `--set target.name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The target; `*` stands for any letters.
    target: String,
    name: String,
    /// For `args`, `labels` and their like.
    key: Option<String>,
    value: String,
    appends: bool,
}

/// Other names that `--set` knows for attributes.
const ALIASES: &[(&str, &str)] = &[
    ("platform", "platforms"),
    ("secrets", "secret"),
    ("tag", "tags"),
    ("arg", "args"),
    ("label", "labels"),
];

impl Override {
    /// Reads `target.name=value`, `target.name.key=value`, `target.name+=value`.
    ///
    /// # Errors
    /// When it does not have that form, or names an attribute that there is not.
    pub fn parse(text: &str) -> Result<Self, BakeError> {
        let wrong = || BakeError::Override { text: text.to_owned() };
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let (path, appends) = path.strip_suffix('+').map_or((path, false), |path| (path, true));
        let mut parts = path.splitn(3, '.');
        let (target, name) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(wrong)?);
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        let key = parts.next().map(str::to_owned);
        let takes_key = matches!(field::shape(name), Some(Shape::Map));
        let is_known = field::shape(name).is_some() || matches!(name, "push" | "load");
        if target.is_empty() || !is_known || takes_key != key.is_some() {
            return Err(wrong());
        }
        Ok(Self { target: target.to_owned(), name: name.to_owned(), key, value: value.to_owned(), appends })
    }

    /// Whether it is meant for a target.
    pub(super) fn is_for(&self, target: &str) -> bool {
        let mut rest = target;
        let mut parts = self.target.split('*').peekable();
        let first = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }

    /// Changes a target.
    pub(super) fn apply(&self, target: &mut Target) -> Result<(), BakeError> {
        let value = self.value.clone();
        if self.name == "push" || self.name == "load" {
            let output = if self.name == "push" { "type=registry" } else { "type=docker" };
            if value == "true" {
                target.fields.insert("output", Field::List(vec![output.to_owned()]));
            }
            return Ok(());
        }
        let value = match (field::shape(&self.name), &self.key) {
            (Some(Shape::Map), Some(key)) => {
                let mut map = target.map(&self.name).clone();
                map.insert(key.clone(), value);
                return target.set(
                    &self.name,
                    &hcl::Value::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect()),
                );
            }
            (Some(Shape::List | Shape::Appended), _) => {
                let before = if self.appends { target.list(&self.name) } else { &[] };
                let items: Vec<hcl::Value> =
                    before.iter().cloned().chain([value]).map(hcl::Value::from).collect();
                hcl::Value::Array(items)
            }
            _ => hcl::Value::String(value),
        };
        target.set(&self.name, &value)
    }
}
