//! What the files of a bake want beyond building from what lies here, and whether it was allowed.
//!
//! Bake files come with other people's sources. They may read and write below the directory that bake is called in;
//! for anything else `--allow` is needed, or a person who says yes.

use super::target::is_elsewhere;
use crate::confirmation;
use crate::context::Context;
use crate::report::Failure;
use mica_api::types::bake::{BakePlan, BakeTarget};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Rights that are words.
const RIGHTS: &[(&str, &str)] = &[
    ("network.host", "Running build containers that can access host network"),
    ("security.insecure", "Running privileged containers that can make system changes"),
    ("ssh", "Forwarding default SSH agent socket"),
];

/// What was allowed on the command line.
#[derive(Debug, Default)]
pub(super) struct Privileges {
    rights: BTreeSet<String>,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
}

/// What is wanted and was not allowed: the value for `--allow`, and what it means.
type Wishes = BTreeMap<String, String>;

impl Privileges {
    /// Reads all of `--allow`.
    pub(super) fn new(typed: &[String]) -> Result<Self, Failure> {
        let mut privileges = Self::default();
        for typed in typed {
            let (name, path) = typed.split_once('=').unwrap_or((typed, ""));
            let path = || if path == "*" { PathBuf::from("/") } else { resolved(path) };
            match name {
                "network.host" | "security.insecure" | "ssh" | "device" => {
                    privileges.rights.extend([name.to_owned()]);
                }
                "fs.read" => privileges.readable.push(path()),
                "fs.write" => privileges.writable.push(path()),
                "fs" => {
                    privileges.readable.push(path());
                    privileges.writable.push(path());
                }
                _ => return Err(Failure::refused(format!("unknown entitlement key {typed:?}"))),
            }
        }
        Ok(privileges)
    }

    /// Whether everything that the plan wants is allowed; asks a person if there is one.
    pub(super) fn are_granted(&self, plan: &BakePlan, context: &Context<'_>) -> Result<bool, Failure> {
        let is_free = context.config.environment.nonempty("BUILDX_BAKE_ENTITLEMENTS_FS");
        let has_files =
            !is_free.is_some_and(|word| matches!(word, "0" | "false" | "f" | "F" | "FALSE" | "False"));
        let mut wishes = Wishes::new();
        for target in &plan.targets {
            self.missing_rights(target, &mut wishes);
            if has_files {
                self.missing_paths(target, &mut wishes);
            }
        }
        if wishes.is_empty() {
            return Ok(true);
        }
        let mut told =
            "Your build is requesting privileges for following possibly insecure capabilities:\n\n"
                .to_owned();
        wishes.values().for_each(|meaning| told.push_str(&format!(" - {meaning}\n")));
        let flags: Vec<String> = wishes.keys().map(|wish| format!("--allow={wish}")).collect();
        told.push_str(&format!("\nPass \"{}\" to grant requested privileges.\n", flags.join(" ")));
        context.say_error(&told);
        let terminals = context.terminals();
        if !terminals.input || !terminals.error {
            return Ok(false);
        }
        confirmation::ask("", context)
    }

    fn missing_rights(&self, target: &BakeTarget, wishes: &mut Wishes) {
        let mut wanted = target.list("entitlements");
        if target.text("network") == Some("host") {
            wanted.push("network.host");
        }
        // Without a path it is the agent of whoever calls.
        if target.list("ssh").iter().any(|entry| !entry.contains('=')) {
            wanted.push("ssh");
        }
        for name in wanted {
            if let Some((name, meaning)) = RIGHTS.iter().find(|(known, _)| *known == name)
                && !self.rights.contains(*name)
            {
                wishes.insert((*name).to_owned(), (*meaning).to_owned());
            }
        }
    }

    fn missing_paths(&self, target: &BakeTarget, wishes: &mut Wishes) {
        let mut add = |right: &str, action: &str, allowed: &[PathBuf], path: &str| {
            let path = path.strip_prefix("cwd://").unwrap_or(path);
            let found = resolved(path);
            let is_within = |parent: &PathBuf| found.starts_with(parent);
            if !is_within(&resolved("")) && !allowed.iter().any(is_within) {
                let found = found.display();
                wishes.insert(format!("{right}={found}"), format!("{action} access to path {found}"));
            }
        };
        for path in read_paths(target) {
            add("fs.read", "Read", &self.readable, &path);
        }
        for path in written_paths(target) {
            add("fs.write", "Write", &self.writable, &path);
        }
    }
}

/// What a target reads of this machine.
fn read_paths(target: &BakeTarget) -> Vec<String> {
    let context = target.text("context").unwrap_or(".");
    let mut paths = Vec::new();
    if !is_elsewhere(context) || context.starts_with("cwd://") {
        paths.push(context.to_owned());
        if let Some(dockerfile) =
            target.text("dockerfile").filter(|_| target.text("dockerfile-inline").is_none())
        {
            let context = context.strip_prefix("cwd://").unwrap_or(context);
            let joined = Path::new(context).join(dockerfile);
            let path = dockerfile.strip_prefix("cwd://").map_or(joined, PathBuf::from);
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    let contexts = target.map("contexts").into_iter().map(|(_, value)| value);
    let is_here =
        |value: &&str| !value.starts_with("target:") && !is_elsewhere(value) || value.starts_with("cwd://");
    paths.extend(contexts.filter(is_here).map(str::to_owned));
    // A repository of this machine, however it is written.
    let all = std::iter::once(context).chain(target.map("contexts").into_iter().map(|(_, value)| value));
    let local = all.filter_map(|value| {
        let path = ["file://", "oci-layout://"].iter().find_map(|scheme| value.strip_prefix(scheme))?;
        path.split(['#', '?', '@']).next()
    });
    paths.extend(local.map(str::to_owned));
    let secrets = target.list("secret").into_iter();
    paths.extend(secrets.filter_map(|entry| field(entry, &["src", "source"])));
    let agents = target.list("ssh").into_iter().filter_map(|entry| entry.split_once('='));
    paths.extend(agents.flat_map(|(_, sockets)| sockets.split(',').map(str::to_owned)));
    let caches = target.list("cache-from").into_iter();
    paths.extend(caches.filter(|entry| is_local(entry)).filter_map(|entry| field(entry, &["src"])));
    paths
}

/// What a target writes on this machine.
fn written_paths(target: &BakeTarget) -> Vec<String> {
    let outputs = target.list("output").into_iter().filter_map(|entry| match entry.contains('=') {
        true => field(entry, &["dest", "destination"]),
        false => Some(entry.to_owned()),
    });
    let caches = target.list("cache-to").into_iter();
    let caches = caches.filter(|entry| is_local(entry)).filter_map(|entry| field(entry, &["dest"]));
    outputs.chain(caches).filter(|path| path != "-").collect()
}

fn is_local(entry: &str) -> bool {
    field(entry, &["type"]).is_some_and(|kind| kind == "local")
}

/// A field of `key=value,…`.
fn field(entry: &str, names: &[&str]) -> Option<String> {
    let pairs = entry.split(',').filter_map(|part| part.trim_matches('"').split_once('='));
    pairs.into_iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value.to_owned())
}

/// A path from the root, with the links of the part that exists followed, so that none leads out unseen.
fn resolved(path: &str) -> PathBuf {
    let absolute = std::path::absolute(if path.is_empty() { "." } else { path }).unwrap_or_default();
    let mut rest = Vec::new();
    let mut known = absolute.as_path();
    loop {
        if let Ok(found) = known.canonicalize() {
            return clean(&rest.iter().rev().fold(found, |path, part| path.join(part)));
        }
        match (known.parent(), known.components().next_back()) {
            (Some(parent), Some(part)) => {
                rest.push(part.as_os_str().to_owned());
                known = parent;
            }
            _ => return clean(&absolute),
        }
    }
}

/// Without `..`, in a part that does not exist.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean
}
