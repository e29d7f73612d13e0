//! Environment variables and labels: from flags, and from files of one per line.

use crate::args::ValueError;
use crate::config::Environment;
use crate::report::Failure;
use std::collections::BTreeMap;
use std::fs;

/// Checks `-e` as docker does: anything with a name.
///
/// # Errors
/// The name is missing.
pub fn parse_variable(typed: &str) -> Result<String, ValueError> {
    if typed.is_empty() || typed.starts_with('=') {
        return Err(ValueError { message: format!("invalid environment variable: {typed}") });
    }
    Ok(typed.to_owned())
}

/// Checks `-l`.
///
/// # Errors
/// The name is missing.
pub fn parse_label(typed: &str) -> Result<String, ValueError> {
    if typed.is_empty() || typed.starts_with('=') {
        return Err(ValueError { message: format!("invalid label '{typed}': empty name") });
    }
    Ok(typed.to_owned())
}

/// The variables of `files`, then those of `flags`; a bare name takes the value it has here, and
/// is left out where it has none.
///
/// # Errors
/// A file that cannot be read, or a line that is no variable.
pub fn environment(files: &[String], flags: &[String], here: &Environment) -> Result<Vec<String>, Failure> {
    let mut variables = Vec::new();
    for file in files {
        for line in lines(file)? {
            variables.extend(resolved(&line, here));
        }
    }
    for flag in flags {
        variables.extend(resolved(flag, here));
    }
    Ok(variables)
}

/// The labels of `files`, then those of `flags`; the last of a name wins.
///
/// # Errors
/// A file that cannot be read, or a line that is no label.
pub fn labels(files: &[String], flags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    let mut add = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        labels.insert(name.to_owned(), value.to_owned());
    };
    for file in files {
        // docker takes a line without a value for a variable to import, which labels have none of.
        lines(file)?.iter().filter(|line| line.contains('=')).for_each(|line| add(line));
    }
    flags.iter().for_each(|flag| add(flag));
    Ok(labels)
}

fn resolved(variable: &str, here: &Environment) -> Option<String> {
    if variable.contains('=') {
        return Some(variable.to_owned());
    }
    here.variable(variable).map(|value| format!("{variable}={value}"))
}

/// The lines of a file that are neither empty nor comments, checked.
fn lines(path: &str) -> Result<Vec<String>, Failure> {
    let bytes =
        fs::read(path).map_err(|source| Failure::File { action: "open", path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Failure::refused_launch(format!("invalid env file ({path}): it is not text in UTF-8"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        check_line(path, line)?;
        lines.push(line.to_owned());
    }
    Ok(lines)
}

fn check_line(path: &str, line: &str) -> Result<(), Failure> {
    let name = line.split('=').next().unwrap_or_default();
    let reason = if name.is_empty() {
        format!("no variable name on line '{line}'")
    } else if name.contains(char::is_whitespace) {
        format!("variable '{name}' contains whitespaces")
    } else {
        return Ok(());
    };
    Err(Failure::refused_launch(format!("invalid env file ({path}): {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, test: impl FnOnce(&str)) {
        let path = std::env::temp_dir().join(format!("mica-variables-{}-{}", std::process::id(), text.len()));
        fs::write(&path, text).unwrap();
        test(path.to_str().unwrap());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn files_come_before_flags_and_bare_names_are_imported() {
        let here: Environment = [("HERE", "yes")].into_iter().collect();
        with_file("\u{feff}# comment\n\n  A=1\nHERE\nABSENT\nB=x=y \n", |path| {
            let variables =
                environment(&[path.to_owned()], &["A=2".to_owned(), "HERE".to_owned()], &here).unwrap();
            assert_eq!(variables, ["A=1", "HERE=yes", "B=x=y ", "A=2", "HERE=yes"]);
        });
    }

    #[test]
    fn lines_without_a_name_are_refused() {
        for (text, reason) in [("=1\n", "no variable name"), ("A B=1\n", "contains whitespaces")] {
            with_file(text, |path| {
                let error = environment(&[path.to_owned()], &[], &Environment::default()).unwrap_err();
                assert!(error.to_string().contains(reason), "{error}");
                assert_eq!(error.code(), 125);
            });
        }
    }

    #[test]
    fn the_last_label_wins() {
        let flags = ["a=1".to_owned(), "b".to_owned(), "a=2".to_owned()];
        let labels = labels(&[], &flags).unwrap();
        assert_eq!(
            labels,
            BTreeMap::from([("a".to_owned(), "2".to_owned()), ("b".to_owned(), String::new())])
        );
    }
}
