//! `system df`: who uses how much disk.

mod details;

use crate::args::{Matches, format_of_rows, switch};
use crate::command::image::ls::exact_size;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::report::{Outcome, SUCCESS};
use crate::row::{self, Row};
use mica_api::types::container::ContainerSummary;
use mica_api::types::system::DiskUsage;
use mica_api::types::volume::Volume;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["system df"],
    summary: "Show disk usage",
    operands: Operands::NONE,
    flags: || {
        vec![format_of_rows(), switch("verbose", "Show detailed information on space usage").short('v')]
    },
    planned: &[],
    execute,
    examples: &[("Which images and containers use the disk", "system df -v")],
    visibility: Visibility::Plain,
};

const LAYOUT: Layout = Layout {
    table: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let text = matches.text_or_empty("format");
    if matches.on("verbose") {
        return details::execute(&text, context);
    }
    let format = row::format(&text, &LAYOUT, false)?;
    let usage = context.engine()?.disk_usage()?;
    context.print(&row::show(&format, &rows(&usage))?)?;
    Ok(SUCCESS)
}

/// A kind of thing that takes room.
struct Share {
    name: &'static str,
    count: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

fn rows(usage: &DiskUsage) -> Vec<Row> {
    // Tools that read this table expect the kind that mica does not have yet, too.
    let cache = Share { name: "Build Cache", count: 0, active: 0, size: 0, reclaimable: 0 };
    [images(usage), containers(&usage.containers), volumes(&usage.volumes), cache]
        .iter()
        .map(share_row)
        .collect()
}

fn images(usage: &DiskUsage) -> Share {
    Share {
        name: "Images",
        count: usage.images.len(),
        active: usage.images.iter().filter(|image| image.containers > 0).count(),
        size: usage.layers_size,
        reclaimable: usage.images_reclaimable,
    }
}

fn containers(containers: &[ContainerSummary]) -> Share {
    let is_active = |container: &&ContainerSummary| {
        matches!(container.state.as_str(), "running" | "paused" | "restarting")
    };
    let size = |container: &ContainerSummary| container.size_rw.unwrap_or(0);
    Share {
        name: "Containers",
        count: containers.len(),
        active: containers.iter().filter(is_active).count(),
        size: containers.iter().map(size).sum(),
        reclaimable: containers.iter().filter(|one| !is_active(one)).map(size).sum(),
    }
}

fn volumes(volumes: &[Volume]) -> Share {
    let size = |volume: &Volume| volume.usage_data.map_or(0, |usage| usage.size.max(0));
    let is_active = |volume: &&Volume| volume.usage_data.is_some_and(|usage| usage.ref_count > 0);
    Share {
        name: "Local Volumes",
        count: volumes.len(),
        active: volumes.iter().filter(is_active).count(),
        size: volumes.iter().map(size).sum(),
        reclaimable: volumes.iter().filter(|one| !is_active(one)).map(size).sum(),
    }
}

fn share_row(share: &Share) -> Row {
    let mut reclaimable = exact_size(share.reclaimable);
    if share.size > 0 {
        reclaimable.push_str(&format!(" ({}%)", share.reclaimable.saturating_mul(100) / share.size));
    }
    Row::new(
        "*formatter.diskUsageContext",
        [
            ("Active", share.active.to_string()),
            ("Reclaimable", reclaimable),
            ("Size", exact_size(share.size)),
            ("TotalCount", share.count.to_string()),
            ("Type", share.name.to_owned()),
        ],
    )
}
