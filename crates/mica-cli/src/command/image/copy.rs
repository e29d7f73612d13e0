//! `image copy`: an image from one place to another, without keeping it.

use crate::args::{Matches, switch, text};
use crate::command::image::{Audience, progress};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::file_output;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::image::{CopiedImage, ImageCopyRequest, ImageSource, ImageTarget};
use mica_model::RegistryAccess;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image copy"],
    summary: "Copy an image between registries, archives, OCI layouts and the store",
    operands: Operands::exactly(2, &["SOURCE TARGET"]),
    flags: || {
        vec![
            switch("all", "Copy the images of all platforms, and the index that leads to them").short('a'),
            switch("insecure", "Allow communication with an insecure registry"),
            text("platform", "string", "Copy the image for this platform (\"os[/arch[/variant]]\")"),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        (
            "Between registries, with all platforms",
            "image copy --all docker://quay.io/team/app:v1 docker://registry.example/team/app:v1",
        ),
        ("Into a directory", "image copy docker://busybox oci:layout:busybox"),
        ("From an archive into the store", "image copy docker-archive:app.tar store:app:v1"),
    ],
    visibility: Visibility::Plain,
};

/// A place as it is written, in the words of skopeo.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Registry(String),
    Directory { path: PathBuf, name: String },
    Archive { path: PathBuf, name: String, is_dockers: bool },
    Store(String),
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let source = source(place(&matches.operand(0).unwrap_or_default())?)?;
    let target = place(&matches.operand(1).unwrap_or_default())?;
    let keyring = context.keyring();
    let access = context.registry_access(&keyring);
    let is_quiet = matches.on("quiet");
    let copied = match target {
        Place::Archive { path, name, is_dockers } => {
            let mut copied = None;
            file_output::write(&path, |out| {
                let target = ImageTarget::Archive { out, name, is_dockers };
                copied = Some(copy(matches, context, (source, target), access)?);
                Ok(())
            })?;
            copied
        }
        Place::Registry(name) => Some(copy(matches, context, (source, ImageTarget::Registry(name)), access)?),
        Place::Directory { path, name } => {
            Some(copy(matches, context, (source, ImageTarget::Directory { path, name }), access)?)
        }
        Place::Store(name) => Some(copy(matches, context, (source, ImageTarget::Store(name)), access)?),
    };
    let digest = copied.map(|copied| copied.digest).unwrap_or_default();
    context.print_line(&if is_quiet { digest } else { format!("Digest: {digest}") })?;
    Ok(SUCCESS)
}

fn copy(
    matches: &Matches,
    context: &Context<'_>,
    (source, target): (ImageSource, ImageTarget<'_>),
    access: RegistryAccess<'_>,
) -> Result<CopiedImage, Failure> {
    let audience = if matches.on("quiet") { Audience::Nobody } else { Audience::Everybody };
    let progress = progress(context, audience);
    let request = ImageCopyRequest {
        source,
        target,
        is_whole: matches.on("all"),
        platform: matches.text("platform").unwrap_or_else(|| context.config.platform()),
        is_insecure: matches.on("insecure"),
        access,
    };
    if request.is_whole && matches.given("platform") {
        return Err(Failure::refused("--all and --platform contradict each other"));
    }
    Ok(context.engine()?.image_copy(request, &|event| progress.report(&event))?)
}

fn source(place: Place) -> Result<ImageSource, Failure> {
    let open = |path: &Path| {
        File::open(path).map_err(|source| Failure::File {
            action: "open",
            path: path.display().to_string(),
            source,
        })
    };
    Ok(match place {
        Place::Registry(name) => ImageSource::Registry(name),
        Place::Store(name) => ImageSource::Store(name),
        Place::Directory { path, name } | Place::Archive { path, name, .. } => {
            ImageSource::Files { file: open(&path)?, name }
        }
    })
}

/// Reads `transport:rest`.
fn place(text: &str) -> Result<Place, Failure> {
    let (transport, rest) = text.split_once(':').unwrap_or((text, ""));
    let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
    let (path, name) = (PathBuf::from(path), name.to_owned());
    let is_empty = rest.is_empty() || path.as_os_str().is_empty();
    match transport {
        "docker" if rest.len() > 2 && rest.starts_with("//") => Ok(Place::Registry(rest[2..].to_owned())),
        "oci" if !is_empty => Ok(Place::Directory { path, name }),
        "oci-archive" if !is_empty => Ok(Place::Archive { path, name, is_dockers: false }),
        "docker-archive" if !is_empty => Ok(Place::Archive { path, name, is_dockers: true }),
        "store" | "docker-daemon" if !rest.is_empty() => Ok(Place::Store(rest.to_owned())),
        _ => Err(Failure::refused(format!(
            "{text:?} is no place of images: there are docker://NAME, oci:DIRECTORY[:NAME], \
             oci-archive:FILE[:NAME], docker-archive:FILE[:NAME] and store:NAME"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_for_skopeo() {
        let read = |text: &str| place(text).ok();
        assert_eq!(read("docker://h:5000/a:1"), Some(Place::Registry("h:5000/a:1".to_owned())));
        let directory = |name: &str| Some(Place::Directory { path: "/d".into(), name: name.to_owned() });
        assert_eq!((read("oci:/d"), read("oci:/d:v1")), (directory(""), directory("v1")));
        let archive = Place::Archive { path: "a.tar".into(), name: "h/a:1".to_owned(), is_dockers: true };
        assert_eq!(read("docker-archive:a.tar:h/a:1"), Some(archive));
        assert_eq!(read("store:a:1"), Some(Place::Store("a:1".to_owned())));
        for wrong in ["", "a", "docker:a", "docker://", "oci:", "oci::v1", "store:", "dir:/x", "/x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
