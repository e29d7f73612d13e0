//! `builder du`: what builds keep for the next ones.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::units::human_size;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["builder du", "buildx du"],
    summary: "Show what builds keep on the disk",
    operands: Operands::NONE,
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn execute(_: &Matches, context: &Context<'_>) -> Outcome {
    let records = context.engine()?.build_cache()?;
    context.print_line("ID\tRECLAIMABLE\tSIZE\tDESCRIPTION")?;
    for record in &records {
        let digits = record.id.split_once(':').map_or(record.id.as_str(), |(_, digits)| digits);
        let id = digits.get(..25).unwrap_or(digits);
        let size = human_size(record.size as f64);
        context.print_line(&format!("{id}\t{}\t{size}\t{}", !record.in_use, record.description))?;
    }
    let total: u64 = records.iter().map(|record| record.size).sum();
    let shared: u64 = records.iter().filter(|record| record.shared).map(|record| record.size).sum();
    context.print_line(&format!("Shared:\t\t{}", human_size(shared as f64)))?;
    context.print_line(&format!("Private:\t{}", human_size((total - shared) as f64)))?;
    context.print_line(&format!("Reclaimable:\t{}", human_size((total - shared) as f64)))?;
    context.print_line(&format!("Total:\t\t{}", human_size(total as f64)))?;
    Ok(SUCCESS)
}
