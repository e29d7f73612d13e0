//! `image history`: how an image was made, newest step first, and where its layers lie.

use crate::args::{Matches, format_of_rows, switch, text};
use crate::command::image::{ellipsis, short_id, size};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::output::time::ago;
use crate::report::{Outcome, SUCCESS};
use crate::row::{self, Row};
use jiff::tz::TimeZone;
use mica_api::types::image::HistoryEntry;
use mica_model::Timestamp;
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image history", "history"],
    summary: "Show the history of an image",
    operands: Operands::exactly(1, &["IMAGE"]),
    flags: || {
        vec![
            format_of_rows(),
            switch("human", "Print sizes and dates in human readable format (default true)").short('H'),
            switch("no-trunc", "Don't truncate output"),
            text(
                "platform",
                "string",
                "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
            ),
            switch("quiet", "Only show image IDs").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("See what made each layer", "history busybox"),
        ("Where each layer lies on this host", "history --format '{{.CreatedBy}}: {{.LayerPath}}' busybox"),
    ],
    visibility: Visibility::Plain,
};

/// Columns for what made a layer.
const CREATED_BY_WIDTH: usize = 45;

/// For people.
const LAYOUT: Layout = Layout {
    table: "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
        ("LayerPath", "LAYER PATH"),
    ],
};

/// With exact dates and sizes.
const LAYOUT_EXACT: Layout =
    Layout { table: "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", ..LAYOUT };

struct HistoryArgs {
    reference: String,
    platform: String,
    format: String,
    is_human: bool,
    is_truncated: bool,
    is_quiet: bool,
}

impl HistoryArgs {
    fn new(matches: &Matches) -> Self {
        Self {
            reference: matches.operand(0).unwrap_or_default(),
            platform: matches.text_or_empty("platform"),
            format: matches.text_or_empty("format"),
            is_human: matches.switch("human").unwrap_or(true),
            is_truncated: !matches.on("no-trunc"),
            is_quiet: matches.on("quiet"),
        }
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let args = HistoryArgs::new(matches);
    let layout = if args.is_human { &LAYOUT } else { &LAYOUT_EXACT };
    let format = row::format(&args.format, layout, args.is_quiet)?;
    let zone = context.config.zone();
    let entries = context.engine()?.image_history(&args.reference, &args.platform)?;
    let now = SystemTime::now().into();
    let rows: Vec<Row> = entries.iter().map(|entry| history_row(entry, &args, now, &zone)).collect();
    context.print(&row::show(&format, &rows)?)?;
    Ok(SUCCESS)
}

fn history_row(entry: &HistoryEntry, args: &HistoryArgs, now: Timestamp, zone: &TimeZone) -> Row {
    let created = Timestamp::from_seconds(entry.created);
    let created_by = entry.created_by.replace('\t', " ");
    let bytes = u64::try_from(entry.size).unwrap_or(0);
    Row::new(
        "*formatter.historyContext",
        [
            ("Comment", entry.comment.clone()),
            ("CreatedAt", rfc3339(created, zone)),
            (
                "CreatedBy",
                if args.is_truncated { ellipsis(&created_by, CREATED_BY_WIDTH) } else { created_by },
            ),
            ("CreatedSince", if args.is_human { ago(created, now) } else { rfc3339(created, zone) }),
            ("ID", if args.is_truncated { short_id(&entry.id).to_owned() } else { entry.id.clone() }),
            ("LayerPath", entry.layer_path.clone()),
            ("Size", if args.is_human { size(bytes) } else { bytes.to_string() }),
        ],
    )
}

/// An instant to the second with the local offset; empty for "never", as docker has it here.
fn rfc3339(instant: Timestamp, zone: &TimeZone) -> String {
    if instant.is_never() {
        return String::new();
    }
    jiff::Timestamp::from_second(instant.seconds()).map_or_else(
        |_| instant.to_string(),
        |time| {
            time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z")
        },
    )
}
