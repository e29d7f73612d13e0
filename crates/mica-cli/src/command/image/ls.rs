//! `image ls`: a row for each name of each image.

mod rows;

use crate::args::{Matches, PlannedFlag, filter, format_of_rows, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::report::{Outcome, SUCCESS};
use crate::row;
use mica_api::types::image::ImageListOptions;
use mica_model::Filters;
use std::time::SystemTime;

pub(crate) use rows::{RowOptions, exact_size, first_row, rows};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image ls", "image list", "images"],
    summary: "List images",
    operands: Operands::between(0, 1, &["[REPOSITORY[:TAG]]"]),
    flags: || {
        vec![
            switch("all", "Show all images (default hides intermediate images)").short('a'),
            switch("digests", "Show digests"),
            filter("Filter output based on conditions provided"),
            format_of_rows(),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only show image IDs").short('q'),
        ]
    },
    planned: &[PlannedFlag::switch("tree", None, "registries")],
    execute,
    examples: &[
        ("All names of one repository", "images busybox"),
        ("Images without a name", "images -f dangling=true"),
        ("Names and sizes only", "images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Size}}'"),
    ],
    visibility: Visibility::Common(7),
};

/// Without digests.
const LAYOUT: Layout = Layout {
    table: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
};

const LAYOUT_WITH_DIGESTS: Layout = Layout {
    table: "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    ..LAYOUT
};

struct ListArgs {
    is_all: bool,
    shows_digests: bool,
    is_truncated: bool,
    is_quiet: bool,
    format: String,
    filters: Filters,
}

impl ListArgs {
    fn new(matches: &Matches, context: &Context<'_>) -> Self {
        let mut filters = matches.filters();
        if let Some(pattern) = matches.operand(0) {
            filters.add("reference", &pattern);
        }
        let is_quiet = matches.on("quiet");
        let typed = matches.text_or_empty("format");
        let format = if typed.is_empty() && !is_quiet { context.file().images_format.clone() } else { typed };
        Self {
            is_all: matches.on("all"),
            shows_digests: matches.on("digests"),
            is_truncated: !matches.on("no-trunc"),
            is_quiet,
            format,
            filters,
        }
    }

    /// The template that `--format` asks for; `raw` is a line for each field, a block for each image.
    fn template(&self) -> String {
        if self.format != "raw" {
            return self.format.clone();
        }
        if self.is_quiet {
            return "image_id: {{.ID}}".to_owned();
        }
        let digest = if self.shows_digests { "digest: {{.Digest}}\n" } else { "" };
        format!(
            "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\n\
             created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
        )
    }

    const fn layout(&self) -> &'static Layout {
        if self.shows_digests { &LAYOUT_WITH_DIGESTS } else { &LAYOUT }
    }

    /// Whether each digest has a row of its own.
    fn is_by_digest(&self) -> bool {
        !self.is_quiet && (self.shows_digests || self.format.contains("{{.Digest}}"))
    }

    /// What the engine is asked; sizes that cost work only where they are shown.
    fn options(&self) -> ImageListOptions {
        let shared_size = ["SharedSize", "UniqueSize"].iter().any(|field| self.format.contains(field));
        ImageListOptions { all: self.is_all, filters: self.filters.clone(), shared_size }
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let args = ListArgs::new(matches, context);
    let is_short = args.is_quiet && args.format != "raw";
    let format = row::format(&args.template(), args.layout(), is_short)?;
    let images = context.engine()?.image_list(&args.options())?;
    let options = RowOptions {
        by_digest: args.is_by_digest(),
        is_truncated: args.is_truncated,
        now: SystemTime::now().into(),
        zone: context.config.zone(),
    };
    context.print(&row::show(&format, &rows(&images, &options))?)?;
    Ok(SUCCESS)
}
