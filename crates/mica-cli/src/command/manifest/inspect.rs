//! `manifest inspect`: what a registry, or a list of this machine, has under a name.

use super::{access, insecure, plain};
use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_api::Error;
use mica_api::types::manifest::{
    ManifestAnswer, ManifestDescriptor, ManifestInspect, ManifestInspectRequest,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["manifest inspect"],
    summary: "Display an image manifest, or manifest list",
    operands: Operands::between(1, 2, &["[MANIFEST_LIST] MANIFEST"]),
    flags: || {
        vec![
            insecure("Allow communication with an insecure registry"),
            switch("verbose", "Output additional info including layers and platform").short('v'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("With the platform of each image", "manifest inspect --verbose team/app:v1")],
    visibility: Visibility::Plain,
};

/// A manifest as docker shows it with everything.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    #[serde(rename = "Ref")]
    reference: &'a str,
    descriptor: &'a ManifestDescriptor,
    raw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_v2_manifest: Option<Value>,
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci_manifest: Option<Value>,
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let mut names = matches.operands();
    let reference = names.pop().unwrap_or_default();
    let is_verbose = matches.on("verbose");
    let request = ManifestInspectRequest { list: names.pop().unwrap_or_default(), reference, is_verbose };
    let keyring = context.keyring();
    let how = access(matches, context, &keyring);
    let answer = context.engine()?.manifest_inspect(&request, &how).map_err(plain)?;
    context.print_line(&show(&answer, is_verbose)?)?;
    Ok(SUCCESS)
}

fn show(answer: &ManifestAnswer, is_verbose: bool) -> Result<String, Failure> {
    match (answer, is_verbose) {
        (ManifestAnswer::One(manifest), false) => indented(&value(manifest)?),
        (ManifestAnswer::One(manifest), true) => indented(&shown(manifest)?),
        (ManifestAnswer::List { document, .. }, false) => Ok(document.clone()),
        (ManifestAnswer::List { manifests, .. }, true) => {
            indented(&manifests.iter().map(shown).collect::<Result<Vec<_>, _>>()?)
        }
    }
}

fn shown(manifest: &ManifestInspect) -> Result<Shown<'_>, Failure> {
    let content = value(manifest)?;
    let is_oci = manifest.descriptor.media_type.starts_with("application/vnd.oci.");
    let (oci_manifest, schema_v2_manifest) =
        if is_oci { (Some(content), None) } else { (None, Some(content)) };
    Ok(Shown {
        reference: &manifest.reference,
        descriptor: &manifest.descriptor,
        raw: STANDARD.encode(&manifest.manifest),
        schema_v2_manifest,
        oci_manifest,
    })
}

fn value(manifest: &ManifestInspect) -> Result<Value, Failure> {
    let parsed = serde_json::from_slice(&manifest.manifest);
    parsed.map_err(|source| Error::internal(format!("the manifest cannot be shown: {source}")).into())
}

/// JSON with a tab a level, as docker prints manifests.
fn indented(content: &impl Serialize) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    let written = content.serialize(&mut serializer);
    written.map_err(|source| Error::internal(format!("the manifest cannot be shown: {source}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_model::PlatformWords;

    fn manifest(media_type: &str) -> ManifestInspect {
        let platform = PlatformWords {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            ..PlatformWords::default()
        };
        ManifestInspect {
            reference: "docker.io/library/a:1".to_owned(),
            descriptor: ManifestDescriptor {
                media_type: media_type.to_owned(),
                digest: "sha256:00".to_owned(),
                size: 20,
                platform: Some(platform),
            },
            manifest: br#"{"z":[],"a":{"b":1}}"#.to_vec(),
        }
    }

    #[test]
    fn a_manifest_keeps_its_order() {
        let one = ManifestAnswer::One(Box::new(manifest("application/vnd.oci.image.manifest.v1+json")));
        assert_eq!(show(&one, false).unwrap(), "{\n\t\"z\": [],\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}");
        let text = show(&one, true).unwrap();
        assert!(
            text.starts_with(
                "{\n\t\"Ref\": \"docker.io/library/a:1\",\n\t\"Descriptor\": {\n\t\t\"mediaType\""
            )
        );
        assert!(text.contains("\"OCIManifest\": {\n\t\t\"z\": [],") && !text.contains("SchemaV2"), "{text}");
    }

    #[test]
    fn a_list_is_shown_as_it_is_or_manifest_by_manifest() {
        let manifests = vec![manifest("application/vnd.docker.distribution.manifest.v2+json")];
        let list = ManifestAnswer::List { document: "{\n   \"x\": 1\n}".to_owned(), manifests };
        assert_eq!(show(&list, false).unwrap(), "{\n   \"x\": 1\n}");
        let text = show(&list, true).unwrap();
        assert!(text.starts_with("[\n\t{\n\t\t\"Ref\"") && text.contains("\"SchemaV2Manifest\""), "{text}");
    }
}
