//! Dockerfiles as data: a directory with a `Dockerfile`, the files around it and what is `expected` of its build.
//!
//! A case may have more: `arguments` of the command, one a line; a script `prepare`, which makes what a repository
//! cannot hold; and a `base.Dockerfile`, which is built first and named `base`.

use crate::fixture;
use crate::output::Output;
use crate::world::World;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tar::{Archive, EntryType};

/// Files of a case that are no part of its context.
const ASIDE: [&str; 3] = ["arguments", "expected", "prepare"];

/// A case.
#[derive(Debug)]
pub struct DockerfileCase {
    /// What it is called.
    pub name: String,
    directory: PathBuf,
}

impl DockerfileCase {
    /// All cases, by name.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn all() -> Vec<Self> {
        let directory = fixture::workspace().join("crates/e2e/testdata");
        let entries = fs::read_dir(&directory).expect("the cases").map(|entry| entry.expect("a case"));
        let names: BTreeSet<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.into_iter().map(|name| Self { directory: directory.join(&name), name }).collect()
    }

    /// What is expected of it; nothing if that is not written yet.
    pub fn expected(&self) -> String {
        fs::read_to_string(self.directory.join("expected")).unwrap_or_default()
    }

    /// Writes down what is expected.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn expect(&self, outcome: &str) {
        fs::write(self.directory.join("expected"), outcome).expect("the expectation is written");
    }

    /// Builds it and tells what came of it.
    ///
    /// # Panics
    /// If the case itself is broken.
    pub fn outcome(&self, world: &World) -> String {
        let place = world.scratch().join(&self.name);
        let context = place.join("context");
        copy(&self.directory, &context).expect("a copy of the case");
        if let Ok(script) = fs::read_to_string(self.directory.join("prepare")) {
            let done = Command::new("sh").args(["-ec", &script]).current_dir(&context).output();
            let done = done.expect("a shell");
            assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
        }
        if context.join("base.Dockerfile").exists() {
            let words = ["build", "-q", "-t", "base", "-f", "base.Dockerfile", "."];
            world.invoke(words).directory(&context).run().success();
        }
        let given = fs::read_to_string(self.directory.join("arguments")).unwrap_or_default();
        let given: Vec<&str> = given.lines().collect();
        let words = [&["build", "-t", "case"], &given[..], &["."]].concat();
        let output = world.invoke(words).directory(&context).run();
        let outcome = match given.iter().any(|word| word.starts_with("--call") || *word == "--check") {
            true => asked(&output),
            false if output.code == 0 => built(world, &output, &place),
            false => refused(&output),
        };
        fs::remove_dir_all(place).expect("the copy goes");
        outcome
    }
}

/// Copies a case, with permissions that do not depend on how the repository came here.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if !ASIDE.iter().any(|aside| name == *aside) {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

fn asked(output: &Output) -> String {
    let told = output.lines().into_iter().map(|line| format!("> {line}").trim_end().to_owned() + "\n");
    match output.code {
        0 => "asked\n".to_owned() + &told.collect::<String>(),
        _ if output.stdout.is_empty() => refused(output),
        code => format!("asked, code {code}\n") + &told.collect::<String>(),
    }
}

/// The lines of the file that are marked, and the reason.
fn refused(output: &Output) -> String {
    let stderr = output.stderr();
    let marked = stderr.lines().filter(|line| line.contains(" | >>> ") || line.starts_with("Dockerfile:"));
    let marked: String = marked.map(|line| line.trim_end().to_owned() + "\n").collect();
    let reason = stderr.lines().rev().find(|line| !line.starts_with("hint:")).unwrap_or_default();
    format!("refused, code {}\n{marked}{reason}\n", output.code)
}

/// The config, the history and the files of an image, as far as they are not those of busybox.
fn built(world: &World, output: &Output, place: &Path) -> String {
    let archive = place.join("image.tar");
    world.mica(["save", "-o", archive.to_str().expect("a path"), "case", "busybox"]).success();
    let saved = Saved::open(&archive).expect("an archive");
    let (case, busybox) = (saved.image("case:latest"), saved.image("busybox:latest"));
    let stands_on_busybox = case.layers.first().is_some_and(|layer| Some(layer) == busybox.layers.first());
    let below = if stands_on_busybox { busybox.layers.len() } else { 0 };
    let mut text = "built\n".to_owned();
    for line in output.stderr().lines().filter(|line| line.contains("[Warning]")) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(author) = case.config["author"].as_str() {
        let _ = writeln!(text, "author {author}");
    }
    let config = case.config["config"].as_object().cloned().unwrap_or_default();
    for (name, value) in config.iter().collect::<BTreeMap<_, _>>() {
        let _ = writeln!(text, "config {name} {value}");
    }
    let old = busybox.config["history"].as_array().map_or(0, Vec::len);
    let old = if stands_on_busybox { old } else { 0 };
    for step in case.config["history"].as_array().into_iter().flatten().skip(old) {
        let mark = if step["empty_layer"] == Value::Bool(true) { '-' } else { '+' };
        let _ = writeln!(text, "history {mark} {}", step["created_by"].as_str().unwrap_or_default());
    }
    let known = Files::of(&saved, &busybox.layers);
    let files = Files::of(&saved, &case.layers[below..]);
    for (path, line) in &files.lines {
        let is_known_directory =
            stands_on_busybox && line.starts_with('d') && known.lines.get(path) == Some(line);
        if !is_known_directory {
            let _ = writeln!(text, "{line}");
        }
    }
    for path in files.removed.iter().filter(|path| known.lines.contains_key(*path)) {
        let _ = writeln!(text, "removed {path}");
    }
    text
}

/// An archive of images, as `save` writes it.
struct Saved(BTreeMap<String, Vec<u8>>);

struct Image {
    config: Value,
    layers: Vec<String>,
}

impl Saved {
    fn open(path: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in Archive::new(File::open(path)?).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(name, content);
        }
        Ok(Self(files))
    }

    fn document(&self, name: &str) -> Value {
        serde_json::from_slice(self.0.get(name).map_or(&[][..], |content| content)).unwrap_or_default()
    }

    fn image(&self, tag: &str) -> Image {
        let manifest = self.document("manifest.json");
        let has_tag =
            |image: &&Value| image["RepoTags"].as_array().is_some_and(|tags| tags.iter().any(|t| t == tag));
        let image =
            manifest.as_array().into_iter().flatten().find(has_tag).expect("the image in the archive");
        let layers = image["Layers"].as_array().into_iter().flatten();
        Image {
            config: self.document(image["Config"].as_str().unwrap_or_default()),
            layers: layers.filter_map(|layer| layer.as_str().map(str::to_owned)).collect(),
        }
    }
}

/// What some layers make together.
#[derive(Default)]
struct Files {
    /// A line for each path.
    lines: BTreeMap<String, String>,
    removed: BTreeSet<String>,
}

impl Files {
    fn of(saved: &Saved, layers: &[String]) -> Self {
        let mut files = Self::default();
        for layer in layers {
            let content = saved.0.get(layer).map_or(&[][..], |content| content);
            files.add(content).expect("a layer");
        }
        files
    }

    fn add(&mut self, layer: &[u8]) -> io::Result<()> {
        for entry in Archive::new(layer).entries()? {
            let mut entry = entry?;
            let path = format!("/{}", entry.path()?.to_string_lossy().trim_matches('/'));
            let (above, name) = path.rsplit_once('/').unwrap_or_default();
            if let Some(hidden) = name.strip_prefix(".wh.") {
                let gone =
                    if hidden.starts_with(".wh.") { above.to_owned() } else { format!("{above}/{hidden}") };
                self.lines.retain(|path, _| *path != gone && !path.starts_with(&format!("{gone}/")));
                self.removed.insert(gone);
                continue;
            }
            let line = describe(&mut entry, &path)?;
            self.removed.remove(&path);
            self.lines.insert(path, line);
        }
        Ok(())
    }
}

/// Kind, permissions, owner, path, and what is in it or where it leads.
fn describe(entry: &mut tar::Entry<'_, &[u8]>, path: &str) -> io::Result<String> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Directory => 'd',
        EntryType::Symlink => 'l',
        EntryType::Link => 'h',
        EntryType::Regular => '-',
        _ => '?',
    };
    let (mode, user, group) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
    let mut line = format!("{kind} {mode:04o} {user}:{group} {path}");
    if let Some(target) = entry.link_name()? {
        let _ = write!(line, " -> {}", target.display());
    }
    if kind == '-' {
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        match String::from_utf8(content) {
            Ok(text) if !text.contains('\0') => drop(write!(line, " {text:?}")),
            Ok(text) => drop(write!(line, " {} bytes", text.len())),
            Err(error) => drop(write!(line, " {} bytes", error.as_bytes().len())),
        }
    }
    Ok(line)
}
