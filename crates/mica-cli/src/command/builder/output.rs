//! `--output`: where the result of a build goes.

use crate::context::Context;
use crate::file_output;
use crate::report::Failure;
use mica_api::types::build::{ArchivePlace, BuildOutput};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What all of `--output` together mean.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Where the result goes besides the store.
    pub(super) elsewhere: Vec<BuildOutput>,
    /// Whether it goes there only.
    pub(super) is_only_elsewhere: bool,
    /// Whether the image is sent to the registries of its names.
    pub(super) is_pushed: bool,
    /// Names that the outputs give.
    pub(super) names: Vec<String>,
}

/// Reads all of `--output`.
pub(super) fn read(typed: &[String], context: &Context<'_>) -> Result<Outputs, Failure> {
    let mut outputs = Outputs { is_only_elsewhere: !typed.is_empty(), ..Outputs::default() };
    for typed in typed {
        add(typed, &mut outputs, context)?;
    }
    Ok(outputs)
}

fn add(typed: &str, outputs: &mut Outputs, context: &Context<'_>) -> Result<(), Failure> {
    let fields = fields(typed)?;
    let field = |name: &str| fields.get(name).map(String::as_str);
    let destination = field("dest");
    let needs = |kind: &str| Failure::refused(format!("dest is required for {kind} exporter"));
    let known = ["type", "dest", "name", "push", "tar", "rewrite-timestamp", "oci-mediatypes", "compression"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::refused(format!("--output {typed}: {unknown} is not supported by mica")));
    }
    let pushes = field("push") == Some("true");
    if pushes && !matches!(field("type"), Some("image" | "registry")) {
        return Err(Failure::refused(format!("--output {typed}: only images can be pushed")));
    }
    if field("compression").is_some_and(|kind| kind != "uncompressed") {
        return Err(Failure::refused("--output: layers of archives are not compressed by mica"));
    }
    outputs.names.extend(field("name").into_iter().flat_map(|names| names.split(',')).map(str::to_owned));
    match field("type").unwrap_or_default() {
        "local" => {
            let directory = destination.ok_or_else(|| needs("local"))?;
            let directory = std::path::absolute(directory).map_err(|source| failed(directory, source))?;
            outputs.elsewhere.push(BuildOutput::Files(directory));
        }
        "tar" => {
            let place = place(destination.ok_or_else(|| needs("tar"))?, context)?;
            outputs.elsewhere.push(BuildOutput::Tar(place));
        }
        "oci" => {
            outputs.elsewhere.push(archive(destination.ok_or_else(|| needs("oci"))?, false, context)?);
        }
        "docker" => match destination {
            Some(path) => outputs.elsewhere.push(archive(path, true, context)?),
            None => outputs.is_only_elsewhere = false,
        },
        "image" | "registry" => {
            outputs.is_only_elsewhere = false;
            outputs.is_pushed |= pushes || field("type") == Some("registry") && field("push").is_none();
        }
        "cacheonly" => {}
        other => return Err(Failure::refused(format!("exporter {other:?} could not be found"))),
    }
    Ok(())
}

/// `key=value` between commas; a lone path is a directory, a lone `-` a tar archive.
fn fields(typed: &str) -> Result<BTreeMap<String, String>, Failure> {
    if !typed.contains('=') && !typed.contains(',') {
        let kind = if typed == "-" { "tar" } else { "local" };
        let pairs = [("type", kind), ("dest", typed)];
        return Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    }
    let mut fields = BTreeMap::new();
    for part in typed.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(|| {
            Failure::refused(format!("invalid value {part} for --output: expected key=value"))
        })?;
        let name = name.to_lowercase();
        let name = if name == "destination" || name == "output" { "dest".to_owned() } else { name };
        fields.insert(name, value.to_owned());
    }
    Ok(fields)
}

fn archive(path: &str, is_dockers: bool, context: &Context<'_>) -> Result<BuildOutput, Failure> {
    Ok(BuildOutput::Archive { place: place(path, context)?, is_dockers })
}

fn place(path: &str, context: &Context<'_>) -> Result<ArchivePlace, Failure> {
    if path != "-" {
        file_output::check(Path::new(path)).map_err(Failure::refused)?;
        return std::path::absolute(path).map(ArchivePlace::At).map_err(|source| failed(path, source));
    }
    if context.terminals().output {
        return Err(Failure::refused("dest file is required: the output would go to a terminal"));
    }
    let output = context.output_descriptor().try_clone_to_owned();
    output.map(|output| ArchivePlace::Open(output.into())).map_err(|source| failed("standard output", source))
}

fn failed(path: &str, source: std::io::Error) -> Failure {
    Failure::File { action: "write", path: PathBuf::from(path).display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_mean_a_directory_or_an_archive() {
        assert_eq!(fields("out").unwrap()["type"], "local");
        assert_eq!(fields("-").unwrap()["type"], "tar");
        assert_eq!(fields("type=oci,dest=x.tar").unwrap()["dest"], "x.tar");
        assert!(fields("type=oci,x").is_err());
    }
}
