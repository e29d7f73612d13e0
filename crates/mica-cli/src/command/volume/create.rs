//! `volume create`: makes a volume.

use crate::args::{Matches, list, text};
use crate::command::container::definition::variables;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::volume::VolumeCreateRequest;
use std::collections::BTreeMap;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["volume create"],
    summary: "Create a volume",
    operands: Operands::between(0, 1, &["[VOLUME]"]),
    flags: || {
        vec![
            text("driver", "string", "Specify volume driver name (default \"local\")").short('d'),
            list("label", "list", "Set metadata for a volume").value_parser(variables::parse_label),
            text("name", "string", "Specify volume name").hide(true),
            list("opt", "map", "Set driver specific options (default map[])").short('o'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("A volume with a name", "volume create data"),
        (
            "Memory of at most 100 MiB",
            "volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=100m scratch",
        ),
        ("A directory of this host", "volume create -o type=none -o device=/srv/data -o o=bind data"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let by_flag = matches.text_or_empty("name");
    let by_operand = matches.operand(0);
    if !by_flag.is_empty() && by_operand.is_some() {
        return Err(Failure::refused(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let request = VolumeCreateRequest {
        name: by_operand.unwrap_or(by_flag),
        driver: matches.text_or_empty("driver"),
        driver_opts: pairs(&matches.list("opt")),
        labels: variables::labels(&[], &matches.list("label"))?,
    };
    let volume = context.engine()?.volume_create(&request)?;
    context.print_line(&volume.name)?;
    Ok(SUCCESS)
}

/// `key=value`; a bare key has an empty value.
fn pairs(typed: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    typed.iter().map(pair).collect()
}
