//! `image pull`: fetches an image by name.

use crate::args::{Matches, switch, text};
use crate::command::image::{Audience, progress};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::image::PullRequest;
use mica_model::Reference;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image pull", "pull"],
    summary: "Download an image from a registry",
    operands: Operands::exactly(1, &["NAME[:TAG|@DIGEST]"]),
    flags: || {
        vec![
            switch("all-tags", "Download all tagged images in the repository").short('a'),
            switch("disable-content-trust", "Skip image verification (default true)").hide(true),
            text("platform", "string", "Set platform if server is multi-platform capable"),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Unpack the image that comes with this program", "pull hello"),
        ("From a registry of your own", "pull registry.example:5000/team/app:v1"),
    ],
    visibility: Visibility::Common(5),
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let typed = matches.operand(0).unwrap_or_default();
    refuse_content_trust(matches)?;
    let all_tags = matches.on("all-tags");
    let reference = if all_tags { typed.clone() } else { with_tag(&typed) };
    let is_quiet = matches.on("quiet");
    if !is_quiet && reference != typed {
        context.print_line("Using default tag: latest")?;
    }
    let platform = matches.text("platform").unwrap_or_else(|| context.config.platform());
    let progress = progress(context, if is_quiet { Audience::Nobody } else { Audience::Everybody });
    let keyring = context.keyring();
    let request = PullRequest { reference, platform, all_tags, access: context.registry_access(&keyring) };
    let pulled = context.engine()?.image_pull(&request, &|event| progress.report(&event))?;
    drop(progress);
    match pulled.as_slice() {
        [image] if !all_tags => context.print_line(&image.name)?,
        _ => context.print_line(&canonical(&typed))?,
    }
    Ok(SUCCESS)
}

/// `--disable-content-trust` is how it always is; the contrary is not to be had.
pub(crate) fn refuse_content_trust(matches: &Matches) -> Result<(), Failure> {
    if matches.switch("disable-content-trust") == Some(false) {
        return Err(Failure::refused(
            "signatures of Notary are not verified: --disable-content-trust cannot be false",
        ));
    }
    Ok(())
}

/// A repository's full name, as docker ends a pull of all its tags.
fn canonical(name: &str) -> String {
    Reference::parse_normalized(name).map_or_else(|_| name.to_owned(), |name| name.to_string())
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
