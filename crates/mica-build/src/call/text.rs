//! Targets, outlines and findings as tables for people, in docker's form.

use super::{Outline, OutlineMount, Target};
use crate::dockerfile::{ParseError, excerpt};
use crate::lint::Finding;
use std::fmt::Write as _;

/// The targets: names and descriptions.
pub fn targets(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let name = if target.name.is_empty() { "<unnamed>" } else { &target.name };
        let mark = match (target.is_default, target.name.is_empty()) {
            (true, true) => "(default)".to_owned(),
            (true, false) => format!("{name} (default)"),
            (false, _) => name.to_owned(),
        };
        vec![mark, target.description.clone()]
    };
    let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    rows.extend(targets.iter().map(row));
    table(&rows)
}

/// An outline.
pub fn outline(outline: &Outline) -> String {
    let mut text = String::new();
    let mut section = |rows: &[Vec<String>]| text = std::mem::take(&mut text) + &table(rows) + "\n";
    let owned = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut head = Vec::new();
    if !outline.name.is_empty() {
        head.push(owned(&["TARGET:", &outline.name]));
    }
    if !outline.description.is_empty() {
        head.push(owned(&["DESCRIPTION:", &outline.description]));
    }
    if !head.is_empty() {
        section(&head);
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![owned(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        rows.extend(outline.arguments.iter().map(|argument| {
            owned(&[&argument.name, argument.value.as_deref().unwrap_or_default(), &argument.description])
        }));
        section(&rows);
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if !mounts.is_empty() {
            let row = |mount: &OutlineMount| owned(&[&mount.id, if mount.is_required { "true" } else { "" }]);
            let rows: Vec<_> =
                std::iter::once(owned(&[title, "REQUIRED"])).chain(mounts.iter().map(row)).collect();
            section(&rows);
        }
    }
    text
}

/// The findings of a check and, when the file is wrong, what is.
pub fn check(name: &str, source: &str, findings: &[Finding], error: Option<&ParseError>) -> String {
    let mut text = match findings.len() {
        0 if error.is_none() => "Check complete, no warnings found.\n".to_owned(),
        0 => String::new(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for finding in findings {
        let _ = write!(
            text,
            "\nWARNING: {} - {}\n{}\n",
            finding.rule.name(),
            finding.rule.url(),
            finding.message
        );
        text += &excerpt(name, source, finding.instruction, finding.span);
    }
    if let Some(error) = error {
        let gap = if findings.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}ERROR: {error}");
        text += &excerpt(name, source, error.span, error.span);
    }
    text
}

/// The findings after a build, a line each, and the arguments that nothing in the file asks for.
pub fn summary(findings: &[Finding], unconsumed: &[String]) -> String {
    let mut text = match findings.len() + usize::from(!unconsumed.is_empty()) {
        0 => return String::new(),
        1 => "1 warning found:\n".to_owned(),
        count => format!("{count} warnings found:\n"),
    };
    for finding in findings {
        let line = finding.instruction.start.line;
        let _ = writeln!(text, " - {}: {} (line {line})", finding.rule.name(), finding.message);
    }
    if !unconsumed.is_empty() {
        let _ = writeln!(text, " - One or more build-args [{}] were not consumed", unconsumed.join(" "));
    }
    text
}

/// Columns with three spaces between them; the last one is not filled up.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count() + 3)));
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}
