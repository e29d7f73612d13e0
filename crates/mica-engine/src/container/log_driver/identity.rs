//! What log entries tell of their container: the tag, labels and variables that were asked for.

use super::{Options, refused};
use crate::error::Result;
use std::collections::BTreeMap;

/// A container as its log names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) image_id: &'a str,
    /// As it was given.
    pub(crate) image: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// `NAME=value` each.
    pub(crate) environment: &'a [String],
}

/// The choice that was made.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    /// The tag; for drivers that always have one, the short id where none was asked for.
    pub(super) tag: String,
    is_tag_asked_for: bool,
    /// Labels and variables.
    pub(super) attributes: BTreeMap<String, String>,
}

impl Identity {
    pub(super) fn new(options: &Options, subject: &Subject<'_>) -> Result<Self> {
        let template = options.get("tag").map_or("", String::as_str);
        let is_tag_asked_for = !template.is_empty();
        let tag = expand(if is_tag_asked_for { template } else { "{{.ID}}" }, subject)?;
        Ok(Self {
            id: subject.id.to_owned(),
            name: subject.name.to_owned(),
            image: subject.image.to_owned(),
            tag,
            is_tag_asked_for,
            attributes: attributes(options, subject)?,
        })
    }

    /// As one JSON object with its keys in order; empty when there are none.
    pub(super) fn attributes_as_json(&self) -> String {
        let mut all = self.attributes.clone();
        if self.is_tag_asked_for {
            all.insert("tag".to_owned(), self.tag.clone());
        }
        if all.is_empty() { String::new() } else { serde_json::to_string(&all).unwrap_or_default() }
    }
}

/// docker: first the names listed, then those that match.
fn attributes(options: &Options, subject: &Subject<'_>) -> Result<BTreeMap<String, String>> {
    let variables = subject.environment.iter().filter_map(|entry| entry.split_once('='));
    let labels = subject.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut chosen = BTreeMap::new();
    let sources: [(&str, &str, BTreeMap<&str, &str>); 2] =
        [("labels", "labels-regex", labels.collect()), ("env", "env-regex", variables.collect())];
    for (list, pattern, all) in sources {
        let listed = options.get(list).map_or("", String::as_str).split(',').filter(|name| !name.is_empty());
        for (name, value) in listed.filter_map(|name| all.get_key_value(name)) {
            chosen.insert((*name).to_owned(), (*value).to_owned());
        }
        let Some(pattern) = options.get(pattern).filter(|pattern| !pattern.is_empty()) else { continue };
        let pattern = regex_lite::Regex::new(pattern)
            .map_err(|error| refused(format!("error parsing regexp: {error}: `{pattern}`")))?;
        for (name, value) in all.iter().filter(|(name, _)| pattern.is_match(name)) {
            chosen.insert((*name).to_owned(), (*value).to_owned());
        }
    }
    Ok(chosen)
}

/// Fills in a tag's fields. Of Go's templates a tag knows fields alone: `{{.Name}}`.
fn expand(template: &str, subject: &Subject<'_>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) =
            after.split_once("}}").ok_or_else(|| refused("template: log-tag:1: unclosed action"))?;
        text.push_str(before);
        text.push_str(&value(field.trim(), subject)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn value(field: &str, subject: &Subject<'_>) -> Result<String> {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let bare_image_id = subject.image_id.split_once(':').map_or(subject.image_id, |(_, digits)| digits);
    let name = field.strip_prefix('.').unwrap_or(field);
    Ok(match name {
        "ID" => short(subject.id),
        "FullID" | "ContainerID" => subject.id.to_owned(),
        "Name" => subject.name.to_owned(),
        "ContainerName" => format!("/{}", subject.name),
        "ImageID" => short(bare_image_id),
        "ImageFullID" | "ContainerImageID" => subject.image_id.to_owned(),
        "ImageName" | "ContainerImageName" => subject.image.to_owned(),
        "DaemonName" => "docker".to_owned(),
        _ => {
            return Err(refused(format!(
                "template: log-tag:1:2: executing \"log-tag\" at <{field}>: can't evaluate field {name} in type *logger.Info"
            )));
        }
    })
}
