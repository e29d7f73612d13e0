//! `manifest annotate`: says for which system a manifest of a list is.

use super::plain;
use crate::args::{Matches, list, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::manifest::ManifestAnnotateRequest;
use mica_model::PlatformWords;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["manifest annotate"],
    summary: "Add additional information to a local image manifest",
    operands: Operands::exactly(2, &["MANIFEST_LIST MANIFEST"]),
    flags: || {
        vec![
            text("arch", "string", "Set architecture"),
            text("os", "string", "Set operating system"),
            list("os-features", "strings", "Set operating system feature"),
            text("os-version", "string", "Set operating system version"),
            text("variant", "string", "Set architecture variant"),
        ]
    },
    planned: &[],
    execute,
    examples: &[("For 32-bit ARM", "manifest annotate --arch arm --variant v7 team/app:v1 team/app:v1-arm")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    context.engine()?.manifest_annotate(&request(matches)).map_err(plain)?;
    Ok(SUCCESS)
}

fn request(matches: &Matches) -> ManifestAnnotateRequest {
    let features = matches.list("os-features");
    let features = features.iter().flat_map(|list| list.split(','));
    ManifestAnnotateRequest {
        list: matches.operand(0).unwrap_or_default(),
        manifest: matches.operand(1).unwrap_or_default(),
        platform: PlatformWords {
            architecture: matches.text_or_empty("arch"),
            os: matches.text_or_empty("os"),
            os_version: matches.text_or_empty("os-version"),
            os_features: features.filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            variant: matches.text_or_empty("variant"),
        },
    }
}
