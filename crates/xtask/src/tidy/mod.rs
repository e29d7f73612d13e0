//! `cargo xtask tidy`: the written rules of the project, executed, and the numbers of its code.

mod documents;
mod numbers;
mod rules;
mod source;

use crate::build;
use crate::failure::Failure;
use numbers::Numbers;
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The functions that are longer than they should be, each with its size; sizes may only go down.
const RATCHET: &str = "docs/ratchet.txt";

/// Checks all rules, prints what is broken and then the numbers.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let write_ratchet = match options {
        [] => false,
        ["--write-ratchet"] => true,
        _ => return Err(Failure::Usage { text: "usage: cargo xtask tidy [--write-ratchet]".into() }),
    };
    let workspace = e2e::fixture::workspace();
    let files = files(&workspace)?;
    let sources = sources(&workspace, &files)?;
    let long = long_functions(&sources);
    if write_ratchet {
        let text: String = long.iter().map(|(name, size)| format!("{size} {name}\n")).collect();
        let path = workspace.join(RATCHET);
        std::fs::write(&path, text).map_err(Failure::file(path))?;
    }
    let mut found: Vec<String> = sources.iter().flat_map(rules::check).collect();
    found.extend(ratchet(&workspace, &long));
    found.extend(documents::named_paths(&workspace));
    found.extend(documents::edges(&workspace)?);
    found.extend(host_paths(&workspace, &files));
    for manifest in files.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = std::fs::read_to_string(workspace.join(manifest)).map_err(Failure::file(manifest))?;
        found.extend(documents::reasons(&manifest.display().to_string(), &text));
    }
    let mut numbers = Numbers::default();
    let is_product =
        |source: &&Source| !source.path.starts_with("crates/e2e") && !source.path.starts_with("crates/xtask");
    sources.iter().filter(is_product).for_each(|source| numbers.add(source));
    if numbers.panics.len() * 1000 > numbers.lines() * numbers::PANICS_PER_THOUSAND {
        found.extend(numbers.panics.iter().map(|place| format!("{place}: an unwrap or expect too many")));
    }
    println!("{}", numbers.table());
    found.iter().for_each(|complaint| println!("{complaint}"));
    if found.is_empty() { Ok(()) } else { Err(Failure::Checks { count: found.len(), what: "rules broken" }) }
}

/// All files of the working copy, as paths inside it: those that git follows and those it might.
fn files(workspace: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut git = std::process::Command::new("git");
    git.current_dir(workspace).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    match build::capture(&mut git) {
        Ok(text) => {
            let unique: BTreeSet<PathBuf> = text.lines().map(PathBuf::from).collect();
            Ok(unique.into_iter().filter(|path| workspace.join(path).is_file()).collect())
        }
        // An unpacked release has no history.
        Err(_) => walk(workspace, Path::new("")),
    }
}

fn walk(workspace: &Path, inside: &Path) -> Result<Vec<PathBuf>, Failure> {
    let directory = workspace.join(inside);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(Failure::file(&directory))?.flatten() {
        let path = inside.join(entry.file_name());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && path != Path::new("target") && path != Path::new(".git") {
            found.extend(walk(workspace, &path)?);
        } else if !is_directory {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All files of Rust but the generated ones.
fn sources(workspace: &Path, files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let is_generated = |path: &Path| path.components().any(|part| part.as_os_str() == "generated");
    let rust = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs") && !is_generated(path));
    let mut sources = Vec::new();
    for path in rust {
        let text = std::fs::read_to_string(workspace.join(path)).map_err(Failure::file(path))?;
        sources.push(Source::new(path, &text, is_test(path)));
    }
    let mut test_modules = BTreeSet::new();
    for source in &sources {
        let directory = source.path.parent().unwrap_or(Path::new(""));
        let own = match source.path.file_stem().unwrap_or_default().to_str() {
            Some("mod" | "lib" | "main") | None => directory.to_path_buf(),
            Some(stem) => directory.join(stem),
        };
        test_modules.extend(source.test_modules().iter().map(|name| own.join(name)));
    }
    for source in &mut sources {
        if test_modules
            .iter()
            .any(|module| source.path.starts_with(module) || source.path == module.with_extension("rs"))
        {
            source.in_test.fill(true);
        }
    }
    Ok(sources)
}

/// Whether a file is test by its place.
fn is_test(path: &Path) -> bool {
    let in_folder = |name: &str| path.components().any(|part| part.as_os_str() == name);
    in_folder("tests") || in_folder("examples") || in_folder("fuzz") || path.ends_with("tests.rs")
}

/// The functions above the aim, by path and name, with their sizes.
fn long_functions(sources: &[Source]) -> BTreeMap<String, usize> {
    let named = |source: &Source| {
        let functions = source.functions().into_iter().filter(|function| function.size > rules::FUNCTION_AIM);
        let path = source.path.display().to_string();
        functions
            .map(move |function| (format!("{path} {}", function.name), function.size))
            .collect::<Vec<_>>()
    };
    sources.iter().flat_map(named).collect()
}

/// Compares the long functions with those written down.
fn ratchet(workspace: &Path, long: &BTreeMap<String, usize>) -> Vec<String> {
    let text = std::fs::read_to_string(workspace.join(RATCHET)).unwrap_or_default();
    let known: BTreeMap<&str, usize> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(size, name)| Some((name, size.parse().ok()?)))
        .collect();
    let mut found = Vec::new();
    for (name, size) in long {
        let allowed = known.get(name.as_str()).copied().unwrap_or(rules::FUNCTION_AIM);
        if *size > allowed {
            found.push(format!("{name}: {size} lines, more than {allowed}"));
        }
    }
    for (name, size) in known {
        let now = long.get(name).copied().unwrap_or(0);
        if now < size {
            found.push(format!(
                "{RATCHET}: `{name}` has shrunk to {now}; run `cargo xtask tidy --write-ratchet`"
            ));
        }
    }
    found
}

/// No file may name a place of the machine it was written on: the working copy or anything beside it.
fn host_paths(workspace: &Path, files: &[PathBuf]) -> Vec<String> {
    let Some(parent) = workspace.parent().filter(|parent| *parent != Path::new("/")) else {
        return Vec::new();
    };
    let beside = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let places: Vec<String> = beside.map(|entry| entry.path().display().to_string()).collect();
    let mut found = Vec::new();
    for path in files {
        let Ok(text) = std::fs::read_to_string(workspace.join(path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                found.push(format!(
                    "{}:{}: names `{place}`, a place of one machine",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_may_shrink_but_not_grow() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::create_dir(workspace.path().join("docs")).unwrap();
        std::fs::write(workspace.path().join(RATCHET), "80 a.rs f\n").unwrap();
        let check = |size| ratchet(workspace.path(), &BTreeMap::from([("a.rs f".to_owned(), size)]));
        assert_eq!(check(80), Vec::<String>::new());
        assert!(check(81)[0].contains("more than 80"));
        assert!(check(75)[0].contains("has shrunk"));
        assert_eq!(
            ratchet(
                workspace.path(),
                &BTreeMap::from([("b.rs g".to_owned(), 71), ("a.rs f".to_owned(), 80)])
            )
            .len(),
            1
        );
    }

    #[test]
    fn tests_are_known_by_their_place() {
        assert!(is_test(Path::new("crates/a/tests/it/main.rs")));
        assert!(is_test(Path::new("crates/a/src/b/tests.rs")));
        assert!(!is_test(Path::new("crates/a/src/attests.rs")));
    }
}
