//! `volume ls`: the volumes, by name.

use crate::args::{Matches, filter, format_of_rows, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::output::units::human_size;
use crate::report::{Outcome, SUCCESS};
use crate::row::{self, Row};
use mica_api::types::volume::Volume;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["volume ls", "volume list"],
    summary: "List volumes",
    operands: Operands::NONE,
    flags: || {
        vec![
            filter("Provide filter values (e.g. \"dangling=true\")"),
            format_of_rows(),
            switch("quiet", "Only display volume names").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Volumes that no container has", "volume ls -f dangling=true"),
        ("Names and places", "volume ls --format 'table {{.Name}}\\t{{.Mountpoint}}'"),
    ],
    visibility: Visibility::Plain,
};

const LAYOUT: Layout = Layout {
    table: "table {{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
    headings: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

/// What stands where a number was not asked for, or means nothing here.
const UNKNOWN: &str = "N/A";

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let is_quiet = matches.on("quiet");
    let typed = matches.text_or_empty("format");
    let text = if typed.is_empty() && !is_quiet { context.file().volumes_format.clone() } else { typed };
    let format = row::format(&text, &LAYOUT, is_quiet)?;
    let volumes = context.engine()?.volume_list(&matches.filters())?;
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    context.print(&row::show(&format, &rows)?)?;
    Ok(SUCCESS)
}

/// One volume; what it takes up only where that was asked for.
pub(crate) fn row(volume: &Volume) -> Row {
    let labels = volume.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let usage = volume.usage_data;
    #[expect(clippy::cast_precision_loss, reason = "a size for people has four digits")]
    let size = usage.filter(|usage| usage.size >= 0).map(|usage| human_size(usage.size as f64));
    let unknown = || UNKNOWN.to_owned();
    Row::new(
        "*formatter.volumeContext",
        [
            ("Availability", unknown()),
            ("Driver", volume.driver.clone()),
            ("Group", unknown()),
            ("Labels", labels.collect::<Vec<_>>().join(",")),
            ("Links", usage.map_or_else(unknown, |usage| usage.ref_count.to_string())),
            ("Mountpoint", volume.mountpoint.clone()),
            ("Name", volume.name.clone()),
            ("Scope", volume.scope.clone()),
            ("Size", size.unwrap_or_else(unknown)),
            ("Status", unknown()),
        ],
    )
    .with_labels(volume.labels.as_ref())
}
