//! What a target asks of a build: the flags of `build` that say the same.

use crate::args::Matches;
use crate::command::builder::build;
use crate::context::Context;
use crate::dispatch;
use crate::report::Failure;
use mica_api::types::bake::BakeTarget;
use mica_api::types::build::{BuildFile, BuildRequest};
use mica_model::RemoteSource;
use std::path::Path;

/// Attributes that are texts or lists, and the flags that they are.
const FLAGS: &[(&str, &str)] = &[
    ("annotations", "annotation"),
    ("attest", "attest"),
    ("cache-from", "cache-from"),
    ("cache-to", "cache-to"),
    ("entitlements", "allow"),
    ("network", "network"),
    ("no-cache-filter", "no-cache-filter"),
    ("output", "output"),
    ("secret", "secret"),
    ("shm-size", "shm-size"),
    ("ssh", "ssh"),
    ("tags", "tag"),
    ("target", "target"),
    ("ulimits", "ulimit"),
];

/// Before a context that is another target's result.
const RESULT: &str = "target:";

/// How a command line of `build` becomes a request.
pub(super) type Read<'a> = fn(&Matches, &Context<'_>) -> Result<BuildRequest<'a>, Failure>;

/// The build that a target asks for.
pub(super) fn request<'a>(
    target: &BakeTarget,
    read: Read<'a>,
    context: &Context<'_>,
) -> Result<BuildRequest<'a>, Failure> {
    let matches =
        dispatch::parse(&build::COMMAND, &arguments(target)).map_err(|failure| named(target, &failure))?;
    dispatch::refuse_planned(&build::COMMAND, &matches)?;
    let mut request = read(&matches, context)?;
    let results = target.map("contexts").into_iter().filter(|(_, value)| value.starts_with(RESULT));
    request.contexts.extend(results.map(|(name, value)| (name.to_lowercase(), value.to_owned())));
    if let Some(text) = target.text("dockerfile-inline") {
        let name = "Dockerfile".to_owned();
        request.dockerfile = Some(BuildFile::Text { name, text: text.to_owned() });
    }
    Ok(request)
}

fn named(target: &BakeTarget, failure: &Failure) -> Failure {
    Failure::refused(format!("target {}: {failure}", target.name))
}

/// The command line of a build that does the same.
fn arguments(target: &BakeTarget) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut flag = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
    for (attribute, name) in FLAGS {
        target.text(attribute).into_iter().chain(target.list(attribute)).for_each(|value| flag(name, value));
    }
    for (name, value) in target.map("args") {
        flag("build-arg", &format!("{name}={value}"));
    }
    for (name, value) in target.map("labels") {
        flag("label", &format!("{name}={value}"));
    }
    for (name, value) in target.map("extra-hosts") {
        flag("add-host", &format!("{name}={value}"));
    }
    for (name, value) in target.map("contexts").into_iter().filter(|(_, value)| !value.starts_with(RESULT)) {
        flag("build-context", &format!("{name}={}", here(value)));
    }
    for name in ["no-cache", "pull"] {
        if target.is_on(name) {
            flag(name, "true");
        }
    }
    let platforms = target.list("platforms").join(",");
    if !platforms.is_empty() {
        flag("platform", &platforms);
    }
    let context = here(target.text("context").unwrap_or("."));
    if let Some(dockerfile) = dockerfile(target, context) {
        flag("file", &dockerfile);
    }
    arguments.push("--".to_owned());
    arguments.push(context.to_owned());
    arguments
}

/// `cwd://` stands for the directory that bake is called in, which paths begin in anyway.
fn here(path: &str) -> &str {
    match path.strip_prefix("cwd://") {
        Some("") => ".",
        Some(path) => path,
        None => path,
    }
}

/// The Dockerfile: its path begins in the context.
fn dockerfile(target: &BakeTarget, context: &str) -> Option<String> {
    if target.text("dockerfile-inline").is_some() {
        return None;
    }
    let name = target.text("dockerfile").unwrap_or("Dockerfile");
    if let Some(path) = name.strip_prefix("cwd://") {
        return Some(path.to_owned());
    }
    if is_elsewhere(context) {
        return Some(name.to_owned());
    }
    Some(Path::new(context).join(name).to_string_lossy().into_owned())
}

/// Whether a context is none of this machine's files.
pub(super) fn is_elsewhere(context: &str) -> bool {
    let is_image = context.starts_with("docker-image://");
    is_image || context == "-" || !matches!(RemoteSource::parse_context(context), Ok(None))
}
