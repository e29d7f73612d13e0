//! Targets, outlines and findings as the documents of `--call …,format=json`.

use super::{Outline, OutlineMount, Target};
use crate::dockerfile::{ParseError, Position, Span};
use crate::lint::Finding;
use serde_json::{Map, Value, json};

/// The targets of a file.
pub fn targets(targets: &[Target]) -> Value {
    let target = |target: &Target| {
        let mut document = Map::new();
        text(&mut document, "name", &target.name);
        if target.is_default {
            document.insert("default".to_owned(), Value::Bool(true));
        }
        text(&mut document, "description", &target.description);
        text(&mut document, "base", &target.base);
        text(&mut document, "platform", &target.platform);
        document.insert("location".to_owned(), location(target.span));
        Value::Object(document)
    };
    json!({ "targets": targets.iter().map(target).collect::<Vec<_>>() })
}

/// An outline.
pub fn outline(outline: &Outline) -> Value {
    let mut document = Map::new();
    text(&mut document, "name", &outline.name);
    text(&mut document, "description", &outline.description);
    let arguments = outline.arguments.iter().map(|argument| {
        let mut entry = Map::new();
        text(&mut entry, "name", &argument.name);
        text(&mut entry, "description", &argument.description);
        if let Some(value) = &argument.value {
            entry.insert("value".to_owned(), Value::String(value.clone()));
        }
        entry.insert("location".to_owned(), location(argument.span));
        Value::Object(entry)
    });
    list(&mut document, "args", arguments.collect());
    let mounts = |key: &str, mounts: &[OutlineMount]| -> Vec<Value> {
        mounts.iter().map(|one| mount(key, one)).collect()
    };
    list(&mut document, "secrets", mounts("name", &outline.secrets));
    list(&mut document, "ssh", mounts("name", &outline.agents));
    list(&mut document, "cache", mounts("ID", &outline.caches));
    Value::Object(document)
}

/// The findings of a check and, when the file is wrong, what is.
pub fn check(name: &str, findings: &[Finding], error: Option<&ParseError>) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "ruleName": finding.rule.name(),
            "description": finding.rule.description(),
            "url": finding.rule.url(),
            "detail": finding.message,
            "location": location(finding.instruction),
        })
    };
    let mut document = Map::new();
    document.insert("warnings".to_owned(), findings.iter().map(finding).collect());
    document.insert("sources".to_owned(), json!([{ "filename": name, "language": "Dockerfile" }]));
    if let Some(error) = error {
        let error = json!({ "message": error.to_string(), "location": location(error.span) });
        document.insert("buildError".to_owned(), error);
    }
    Value::Object(document)
}

fn mount(key: &str, mount: &OutlineMount) -> Value {
    let mut entry = Map::new();
    text(&mut entry, key, &mount.id);
    if mount.is_required {
        entry.insert("required".to_owned(), Value::Bool(true));
    }
    entry.insert("location".to_owned(), location(mount.span));
    Value::Object(entry)
}

fn text(document: &mut Map<String, Value>, key: &str, value: &str) {
    if !value.is_empty() {
        document.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn list(document: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if !values.is_empty() {
        document.insert(key.to_owned(), Value::Array(values));
    }
}

fn location(span: Span) -> Value {
    let position = |position: Position| json!({ "line": position.line, "character": position.column - 1 });
    json!({ "ranges": [{ "start": position(span.start), "end": position(span.end) }] })
}
