//! `inspect`: everything about containers, images, networks and volumes, as JSON or through a template.

use crate::args::{Matches, format_of_document, switch, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::{Failure, Outcome};
use mica_api::{Engine, Error};
use mica_model::ErrorKind;
use serde_json::Value;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["inspect"],
    summary: "Return low-level information on containers, images, networks and volumes",
    operands: Operands::at_least(1, &["NAME|ID [NAME|ID...]"]),
    flags: || {
        vec![
            format_of_document(),
            switch("size", "Display total file sizes if the type is container").short('s'),
            text("type", "string", "Only inspect objects of the given type"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Everything about a container", "inspect web"),
        (
            "Where an image's layers lie on this host",
            "inspect --type image -f '{{json .LayerPaths}}' busybox",
        ),
    ],
    visibility: Visibility::Plain,
};

/// Of what kind the named objects may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
    Volume,
    Network,
}

struct InspectArgs {
    references: Vec<String>,
    format: String,
    is_sized: bool,
    kind: Kind,
}

impl InspectArgs {
    fn new(matches: &Matches) -> Result<Self, Failure> {
        Ok(Self {
            references: matches.operands(),
            format: matches.text_or_empty("format"),
            is_sized: matches.on("size"),
            kind: kind(&matches.text_or_empty("type"))?,
        })
    }
}

fn kind(name: &str) -> Result<Kind, Failure> {
    Ok(match name {
        "" => Kind::Any,
        "container" => Kind::Container,
        "image" => Kind::Image,
        "volume" => Kind::Volume,
        "network" => Kind::Network,
        _ => {
            return Err(Failure::refused(format!(
                "unknown type: {name:?}: must be one of \"container\", \"image\", \"network\", \"volume\""
            )));
        }
    })
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let args = InspectArgs::new(matches)?;
    let engine = context.engine()?;
    let ignoring = match args.kind {
        Kind::Image => Some("image"),
        Kind::Volume => Some("volume"),
        Kind::Network => Some("network"),
        Kind::Any | Kind::Container => None,
    };
    if let Some(kind) = ignoring.filter(|_| args.is_sized) {
        context.say_error(&format!("WARNING: --size ignored for {kind}\n"));
    }
    inspect_all(&args.references, &args.format, context, |reference| match args.kind {
        Kind::Container => container(engine, reference, args.is_sized),
        Kind::Image => image(engine, reference),
        Kind::Volume => volume(engine, reference),
        Kind::Network => network(engine, reference),
        Kind::Any => any(engine, reference, args.is_sized),
    })
}

fn container(engine: &dyn Engine, reference: &str, is_sized: bool) -> Result<Value, Error> {
    to_value(&engine.container_inspect(reference, is_sized)?)
}

fn image(engine: &dyn Engine, reference: &str) -> Result<Value, Error> {
    to_value(&engine.image_inspect(reference, "")?)
}

fn volume(engine: &dyn Engine, name: &str) -> Result<Value, Error> {
    to_value(&engine.volume_inspect(name)?)
}

fn network(engine: &dyn Engine, reference: &str) -> Result<Value, Error> {
    to_value(&engine.network_inspect(reference)?)
}

/// Containers come first, as a name may stand for more than one kind; then images, then networks.
fn any(engine: &dyn Engine, reference: &str, is_sized: bool) -> Result<Value, Error> {
    let is_absent = |answer: &Result<Value, Error>| {
        // A reference of an image, such as `a/b:c`, is no name that a container could have.
        answer
            .as_ref()
            .is_err_and(|error| matches!(error.kind, ErrorKind::NotFound | ErrorKind::InvalidArgument))
    };
    let found = container(engine, reference, is_sized);
    if !is_absent(&found) {
        return found;
    }
    let found = image(engine, reference);
    if !is_absent(&found) {
        return found;
    }
    let found = network(engine, reference);
    if !is_absent(&found) {
        return found;
    }
    let found = volume(engine, reference);
    if is_absent(&found) {
        return Err(Error::not_found(format!("No such object: {reference}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_that_exist() {
        assert_eq!(kind("image").unwrap(), Kind::Image);
        assert_eq!(kind("volume").unwrap(), Kind::Volume);
        assert_eq!(kind("network").unwrap(), Kind::Network);
        assert!(matches!(kind("tree"), Err(Failure::Refused { .. })));
    }
}
