//! Compose files that stand on others: `include` brings the services of other files, `extends` what another service says.
//!
//! Paths of a file begin where it lies; they are made to begin where the first one does.

use super::interpolate;
use crate::bake::{BakeError, BakeFile, Others};
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;

/// How many files or services may stand on each other.
const DEPTH_MAX: usize = 16;

/// What is needed to read further files.
pub(super) struct Combiner<'a> {
    pub(super) variables: &'a BTreeMap<String, String>,
    pub(super) others: Others<'a>,
}

impl Combiner<'_> {
    /// The document of a file with all that it stands on.
    pub(super) fn document(&self, file: &BakeFile) -> Result<Value, BakeError> {
        self.combined(file, 0).map(Value::Mapping)
    }

    fn combined(&self, file: &BakeFile, depth: usize) -> Result<Mapping, BakeError> {
        let fail = |reason: String| BakeError::Syntax { file: file.name.clone(), reason };
        if depth > DEPTH_MAX {
            return Err(fail("files that include each other in a circle, or too many".to_owned()));
        }
        let mut document: Value =
            serde_yaml_ng::from_str(&file.text).map_err(|error| fail(error.to_string()))?;
        document.apply_merge().map_err(|error| fail(error.to_string()))?;
        interpolate::all(&mut document, self.variables, 0).map_err(fail)?;
        let mut document = match document {
            Value::Mapping(document) => document,
            Value::Null => Mapping::new(),
            _ => return Err(fail("an object is expected".to_owned())),
        };
        self.extend_services(file, &mut document, depth)?;
        let includes = match document.remove("include") {
            Some(Value::Sequence(includes)) => includes,
            Some(Value::Null) | None => return Ok(document),
            Some(_) => return Err(fail("include: a list is expected".to_owned())),
        };
        for include in includes {
            let mut included = self.included(file, &include, depth)?;
            for section in ["services", "secrets"] {
                let mut ours = taken(file, &mut document, section)?;
                for (name, value) in taken(file, &mut included, section)? {
                    if ours.contains_key(&name) {
                        let name = name.as_str().unwrap_or_default();
                        return Err(fail(format!("{section}.{name} conflicts with imported resource")));
                    }
                    ours.insert(name, value);
                }
                document.insert(section.into(), ours.into());
            }
        }
        Ok(document)
    }

    /// What one entry of `include` brings.
    fn included(&self, file: &BakeFile, include: &Value, depth: usize) -> Result<Mapping, BakeError> {
        let fail = |reason: &str| BakeError::Syntax {
            file: file.name.clone(),
            reason: format!("include: {reason}"),
        };
        let (paths, directory) = match include {
            Value::Mapping(entry) => {
                (entry.get("path"), entry.get("project_directory").and_then(Value::as_str))
            }
            other => (Some(other), None),
        };
        let paths: Vec<&str> = match paths {
            Some(Value::String(path)) => vec![path],
            Some(Value::Sequence(paths)) => paths.iter().filter_map(Value::as_str).collect(),
            _ => return Err(fail("a path is expected")),
        };
        let mut whole = Mapping::new();
        for path in paths {
            let other = self.other(file, path)?;
            let mut document = self.combined(&other, depth + 1)?;
            let directory = directory.unwrap_or_else(|| parent(path));
            let mut services = taken(&other, &mut document, "services")?;
            services.values_mut().for_each(|service| move_paths(service, directory));
            document.insert("services".into(), services.into());
            whole = joined_objects(whole, document);
        }
        Ok(whole)
    }

    /// A file that is named in another one.
    fn other(&self, file: &BakeFile, path: &str) -> Result<BakeFile, BakeError> {
        let name = joined(parent(&file.name), path);
        match (self.others)(&name) {
            Some(text) => Ok(BakeFile { name, text }),
            None => {
                Err(BakeError::Syntax { file: file.name.clone(), reason: format!("{name} cannot be read") })
            }
        }
    }

    /// Puts what services extend below what they say themselves.
    fn extend_services(
        &self,
        file: &BakeFile,
        document: &mut Mapping,
        depth: usize,
    ) -> Result<(), BakeError> {
        let written = taken(file, document, "services")?;
        let mut services = Mapping::new();
        for (name, _) in &written {
            services.insert(name.clone(), self.extended(file, (&written, name), depth)?);
        }
        document.insert("services".into(), services.into());
        Ok(())
    }

    fn extended(
        &self,
        file: &BakeFile,
        (services, name): (&Mapping, &Value),
        depth: usize,
    ) -> Result<Value, BakeError> {
        let shown = name.as_str().unwrap_or_default();
        let fail = |reason: String| BakeError::Syntax { file: file.name.clone(), reason };
        let Some(own) = services.get(name) else {
            return Err(fail(format!("service {shown:?} is not there to be extended")));
        };
        let mut own = own.clone();
        let Some(extends) = own.as_mapping_mut().and_then(|service| service.remove("extends")) else {
            return Ok(own);
        };
        if depth > DEPTH_MAX {
            return Err(fail(format!("service {shown:?} extends itself, or too many")));
        }
        let (service, path) = match &extends {
            Value::Mapping(entry) => (entry.get("service"), entry.get("file").and_then(Value::as_str)),
            other => (Some(other), None),
        };
        let service = service.filter(|service| service.is_string());
        let service = service.ok_or_else(|| fail(format!("service {shown:?}: extends names no service")))?;
        let base = match path {
            None => self.extended(file, (services, service), depth + 1)?,
            Some(path) => {
                let other = self.other(file, path)?;
                let mut document = self.combined(&other, depth + 1)?;
                let services = taken(&other, &mut document, "services")?;
                let mut base = self.extended(&other, (&services, service), depth + 1)?;
                move_paths(&mut base, parent(path));
                base
            }
        };
        Ok(merged(base, own))
    }
}

/// Takes a part out of a document; an empty one if it is missing.
fn taken(file: &BakeFile, document: &mut Mapping, name: &str) -> Result<Mapping, BakeError> {
    match document.remove(name) {
        Some(Value::Mapping(part)) => Ok(part),
        Some(Value::Null) | None => Ok(Mapping::new()),
        Some(other) => Err(BakeError::Type {
            owner: format!("{}: {name}", file.name),
            expected: "an object",
            value: serde_json::to_string(&other).unwrap_or_default(),
        }),
    }
}

/// Makes the paths of a service's build begin above a directory.
fn move_paths(service: &mut Value, directory: &str) {
    if matches!(directory, "" | ".") {
        return;
    }
    let Some(build) = service.get_mut("build") else { return };
    if let Some(context) = build.as_str() {
        *build = Value::String(joined(directory, context));
        return;
    }
    let Some(build) = build.as_mapping_mut() else { return };
    let context = build.get("context").and_then(Value::as_str).unwrap_or(".");
    build.insert("context".into(), joined(directory, context).into());
    if let Some(Value::Mapping(named)) = build.get_mut("additional_contexts") {
        for value in named.values_mut() {
            if let Some(path) = value.as_str().filter(|path| !path.starts_with("service:")) {
                *value = Value::String(joined(directory, path));
            }
        }
    }
}

/// A path that begins in a directory.
fn joined(directory: &str, path: &str) -> String {
    let is_whole = path.starts_with('/') || path.contains("://") || path.starts_with("git@");
    if is_whole || matches!(directory, "" | ".") {
        return path.to_owned();
    }
    match path.trim_start_matches("./") {
        "" | "." => directory.to_owned(),
        path => format!("{}/{path}", directory.trim_end_matches('/')),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// One value on another: objects are joined, lists follow each other, anything else comes in the other's place.
fn merged(below: Value, above: Value) -> Value {
    match (below, above) {
        (Value::Mapping(below), Value::Mapping(above)) => joined_objects(below, above).into(),
        (Value::Sequence(below), Value::Sequence(above)) => {
            Value::Sequence(below.into_iter().chain(above).collect())
        }
        (below, Value::Null) => below,
        (_, above) => above,
    }
}

fn joined_objects(mut below: Mapping, above: Mapping) -> Mapping {
    for (name, value) in above {
        let is_build = name.as_str() == Some("build");
        let whole = |one| if is_build { as_object(one) } else { one };
        let value = match below.remove(&name) {
            Some(known) => merged(whole(known), whole(value)),
            None => value,
        };
        below.insert(name, value);
    }
    below
}

/// `build: PATH` as it would be written in full.
fn as_object(build: Value) -> Value {
    match build {
        Value::String(context) => {
            let entry = ("context".into(), Value::String(context));
            Value::Mapping([entry].into_iter().collect())
        }
        other => other,
    }
}
