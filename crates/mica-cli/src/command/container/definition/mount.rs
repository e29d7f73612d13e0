//! `--mount`: a record of comma-separated values, each a `key=value`, read as docker's client reads it.

use crate::args::{ValueError, parse_bool};
use mica_api::types::mount::{BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};
use mica_model::size;
use std::path::Path;

/// Reads one `--mount`; a source that begins with a dot is relative to `here`.
///
/// # Errors
/// It is no record, or a key or value makes no sense.
pub fn parse(typed: &str, here: &Path) -> Result<Mount, ValueError> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(error("value is empty"));
    }
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in record(typed)? {
        set(&mut mount, &field, here)?;
    }
    check(&mount)?;
    Ok(mount)
}

fn error(message: impl Into<String>) -> ValueError {
    ValueError { message: message.into() }
}

/// The fields of the first line (RFC 4180).
fn record(line: &str) -> Result<Vec<String>, ValueError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, line)?,
            None => plain_field(rest, line)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// Up to a comma; `None` as the rest at the end of the line.
fn plain_field<'a>(text: &'a str, line: &str) -> Result<(String, Option<&'a str>), ValueError> {
    let end = text.find([',', '\n']).unwrap_or(text.len());
    let field = &text[..end];
    if let Some(quote) = field.find('"') {
        return Err(place(line, &text[quote..], "bare \" in non-quoted field"));
    }
    let after = text[end..].strip_prefix(',');
    Ok((field.trim_end_matches('\r').to_owned(), after))
}

/// Up to the closing quote; two of them stand for one.
fn quoted_field<'a>(text: &'a str, line: &str) -> Result<(String, Option<&'a str>), ValueError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err(place(line, "", "extraneous or missing \" in quoted-field"));
        };
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if after.is_empty() || after.starts_with('\n') => return Ok((field, None)),
            None => {
                let wrong = || place(line, after, "extraneous or missing \" in quoted-field");
                return after.strip_prefix(',').map(|after| (field, Some(after))).ok_or_else(wrong);
            }
        }
    }
}

fn place(line: &str, rest: &str, problem: &str) -> ValueError {
    error(format!("parse error on line 1, column {}: {problem}", line.len() - rest.len() + 1))
}

fn set(mount: &mut Mount, field: &str, here: &Path) -> Result<(), ValueError> {
    let (typed_key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
    if typed_key.trim() != typed_key {
        return Err(error(format!(
            "invalid option '{typed_key}' in '{field}': option should not have whitespace"
        )));
    }
    match value {
        Some(value) if value.trim().is_empty() => {
            return Err(error(format!("invalid value for '{typed_key}': value is empty")));
        }
        Some(value) if value.trim() != value => {
            return Err(error(format!(
                "invalid value for '{typed_key}' in '{field}': value should not have whitespace"
            )));
        }
        _ => {}
    }
    let key = typed_key.to_lowercase();
    let switched = || switch(&key, value);
    match key.as_str() {
        "readonly" | "ro" => mount.read_only = switched()?,
        "volume-nocopy" => volume(mount).no_copy = switched()?,
        "bind-nonrecursive" => bind(mount).non_recursive = switched()?,
        "bind-create-src" => bind(mount).create_mountpoint = switched()?,
        _ => {
            let value =
                value.ok_or_else(|| error(format!("invalid field '{field}' must be a key=value pair")))?;
            return set_value(mount, (&key, value), field, here);
        }
    }
    Ok(())
}

/// A switch; without a value it is on.
fn switch(key: &str, value: Option<&str>) -> Result<bool, ValueError> {
    let value = value.unwrap_or("true");
    parse_bool(value).map_err(|_| error(format!("invalid value for '{key}': invalid boolean value: {value}")))
}

fn set_value(
    mount: &mut Mount,
    (key, value): (&str, &str),
    field: &str,
    here: &Path,
) -> Result<(), ValueError> {
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = absolute(value, here),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-recursive" => set_recursion(bind(mount), value)?,
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-label" => {
            let (name, text) = pair(value);
            volume(mount).labels.get_or_insert_default().insert(name, text);
        }
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => {
            let (name, text) = pair(value);
            driver(mount).options.get_or_insert_default().insert(name, text);
        }
        "image-subpath" => {
            let options: &mut ImageOptions = mount.image_options.get_or_insert_default();
            value.clone_into(&mut options.subpath);
        }
        "tmpfs-size" => {
            let bytes =
                size::parse_binary(value).map_err(|_| error(format!("invalid value for {key}: {value}")))?;
            memory(mount).size_bytes = bytes;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .map_err(|_| error(format!("invalid value for {key}: {value}")))?;
            memory(mount).mode = mode;
        }
        _ => return Err(error(format!("unexpected key '{key}' in '{field}'"))),
    }
    Ok(())
}

fn set_recursion(options: &mut BindOptions, value: &str) -> Result<(), ValueError> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = true,
        "writable" => options.read_only_non_recursive = true,
        "readonly" => options.read_only_force_recursive = true,
        _ => {
            return Err(error(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            )));
        }
    }
    Ok(())
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut Mount) -> &mut VolumeDriver {
    volume(mount).driver_config.get_or_insert_default()
}

fn memory(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

/// A source that begins with a dot is a path from here.
fn absolute(source: &str, here: &Path) -> String {
    if source != "." && !source.starts_with("./") && source != ".." && !source.starts_with("../") {
        return source.to_owned();
    }
    cleaned(&here.join(source))
}

/// A path without `.` and `..`, links not being asked.
pub(super) fn cleaned(path: &Path) -> String {
    let mut clean = std::path::PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

/// Options of one type do not go with another, and some ask for others.
fn check(mount: &Mount) -> Result<(), ValueError> {
    for (present, owner) in [
        (mount.volume_options.is_some(), "volume"),
        (mount.bind_options.is_some(), "bind"),
        (mount.image_options.is_some(), "image"),
        (mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if present && owner != mount.kind {
            return Err(error(format!("cannot mix '{owner}-*' options with mount type '{}'", mount.kind)));
        }
    }
    let Some(bind) = &mount.bind_options else { return Ok(()) };
    let asks_for = |value: &str, other: &str| {
        error(format!("option 'bind-recursive={value}' requires '{other}' to be specified in conjunction"))
    };
    if bind.read_only_non_recursive && !mount.read_only {
        return Err(asks_for("writable", "readonly"));
    }
    if bind.read_only_force_recursive && !mount.read_only {
        return Err(asks_for("readonly", "readonly"));
    }
    if bind.read_only_force_recursive && bind.propagation != "rprivate" {
        return Err(asks_for("readonly", "bind-propagation=rprivate"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
