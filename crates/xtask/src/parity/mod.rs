//! `cargo xtask parity`: writes COMPATIBILITY.md from docker's facts and our own definition, or checks that it is true.

mod definition;
mod facts;
mod language;
mod verdict;

use crate::build::{self, Profile};
use crate::failure::Failure;
use definition::Definition;
use facts::Facts;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use verdict::{Row, Verdict};

/// Writes COMPATIBILITY.md; with `--check` only tells whether it would change.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let check = match options {
        [] => false,
        ["--check"] => true,
        _ => return Err(Failure::Usage { text: "usage: cargo xtask parity [--check]".into() }),
    };
    let workspace = e2e::fixture::workspace();
    let path = workspace.join("COMPATIBILITY.md");
    let text = document(&workspace, &workspace.join("docs/parity"))?;
    if !check {
        return std::fs::write(&path, text).map_err(Failure::file(path));
    }
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    Err(Failure::Document {
        document: path.display().to_string(),
        reason: "is stale: run `cargo xtask parity`".into(),
    })
}

fn document(workspace: &Path, directory: &Path) -> Result<String, Failure> {
    let facts = Facts::read(directory)?;
    let binary = build::mica(Profile::Dev)?;
    let ours = Definition::parse(&build::capture(Command::new(binary).arg("__definition"))?)?;
    let notes = directory.join("notes.md");
    let notes = std::fs::read_to_string(&notes).map_err(Failure::file(notes))?;
    let rows = verdict::judge(&facts, &ours);
    Ok([
        notes.trim_end().to_owned(),
        counts(&rows),
        commands(&rows),
        flags(&rows),
        language::section(workspace, directory)?,
        extras(&facts, &ours, &rows),
        scope(&facts),
    ]
    .join("\n\n")
        + "\n")
}

fn counts(rows: &[Row]) -> String {
    let named = || rows.iter().filter(|row| !row.name.is_empty());
    let flags = || rows.iter().flat_map(|row| &row.flags);
    let mut text = String::from(
        "## In numbers\n\n| | works | differs | waits | will not come | missing |\n|---|---|---|---|---|---|\n",
    );
    let line = |verdicts: Vec<&Verdict>| {
        let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
        format!(
            "{} | {} | {} | {} | {} |",
            count(|verdict| matches!(verdict, Verdict::Works)),
            count(|verdict| matches!(verdict, Verdict::Differs(_))),
            count(|verdict| matches!(verdict, Verdict::Waits(_))),
            count(|verdict| matches!(verdict, Verdict::Excluded(_))),
            count(|verdict| matches!(verdict, Verdict::Missing)),
        )
    };
    let _ = writeln!(text, "| commands | {}", line(named().map(|row| &row.verdict).collect()));
    let _ = write!(text, "| flags | {}", line(flags().map(|(_, verdict)| verdict).collect()));
    text
}

fn commands(rows: &[Row]) -> String {
    let mut text = String::from("## Commands\n\n| `docker …` | verdict | flags that work |\n|---|---|---|\n");
    for row in rows.iter().filter(|row| !row.name.is_empty()) {
        let works = |verdict: &Verdict| matches!(verdict, Verdict::Works | Verdict::Differs(_));
        let working = row.flags.iter().filter(|(_, verdict)| works(verdict)).count();
        let share =
            if works(&row.verdict) { format!("{working} of {}", row.flags.len()) } else { String::new() };
        let _ = writeln!(text, "| `{}` | {} | {share} |", row.name, words(&row.verdict));
    }
    text.trim_end().to_owned()
}

/// The flags of existing commands that do not simply work.
fn flags(rows: &[Row]) -> String {
    let mut text = String::from(
        "## Flags that wait, differ or are missing\n\n| command | flag | verdict |\n|---|---|---|\n",
    );
    for row in rows.iter().filter(|row| matches!(row.verdict, Verdict::Works | Verdict::Differs(_))) {
        let name = if row.name.is_empty() { "(before the command)" } else { &row.name };
        for (flag, verdict) in row.flags.iter().filter(|(_, verdict)| *verdict != Verdict::Works) {
            let hidden = if flag.is_hidden { " (hidden in docker's help)" } else { "" };
            let _ = writeln!(text, "| `{name}` | `--{}` | {}{hidden} |", flag.name, words(verdict));
        }
    }
    text.trim_end().to_owned()
}

fn extras(facts: &Facts, ours: &Definition, rows: &[Row]) -> String {
    let mut text = String::from("## Beyond docker\n");
    for command in verdict::beyond(facts, ours) {
        let _ = write!(text, "\n- `mica {command}`");
    }
    for row in rows {
        for flag in &row.beyond {
            let _ = write!(text, "\n- `mica {}`", format!("{} --{flag}", row.name).trim());
        }
    }
    text
}

fn scope(facts: &Facts) -> String {
    let mut text = String::from("## Out of scope\n\nWhat only swarm clusters or Windows know:\n");
    for kind in ["group", "command", "flag"] {
        let names = facts.out_of_scope.iter().filter(|(of, _)| of == kind);
        let names: Vec<String> = names.map(|(_, name)| format!("`{name}`")).collect();
        if !names.is_empty() {
            let _ = write!(text, "\n- {kind}s: {}", names.join(", "));
        }
    }
    text
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Works => "works".into(),
        Verdict::Differs(how) => format!("differs: {how}"),
        Verdict::Waits(what) => format!("waits for: {what}"),
        Verdict::Excluded(why) => format!("will not come: {why}"),
        Verdict::Missing => "missing".into(),
    }
}
