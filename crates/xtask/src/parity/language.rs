//! The language of Dockerfiles: what of it works, by `docs/parity/dockerfile.tsv`, and what proves each line.

use super::facts::rows;
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Where the words of a proof are looked for: folders of cases.
const CASES: [&str; 2] = ["crates/e2e/testdata", "crates/mica-build/testdata"];

/// What can be said of a line.
const STATES: [&str; 3] = ["works", "differs", "missing"];

/// The section about it.
///
/// # Errors
/// When a line proves nothing, or by what does not exist.
pub(super) fn section(workspace: &Path, directory: &Path) -> Result<String, Failure> {
    let path = directory.join("dockerfile.tsv");
    let rows = rows(&path)?;
    let known = Known::read(workspace)?;
    for (number, row) in (2..).zip(&rows) {
        check(row, &known).map_err(|reason| Failure::Document {
            document: path.display().to_string(),
            reason: format!("line {number}: {reason}"),
        })?;
    }
    Ok(text(&rows))
}

/// A line is `area, instruction, feature, state, note, proof`.
fn check(row: &[String], known: &Known) -> Result<(), String> {
    let [_, _, _, state, note, proof] = row else { return Err("six cells are expected".to_owned()) };
    if !STATES.contains(&state.as_str()) {
        return Err(format!("{state:?} is none of {STATES:?}"));
    }
    if state != "works" && note.is_empty() {
        return Err(format!("what {state} is told in the note"));
    }
    if state == "works" && proof.is_empty() {
        return Err("what works is proved by a case or a test".to_owned());
    }
    match proof.split_whitespace().find(|word| !known.has(word)) {
        Some(unknown) => Err(format!("there is no case and no test called {unknown}")),
        None => Ok(()),
    }
}

fn text(rows: &[Vec<String>]) -> String {
    let mut text = String::from(
        "## The language of Dockerfiles\n\nWhat BuildKit's frontend accepts, line by line, each with what proves it: a case in \
         `crates/e2e/testdata` or `crates/mica-build/testdata`, or a test by its name.\n\n| | works | differs | missing |\n|---|---|---|---|\n",
    );
    let mut areas: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for row in rows {
        let counts = areas.entry(&row[0]).or_default();
        for (state, count) in STATES.iter().zip(counts) {
            *count += usize::from(row[3] == *state);
        }
    }
    for (area, [works, differs, missing]) in areas {
        let _ = writeln!(text, "| {area} | {works} | {differs} | {missing} |");
    }
    text.push_str("\n| area | instruction | feature | verdict | proof |\n|---|---|---|---|---|\n");
    for row in rows {
        let [area, instruction, feature, state, note, proof] = &row[..] else { continue };
        let verdict = if note.is_empty() { state.clone() } else { format!("{state}: {note}") };
        let _ = writeln!(
            text,
            "| {area} | {instruction} | {} | {verdict} | {} |",
            quoted(feature),
            proof.split_whitespace().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ")
        );
    }
    text.trim_end().to_owned()
}

/// A text that means nothing to Markdown.
fn quoted(text: &str) -> String {
    let plain = text.replace('|', "\\|").replace('<', "&lt;");
    ['*', '_', '`', '#', '[', ']', '$']
        .iter()
        .fold(plain, |text, letter| text.replace(*letter, &format!("\\{letter}")))
}

/// The cases and tests that there are.
struct Known {
    cases: BTreeSet<String>,
    tests: BTreeSet<String>,
}

impl Known {
    fn read(workspace: &Path) -> Result<Self, Failure> {
        let mut known = Self { cases: BTreeSet::new(), tests: BTreeSet::new() };
        for cases in CASES {
            let path = workspace.join(cases);
            for entry in std::fs::read_dir(&path).map_err(Failure::file(&path))? {
                let entry = entry.map_err(Failure::file(&path))?;
                known.cases.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        known.add_tests(&workspace.join("crates"))?;
        Ok(known)
    }

    /// Every function of a file counts that has tests in it.
    fn add_tests(&mut self, directory: &Path) -> Result<(), Failure> {
        for entry in std::fs::read_dir(directory).map_err(Failure::file(directory))? {
            let path = entry.map_err(Failure::file(directory))?.path();
            if path.is_dir() && !path.ends_with("testdata") {
                self.add_tests(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).map_err(Failure::file(&path))?;
                self.tests.extend(tests(&text));
            }
        }
        Ok(())
    }

    fn has(&self, word: &str) -> bool {
        self.cases.contains(word) || self.tests.contains(word)
    }
}

/// The names of the functions that stand below `#[test]`.
fn tests(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if is_test => {
                names.push(name.to_owned());
                is_test = false;
            }
            _ if line == "#[test]" => is_test = true,
            // Other marks may stand between.
            _ if line.starts_with("#[") || line.starts_with("//") => {}
            _ => is_test = false,
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, note: &str, proof: &str) -> Vec<String> {
        ["form", "RUN", "a | b", state, note, proof].map(str::to_owned).to_vec()
    }

    fn known() -> Known {
        Known { cases: ["a-case".to_owned()].into(), tests: ["a_test".to_owned()].into() }
    }

    #[test]
    fn a_line_says_what_is_and_what_proves_it() {
        assert_eq!(check(&row("works", "", "a-case a_test"), &known()), Ok(()));
        assert_eq!(check(&row("differs", "not so", ""), &known()), Ok(()));
        for wrong in [row("works", "", ""), row("missing", "", ""), row("understood", "x", "a-case")] {
            assert!(check(&wrong, &known()).is_err(), "{wrong:?}");
        }
        assert!(check(&row("works", "", "no_such_test"), &known()).unwrap_err().contains("no_such_test"));
    }

    #[test]
    fn tests_are_found_by_their_mark() {
        let source =
            "fn helper() {\n}\n#[test]\n#[ignore = \"x\"]\nfn one() {\n}\n    #[test]\n    fn two() {\n";
        assert_eq!(super::tests(source), ["one", "two"]);
    }

    #[test]
    fn a_bar_does_not_end_a_cell() {
        let text = text(&[row("works", "", "a-case")]);
        assert!(text.contains("| form | RUN | a \\| b | works | `a-case` |"), "{text}");
        assert!(text.contains("| form | 1 | 0 | 0 |"), "{text}");
    }
}
