//! `container ls`: the containers, newest first.

pub(crate) mod row;

use crate::args::{Matches, filter, format_of_rows, number, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::{Detail, Format, Layout};
use crate::output::template::Object;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::container::ListOptions;
use row::{HEADINGS, Look, Row};
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container ls", "container list", "container ps", "ps"],
    summary: "List containers",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Show all containers (default shows just running)").short('a'),
            filter("Filter output based on conditions provided"),
            format_of_rows(),
            number("last", "Show n last created containers (includes all states) (default -1)").short('n'),
            switch("latest", "Show the latest created container (includes all states)").short('l'),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only display container IDs").short('q'),
            switch("size", "Display total file sizes").short('s'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Also those that have ended", "ps -a"),
        ("Names and states only", "ps -a --format 'table {{.Names}}\\t{{.Status}}'"),
        ("Those of one image that failed", "ps -a -f ancestor=debian -f exited=1"),
    ],
    visibility: Visibility::Common(3),
};

const LAYOUT: Layout = Layout {
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
    headings: HEADINGS,
};

const LAYOUT_WITH_SIZE: Layout = Layout {
    table: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..LAYOUT
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let is_quiet = matches.on("quiet");
    let typed = matches.text("format").filter(|format| !format.is_empty());
    let format = match typed {
        None if !is_quiet => context.file().ps_format.clone(),
        typed => typed.unwrap_or_default(),
    };
    if is_quiet && !format.is_empty() {
        context.say_error("WARNING: Ignoring custom format, because both --format and --quiet are set.\n");
    }
    let layout = if matches.on("size") { &LAYOUT_WITH_SIZE } else { &LAYOUT };
    let detail = if is_quiet { Detail::Quiet } else { Detail::Full };
    let format = if format == "raw" { raw(matches) } else { format };
    let parsed = Format::parse(&format, layout, detail).map_err(template)?;
    // Sizes cost a walk over each writable layer; they are asked for where they are shown.
    let shows_size = matches.on("size") || (!is_quiet && format.contains(".Size"));
    let containers = context.engine()?.container_list(&options(matches, shows_size))?;
    let look = Look {
        is_truncated: !matches.on("no-trunc"),
        now: SystemTime::now().into(),
        zone: context.config.zone(),
    };
    let rows: Vec<_> = containers.iter().map(|container| Row::new(container, &look)).collect();
    let rows: Vec<_> = rows.iter().map(|row| row as &dyn Object).collect();
    context.print(&parsed.render(&rows).map_err(template)?)?;
    Ok(SUCCESS)
}

fn options(matches: &Matches, size: bool) -> ListOptions {
    let last = matches.number("last").and_then(|last| usize::try_from(last).ok()).unwrap_or(0);
    let limit = if last == 0 && matches.on("latest") { 1 } else { last };
    ListOptions { all: matches.on("all") || limit > 0, limit, size, filters: matches.filters() }
}

/// `--format raw`: a line for each field, a block for each container.
fn raw(matches: &Matches) -> String {
    let size = if matches.on("size") { "size: {{.Size}}\n" } else { "" };
    format!("{RAW}{size}")
}

const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\n\
created_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\n\
names: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";

/// A format that is no template, or names what rows do not have.
pub(crate) const fn template(source: crate::output::template::TemplateError) -> Failure {
    Failure::Listing { source }
}

#[cfg(test)]
mod tests;
