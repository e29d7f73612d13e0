//! The rules for documents and manifests: what they name exists, what exists is named, and every dependency has a reason.

use crate::build;
use crate::failure::Failure;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Documents whose paths are checked.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "BENCHMARKS.md"];

/// What a word in backquotes starts with when it is a path of this repository.
const TOPS: &[&str] = &["crates/", "docs/", ".ci/", ".cargo/", "images/"];

/// Every path that a document names must exist.
pub(super) fn named_paths(workspace: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for document in DOCUMENTS {
        // That a document is missing is told where it is needed.
        let text = std::fs::read_to_string(workspace.join(document)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            for word in line.split('`').skip(1).step_by(2) {
                let path = word.trim_end_matches('/').split([':', '#', ' ']).next().unwrap_or_default();
                let is_path =
                    TOPS.iter().any(|top| path.starts_with(top)) && !path.contains(['<', '*', '…', '{']);
                if is_path && !workspace.join(path).exists() {
                    found.push(format!("{document}:{}: `{path}` does not exist", number + 1));
                }
            }
        }
    }
    found
}

/// Every dependency that is not ours needs a comment on its line that says what it is for.
pub(super) fn reasons(name: &str, manifest: &str) -> Vec<String> {
    let mut in_dependencies = false;
    let mut found = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies]");
        }
        let is_ours = line.contains("path =") || line.contains("workspace = true");
        if in_dependencies && line.contains(" = ") && !is_ours && !line.contains(" # ") {
            found.push(format!("{name}:{}: a dependency without a reason", number + 1));
        }
    }
    found
}

/// The allowed edges between our crates, from the block of ARCHITECTURE.md with lines `crate → crate, crate`.
fn allowed_edges(architecture: &str) -> BTreeMap<String, Vec<String>> {
    let mut in_block = false;
    let mut edges = BTreeMap::new();
    for line in architecture.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        let Some((from, to)) = line.split_once('→') else { continue };
        let from = from.trim();
        if in_block && !from.contains(' ') {
            let words = to.split([',', ' ', '·']).map(str::trim);
            let crates = words.filter(|word| {
                !word.is_empty()
                    && word.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
            });
            edges.insert(from.to_owned(), crates.map(str::to_owned).collect());
        }
    }
    edges
}

/// Every crate is named in ARCHITECTURE.md and depends on nothing of ours but what is allowed there.
pub(super) fn edges(workspace: &Path) -> Result<Vec<String>, Failure> {
    let path = workspace.join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).map_err(Failure::file(path))?;
    let allowed = allowed_edges(&text);
    let metadata =
        build::capture(build::cargo().args(["metadata", "--no-deps", "--offline", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| Failure::Document {
        document: "cargo metadata".into(),
        reason: error.to_string(),
    })?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if !text.contains(name) {
            found.push(format!("ARCHITECTURE.md: does not name the crate {name}"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // What is for development only is drawn as one box; the product may not reach into it all the same.
            let is_product = name.starts_with("mica");
            let is_normal = is_product && dependency["kind"].is_null() && dependency["path"].is_string();
            let to = dependency["name"].as_str().unwrap_or_default();
            if is_normal && !edge_is_allowed(&allowed, name, to) {
                found.push(format!("{name} → {to}: not among the edges in ARCHITECTURE.md"));
            }
        }
    }
    Ok(found)
}

/// The table may leave out the `mica-` that all crates share.
fn edge_is_allowed(allowed: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> bool {
    let short = |name: &str| name.strip_prefix("mica-").unwrap_or(name).to_owned();
    let targets = allowed.get(from).or_else(|| allowed.get(&short(from)));
    targets.is_some_and(|targets| targets.iter().any(|target| *target == to || *target == short(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_read_from_fenced_lines_only() {
        let text = "a → b\n```text\nmica-cli → mica-api, mica-model\nengine → image · sys\n```\n";
        let allowed = allowed_edges(text);
        assert_eq!(allowed.len(), 2);
        assert!(edge_is_allowed(&allowed, "mica-cli", "mica-api"));
        assert!(edge_is_allowed(&allowed, "mica-engine", "mica-sys"));
        assert!(!edge_is_allowed(&allowed, "mica-cli", "mica-engine"));
    }

    #[test]
    fn dependencies_need_reasons() {
        let manifest =
            "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb = \"2\" # why\nc.workspace = true\n";
        assert_eq!(reasons("Cargo.toml", manifest), ["Cargo.toml:4: a dependency without a reason"]);
    }
}
