//! Which files are read: those that were named, or those that lie here under the usual names.

use crate::command::image::standard_input;
use crate::context::Context;
use crate::report::Failure;
use mica_api::types::bake::{BakeRemote, BakeText};
use std::fs::File;
use std::io::{ErrorKind, Read};

/// The names that are looked for, in this order, when no file is named; each that is there is read.
const DEFAULT_FILES: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// The largest file in bytes.
const FILE_SIZE_MAX: u64 = 16 << 20;

/// Before files of this machine, where the others are elsewhere.
pub(super) const HERE: &str = "cwd://";

/// Reads the files of `--file`, of `BUILDX_BAKE_FILE`, or the usual ones. With an address, those are there that do not
/// say otherwise.
pub(super) fn read(
    typed: &[String],
    address: Option<String>,
    context: &Context<'_>,
) -> Result<(Vec<BakeText>, Option<BakeRemote>), Failure> {
    let Some(address) = address else { return Ok((read_here(typed, context)?, None)) };
    let (here, there): (Vec<_>, Vec<_>) = typed.iter().partition(|name| name.starts_with(HERE));
    let here = here.into_iter().map(|name| one(name, context)).collect::<Result<_, _>>()?;
    let are_needed = !there.is_empty();
    let names = match are_needed {
        true => there.into_iter().cloned().collect(),
        false => DEFAULT_FILES.iter().map(|&name| name.to_owned()).collect(),
    };
    Ok((here, Some(BakeRemote { address, names, are_needed, proxies: context.config.proxies() })))
}

fn read_here(typed: &[String], context: &Context<'_>) -> Result<Vec<BakeText>, Failure> {
    let environment = context.config.environment.nonempty("BUILDX_BAKE_FILE").unwrap_or_default();
    let here: Vec<String> =
        environment.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let named = if typed.is_empty() { &here } else { typed };
    if !named.is_empty() {
        return named.iter().map(|name| one(name, context)).collect();
    }
    let mut files = Vec::new();
    for name in DEFAULT_FILES {
        match one(name, context) {
            Err(Failure::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            file => files.push(file?),
        }
    }
    if files.is_empty() {
        return Err(Failure::refused(
            "couldn't find a bake definition: no docker-bake.hcl, docker-bake.json or compose.yaml lies here",
        ));
    }
    Ok(files)
}

fn one(name: &str, context: &Context<'_>) -> Result<BakeText, Failure> {
    let name = name.strip_prefix(HERE).unwrap_or(name);
    let failed = |action| move |source| Failure::File { action, path: name.to_owned(), source };
    let file = match name {
        "-" => standard_input(context)?,
        path => File::open(path).map_err(failed("open"))?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(Failure::refused(format!("{name}: larger than {} MiB", FILE_SIZE_MAX >> 20)));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::refused(format!("{name}: not a text in UTF-8")))?;
    Ok(BakeText { name: name.to_owned(), text })
}

/// The text of `.env`, if there is one.
pub(super) fn dotenv() -> String {
    let mut text = String::new();
    let read = File::open(".env").and_then(|file| file.take(FILE_SIZE_MAX).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}
