//! The rules for single files of Rust.

use super::source::{Source, words};
use std::fmt::Display;

/// How many lines of code a file may have, tests not counted.
const FILE_LIMIT: usize = 600;

/// How many lines no function may have.
const FUNCTION_LIMIT: usize = 100;

/// How many lines a function should not have; those that do are written down and may only shrink.
pub(super) const FUNCTION_AIM: usize = 70;

/// Names that say nothing of what is inside and so attract everything.
const BANNED_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"];

/// How many lines may lie between a proof and its `unsafe`.
const PROOF_REACH: usize = 6;

/// One broken rule, as `path:line: what`.
pub(super) fn complain(source: &Source, line: usize, what: impl Display) -> String {
    format!("{}:{}: {what}", source.path.display(), line + 1)
}

/// Everything that a file breaks by itself.
pub(super) fn check(source: &Source) -> Vec<String> {
    let rules: [fn(&Source) -> Vec<String>; 9] =
        [head, size, names, unsafe_code, proofs, notes, dead_code, stringly_errors, unmarked_tests];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn head(source: &Source) -> Vec<String> {
    let headed = source.lines.first().is_some_and(|line| line.starts_with("//!"));
    if headed {
        Vec::new()
    } else {
        vec![complain(source, 0, "does not start with `//!` and what the file is for")]
    }
}

fn size(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if source.size() > FILE_LIMIT {
        found.push(complain(
            source,
            0,
            format_args!("{} lines of code, more than {FILE_LIMIT}", source.size()),
        ));
    }
    for function in source.functions().iter().filter(|function| function.size > FUNCTION_LIMIT) {
        let what =
            format_args!("`{}` has {} lines, more than {FUNCTION_LIMIT}", function.name, function.size)
                .to_string();
        found.push(complain(source, function.line, what));
    }
    found
}

fn names(source: &Source) -> Vec<String> {
    let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder =
        source.path.parent().and_then(|parent| parent.file_name()).unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    if BANNED_NAMES.contains(&stem.as_str()) || BANNED_NAMES.contains(&&*folder) {
        found.push(complain(source, 0, "the file's name says nothing; name it after what is inside"));
    }
    for (line, code) in source.product_lines() {
        let words: Vec<&str> = words(code).collect();
        for pair in words.windows(2) {
            match pair {
                ["fn", name] if name.starts_with("get_") => {
                    found.push(complain(source, line, format_args!("`{name}`: leave out the `get_`")));
                }
                ["mod", name] if BANNED_NAMES.contains(name) => {
                    found.push(complain(
                        source,
                        line,
                        format_args!("a module called `{name}` attracts everything"),
                    ));
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether a file may hold unsafe code.
fn may_be_unsafe(source: &Source) -> bool {
    source.path.starts_with("crates/mica-sys")
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if may_be_unsafe(source) {
        return Vec::new();
    }
    let lines = source.code.iter().enumerate().filter(|(_, code)| words(code).any(|word| word == "unsafe"));
    lines.map(|(line, _)| complain(source, line, "unsafe code lives in mica-sys only")).collect()
}

fn proofs(source: &Source) -> Vec<String> {
    if !may_be_unsafe(source) {
        return Vec::new();
    }
    let proved = |line: usize| {
        source.comments.iter().any(|(at, text)| {
            (line.saturating_sub(PROOF_REACH)..=line).contains(at)
                && (text.contains("SAFETY:") || text.contains("# Safety"))
        })
    };
    let lines = source
        .code
        .iter()
        .enumerate()
        .filter(|(_, code)| code.contains("unsafe {") || code.contains("unsafe impl"));
    lines
        .filter(|(line, _)| !proved(*line))
        .map(|(line, _)| complain(source, line, "unsafe without `// SAFETY:`"))
        .collect()
}

fn notes(source: &Source) -> Vec<String> {
    let marked = |text: &str| words(text).any(|word| ["TODO", "FIXME", "XXX", "HACK"].contains(&word));
    let numbered = |text: &str| {
        text.split('#').skip(1).any(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    let notes = source.comments.iter().filter(|(_, text)| marked(text) && !numbered(text));
    notes.map(|(line, _)| complain(source, *line, "a note for later without an issue's number")).collect()
}

fn dead_code(source: &Source) -> Vec<String> {
    let comments =
        source.comments.iter().filter(|(_, text)| !text.starts_with("///") && !text.starts_with("//!"));
    let dead = comments.filter(|(_, text)| looks_like_code(text.trim_start_matches('/').trim()));
    dead.map(|(line, _)| complain(source, *line, "commented-out code; history remembers it")).collect()
}

fn looks_like_code(text: &str) -> bool {
    let starts = ["let ", "fn ", "pub ", "use ", "return ", "if let ", "match ", "for ", "#["];
    let ends = [';', '{', ')', ']'];
    text == "}" || (starts.iter().any(|start| text.starts_with(start)) && text.ends_with(ends))
}

/// Variants of errors that hold nothing but text lose everything a caller could decide by.
fn stringly_errors(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_error = false;
    for (line, code) in source.product_lines() {
        if code.contains("enum ") {
            in_error = words(code).any(|word| word.ends_with("Error"));
        } else if code.starts_with('}') {
            in_error = false;
        }
        let is_variant = code.trim_start().starts_with(|letter: char| letter.is_uppercase());
        if code.contains("Other(String)") || (in_error && is_variant && code.contains("(String)")) {
            found.push(complain(source, line, "an error that is only text; give it fields"));
        }
    }
    found
}

/// Tests of the whole binary wait for the step that builds it: unmarked they would run before, and pass only where an
/// earlier build lies about.
fn unmarked_tests(source: &Source) -> Vec<String> {
    if !source.path.starts_with("crates/e2e/tests") {
        return Vec::new();
    }
    let pairs = source.code.windows(2).enumerate();
    let unmarked =
        pairs.filter(|(_, pair)| pair[0].trim() == "#[test]" && !pair[1].trim().starts_with("#[ignore"));
    unmarked.map(|(line, _)| complain(source, line, "a test of the binary without `#[ignore]`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(Path::new(path), text, false))
    }

    #[track_caller]
    fn breaks(text: &str, what: &str) {
        let found = complaints("crates/mica-x/src/a.rs", &format!("//! Head.\n{text}\n"));
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }

    #[test]
    fn each_rule_finds_its_breach() {
        breaks("fn a() { unsafe { b() } }", "mica-sys only");
        breaks("fn get_a() {}", "get_");
        breaks("mod util;", "attracts everything");
        breaks("// TODO later", "issue's number");
        breaks("// let a = b();", "commented-out");
        breaks("pub enum AError {\n    Wrong(String),\n}", "only text");
        breaks(&format!("fn a() {{\n{}}}", "    b();\n".repeat(100)), "more than 100");
        breaks(&"const A: u8 = 1;\n".repeat(601), "more than 600");
    }

    #[test]
    fn tests_of_the_binary_are_marked() {
        let path = "crates/e2e/tests/it/a.rs";
        let found = complaints(path, "//! Head.\n#[test]\nfn a() {}\n");
        assert!(found.len() == 1 && found[0].contains("without `#[ignore]`"), "{found:?}");
        let marked = "//! Head.\n#[test]\n#[ignore = \"needs root\"]\nfn a() {}\n";
        assert_eq!(complaints(path, marked), Vec::<String>::new());
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let text =
            "//! Head.\n// TODO #12: later.\n// Why it is so; and for whom.\nfn a() { b(\"unsafe\") }\n";
        assert_eq!(complaints("crates/mica-x/src/a.rs", text), Vec::<String>::new());
        let proved = "//! Head.\n// SAFETY: the caller keeps it open.\nfn a() { unsafe { b() } }\n";
        assert_eq!(complaints("crates/mica-sys/src/a.rs", proved), Vec::<String>::new());
    }

    #[test]
    fn heads_and_names_are_seen() {
        assert!(complaints("crates/mica-x/src/a.rs", "fn a() {}\n")[0].contains("//!"));
        assert!(complaints("crates/mica-x/src/utils.rs", "//! Head.\n")[0].contains("name"));
        assert!(
            complaints("crates/mica-sys/src/a.rs", "//! Head.\nfn a() { unsafe { b() } }\n")[0]
                .contains("SAFETY")
        );
    }
}
