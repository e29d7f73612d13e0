//! `image pull`: fetches an image by name.

use crate::args::{Matches, PlannedFlag, switch, text};
use crate::command::image::{Audience, progress};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image pull", "pull"],
    summary: "Download an image from a registry",
    operands: Operands::exactly(1, &["NAME[:TAG|@DIGEST]"]),
    flags: || {
        vec![
            text("platform", "string", "Set platform if server is multi-platform capable"),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    planned: &[
        PlannedFlag::switch("all-tags", Some('a'), "registries"),
        PlannedFlag::switch("disable-content-trust", None, "registries"),
    ],
    execute,
    examples: &[("Unpack the image that comes with this program", "pull hello")],
    visibility: Visibility::Common(5),
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let typed = matches.operand(0).unwrap_or_default();
    let reference = with_tag(&typed);
    let is_quiet = matches.on("quiet");
    if !is_quiet && reference != typed {
        context.print_line("Using default tag: latest")?;
    }
    let platform = matches.text("platform").unwrap_or_else(|| context.config.platform());
    let engine = context.engine()?;
    let before = engine.image_inspect(&reference).map(|image| image.id).ok();
    let progress = progress(context, if is_quiet { Audience::Nobody } else { Audience::Everybody });
    let id = engine.image_pull(&reference, &platform, &|event| progress.report(&event))?;
    if !is_quiet {
        let what = if before == Some(id) { "Image is up to date" } else { "Downloaded newer image" };
        context.print_line(&format!("Status: {what} for {reference}"))?;
    }
    context.print_line(&reference)?;
    Ok(SUCCESS)
}

/// `name` with the tag that it means when none is written.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(with_tag("hello"), "hello:latest");
        assert_eq!(with_tag("localhost:5000/hello"), "localhost:5000/hello:latest");
        assert_eq!(with_tag("localhost:5000/hello:1"), "localhost:5000/hello:1");
        assert_eq!(with_tag("hello@sha256:00"), "hello@sha256:00");
    }
}
