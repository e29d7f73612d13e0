//! `system prune`: deletes stopped containers, unused networks and unused images in one go.

use crate::args::{Matches, filter_of_prune, switch};
use crate::command::image::prune::{reclaimed_line, report, select};
use crate::command::network::prune::report as networks_report;
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_model::Filters;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["system prune"],
    summary: "Remove unused data",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused images not just dangling ones").short('a'),
            filter_of_prune("Provide filter values (e.g. \"label=<key>=<value>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
            switch("volumes", "Prune anonymous volumes"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Remove stopped containers and images without a name", "system prune"),
        ("Also remove every image that no container uses, without asking", "system prune -af"),
    ],
    visibility: Visibility::Plain,
};

struct PruneArgs {
    is_all: bool,
    is_forced: bool,
    with_volumes: bool,
    filters: Filters,
}

impl PruneArgs {
    fn new(matches: &Matches) -> Self {
        Self {
            is_all: matches.on("all"),
            is_forced: matches.on("force"),
            with_volumes: matches.on("volumes"),
            filters: matches.filters(),
        }
    }

    /// What is going to be removed, for the question.
    fn warning(&self) -> String {
        let images = if self.is_all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        let volumes = if self.with_volumes {
            "  - all anonymous volumes not used by at least one container\n"
        } else {
            ""
        };
        let mut text = format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n{volumes}  - {images}\n"
        );
        if !self.filters.is_empty() {
            text.push_str("\n  Items to be pruned will be filtered with:\n");
            for key in self.filters.keys() {
                for value in self.filters.values(key) {
                    text.push_str(&format!("  - {key}={value}\n"));
                }
            }
        }
        text
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let args = PruneArgs::new(matches);
    if args.with_volumes && args.filters.contains("until") {
        return Err(Failure::refused("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    if !args.is_forced && !confirmation::ask(&args.warning(), context)? {
        return Ok(SUCCESS);
    }
    let engine = context.engine()?;
    // Containers go first, so that the images that only they used are unused.
    let containers = engine.container_prune(&args.filters)?;
    if !containers.deleted.is_empty() {
        context.print(&format!("Deleted Containers:\n{}\n\n", containers.deleted.join("\n")))?;
    }
    context.print(&networks_report(&engine.network_prune(&args.filters)?))?;
    let mut freed = containers.space_reclaimed;
    if args.with_volumes {
        let volumes = engine.volume_prune(&args.filters)?;
        context.print(&crate::command::volume::prune::report(&volumes.deleted))?;
        freed = freed.saturating_add(volumes.space_reclaimed);
    }
    let mut filters = args.filters.clone();
    select(&mut filters, args.is_all);
    let (images, reclaimed) = engine.image_prune(&filters)?;
    context.print(&report(&images))?;
    context.print_line(&reclaimed_line(freed.saturating_add(reclaimed)))?;
    Ok(SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_all_that_goes() {
        let mut filters = Filters::default();
        filters.add("until", "24h");
        filters.add("label", "a");
        let args = PruneArgs { is_all: false, is_forced: false, with_volumes: false, filters };
        assert_eq!(
            args.warning(),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  - all dangling images\n\n  \
             Items to be pruned will be filtered with:\n  - label=a\n  - until=24h\n"
        );
        let args =
            PruneArgs { is_all: true, is_forced: false, with_volumes: true, filters: Filters::default() };
        assert!(args.warning().contains("container\n  - all anonymous volumes not used by at least one"));
        assert!(
            args.warning().ends_with("  - all images without at least one container associated to them\n")
        );
    }
}
