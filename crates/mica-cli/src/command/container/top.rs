//! `container top`: the processes of a container.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::ui::escape_control;
use crate::report::{Outcome, SUCCESS};
use std::fmt::Write as _;

/// No column is narrower than this, as in docker's output.
const WIDTH_MIN: usize = 20;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container top", "top"],
    summary: "Display the running processes of a container",
    operands: Operands::trailing(1, &["CONTAINER [ps OPTIONS]"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("With the columns of `ps aux`", "top web aux")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let operands = matches.operands();
    let (reference, arguments) =
        operands.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let top = context.engine()?.container_top(reference, arguments)?;
    let rows: Vec<&Vec<String>> = std::iter::once(&top.titles).chain(&top.processes).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let cell = escape_control(cell);
            let is_last = column + 1 == row.len();
            let width = if is_last { 0 } else { width(&rows, column) };
            let _ = write!(text, "{cell:width$}");
        }
        text.push('\n');
    }
    context.print(&text)?;
    Ok(SUCCESS)
}

fn width(rows: &[&Vec<String>], column: usize) -> usize {
    let widest =
        rows.iter().filter_map(|row| row.get(column)).map(|cell| escape_control(cell).chars().count()).max();
    (widest.unwrap_or(0) + 3).max(WIDTH_MIN)
}
