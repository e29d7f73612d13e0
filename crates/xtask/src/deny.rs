//! `cargo xtask deny`: the licences of all dependencies, and crates that come in more than one version.
//!
//! Reads the part of `deny.toml` that it understands (the lists `allow` and `skip`) in the form cargo-deny(1) uses, so
//! that cargo-deny can be run on the same file. Known vulnerabilities are not looked up: that needs the network.

use crate::build;
use crate::failure::Failure;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Checks what the binary is made of.
pub(crate) fn run() -> Result<(), Failure> {
    let path = e2e::fixture::workspace().join("deny.toml");
    let policy = std::fs::read_to_string(&path).map_err(Failure::file(&path))?;
    let text = build::capture(build::cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| Failure::Document {
        document: "cargo metadata".into(),
        reason: error.to_string(),
    })?;
    let found = check(&metadata, &list(&policy, "allow"), &list(&policy, "skip"));
    found.iter().for_each(|complaint| println!("{complaint}"));
    if found.is_empty() {
        Ok(())
    } else {
        Err(Failure::Checks { count: found.len(), what: "dependencies refused" })
    }
}

fn check(metadata: &Value, allowed: &BTreeSet<String>, skipped: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        versions.entry(name).or_default().insert(package["version"].as_str().unwrap_or_default());
        match package["license"].as_str() {
            Some(licence) if is_allowed(licence, allowed) => {}
            Some(licence) => {
                found.push(format!("{name}: licence `{licence}` is not on the list in deny.toml"))
            }
            None => found.push(format!("{name}: tells no licence")),
        }
    }
    for (name, versions) in
        versions.iter().filter(|(name, versions)| versions.len() > 1 && !skipped.contains(**name))
    {
        let versions: Vec<&str> = versions.iter().copied().collect();
        found.push(format!(
            "{name}: comes in versions {}; say why under `skip` in deny.toml",
            versions.join(" and ")
        ));
    }
    found
}

/// Whether an expression of licences (SPDX) can be satisfied: one of each group joined by OR, all joined by AND.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Before SPDX expressions, crates wrote "MIT/Apache-2.0" for a choice.
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(parts) = split_outside(expression, " AND ") {
        return parts.iter().all(|part| is_allowed(part, allowed));
    }
    if let Some(parts) = split_outside(expression, " OR ") {
        return parts.iter().any(|part| is_allowed(part, allowed));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(expression),
    }
}

/// Splits at a word that is not inside parentheses; nothing when it is not there.
fn split_outside<'text>(text: &'text str, word: &str) -> Option<Vec<&'text str>> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && text[at..].starts_with(word) => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (parts.len() > 1).then_some(parts)
}

/// The quoted words of a list `name = [ … ]`, which may go over many lines.
fn list(policy: &str, name: &str) -> BTreeSet<String> {
    let opening = format!("{name} = [");
    let from_list = policy.lines().skip_while(|line| !line.trim_start().starts_with(&opening));
    let mut words = BTreeSet::new();
    for line in from_list {
        let line = line.split('#').next().unwrap_or_default();
        words.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        if line.trim_end().ends_with(']') {
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = list(
            "[licenses]\nallow = [\n  \"MIT\", # ours\n  \"Zlib\",\n]\nother = [\"GPL-3.0\"]\n",
            "allow",
        );
        assert_eq!(allowed.len(), 2);
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Zlib", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn twins_need_a_reason() {
        let package = |version| serde_json::json!({"name": "a", "version": version, "license": "MIT"});
        let metadata = serde_json::json!({"packages": [package("1.0.0"), package("2.0.0")]});
        let allowed = BTreeSet::from(["MIT".to_owned()]);
        assert_eq!(check(&metadata, &allowed, &BTreeSet::new()).len(), 1);
        assert_eq!(check(&metadata, &allowed, &BTreeSet::from(["a".to_owned()])).len(), 0);
    }
}
