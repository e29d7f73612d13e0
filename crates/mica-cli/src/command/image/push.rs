//! `image push`: sends an image to a registry.

use crate::args::{Matches, number, switch, text};
use crate::command::image::pull::refuse_content_trust;
use crate::command::image::{Audience, progress};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::image::PushRequest;
use mica_model::Reference;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image push", "push"],
    summary: "Upload an image to a registry",
    operands: Operands::exactly(1, &["NAME[:TAG]"]),
    flags: || {
        vec![
            switch("all-tags", "Push all tags of an image to the repository").short('a'),
            text(
                "compression-format",
                "string",
                "Compress all layers anew in this format (\"gzip\", \"zstd\")",
            ),
            number("compression-level", "Compress all layers anew, as hard as this"),
            switch("disable-content-trust", "Skip image signing (default true)").hide(true),
            text("platform", "string", "Push the image for this platform alone (\"os[/arch[/variant]]\")"),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("To a registry of your own", "push registry.example:5000/team/app:v1")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    refuse_content_trust(matches)?;
    let reference = matches.operand(0).unwrap_or_default();
    let all_tags = matches.on("all-tags");
    let is_quiet = matches.on("quiet");
    let last = reference.rsplit('/').next().unwrap_or_default();
    if !is_quiet && !all_tags && !last.contains(':') {
        context.print_line("Using default tag: latest")?;
    }
    let progress = progress(context, if is_quiet { Audience::Nobody } else { Audience::Everybody });
    let keyring = context.keyring();
    let platform = matches.text_or_empty("platform");
    let request = PushRequest {
        reference,
        platform,
        all_tags,
        compression: matches.text_or_empty("compression-format"),
        compression_level: matches.number("compression-level"),
        access: context.registry_access(&keyring),
    };
    context.engine()?.image_push(&request, &|event| progress.report(&event))?;
    drop(progress);
    if is_quiet {
        context.print_line(&full_name(&request.reference, all_tags))?;
    }
    Ok(SUCCESS)
}

/// The name in full, as docker ends a quiet push; a repository alone where all its tags were pushed.
fn full_name(typed: &str, all_tags: bool) -> String {
    let name = |name: Reference| if all_tags { name } else { name.with_default_tag() };
    Reference::parse_normalized(typed).map_or_else(|_| typed.to_owned(), |parsed| name(parsed).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_push_ends_with_the_name_in_full() {
        assert_eq!(full_name("team/app", false), "docker.io/team/app:latest");
        assert_eq!(full_name("127.0.0.1:5000/app", true), "127.0.0.1:5000/app");
    }
}
