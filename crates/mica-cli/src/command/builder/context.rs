//! What the operand of a build and `--file` mean: which files, and which Dockerfile.

use crate::command::image::standard_input;
use crate::context::Context;
use crate::report::Failure;
use mica_api::types::build::{BuildContext, BuildFile};
use mica_model::RemoteSource;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The largest Dockerfile in bytes.
const DOCKERFILE_SIZE_MAX: u64 = 16 << 20;

/// What a build is made of.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) context: BuildContext,
    pub(super) dockerfile: Option<BuildFile>,
    pub(super) ignore: Option<String>,
}

/// Finds what `operand` and `--file` name.
pub(super) fn find(operand: &str, file: Option<String>, context: &Context<'_>) -> Result<Found, Failure> {
    if operand == "-" {
        return from_input(file, context);
    }
    if let Some(address) = remote(operand)? {
        let dockerfile = file.map(|typed| file_of_remote(typed, context)).transpose()?;
        return Ok(Found { context: BuildContext::Remote(address), dockerfile, ignore: None });
    }
    let directory = directory(operand)?;
    let mut ignore = None;
    let dockerfile = match file.as_deref() {
        None => None,
        Some("-") => Some(BuildFile::Text { name: "Dockerfile".to_owned(), text: text_of_input(context)? }),
        Some(address) if is_web(address) => Some(BuildFile::Remote(address.to_owned())),
        Some(path) => {
            let beside = format!("{path}.dockerignore");
            ignore = std::fs::read_to_string(beside).ok();
            let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
            Some(BuildFile::Text { name: name.unwrap_or_default(), text: text_of_file(path)? })
        }
    };
    Ok(Found { context: BuildContext::Directory(directory), dockerfile, ignore })
}

/// An archive or a Dockerfile on standard input.
fn from_input(file: Option<String>, context: &Context<'_>) -> Result<Found, Failure> {
    if file.as_deref() == Some("-") {
        return Err(Failure::refused(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let mut input = standard_input(context)?;
    let mut head = Vec::new();
    (&mut input).take(512).read_to_end(&mut head).map_err(unreadable)?;
    if !is_archive(&head) {
        (&mut input).take(DOCKERFILE_SIZE_MAX).read_to_end(&mut head).map_err(unreadable)?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let dockerfile = Some(BuildFile::Text { name: "Dockerfile".to_owned(), text });
        return Ok(Found { context: BuildContext::Empty, dockerfile, ignore: None });
    }
    let dockerfile = file.map(BuildFile::InContext);
    Ok(Found { context: BuildContext::Archive(rejoined(&head, input)?), dockerfile, ignore: None })
}

/// A stream whose beginning was read already, as one that can be read from its beginning.
fn rejoined(head: &[u8], mut rest: File) -> Result<File, Failure> {
    if let Ok(here) = rest.stream_position() {
        let start = here - head.len() as u64;
        rest.seek(std::io::SeekFrom::Start(start)).map_err(unreadable)?;
        return Ok(rest);
    }
    let (reader, mut writer) = std::io::pipe().map_err(unreadable)?;
    let head = head.to_vec();
    // It ends with the stream, or when nobody reads any more.
    std::thread::spawn(move || {
        let _ = writer.write_all(&head).and_then(|()| std::io::copy(&mut rest, &mut writer));
    });
    Ok(File::from(std::os::fd::OwnedFd::from(reader)))
}

fn unreadable(source: std::io::Error) -> Failure {
    Failure::File { action: "read", path: "standard input".to_owned(), source }
}

/// Whether bytes are the beginning of a tar archive, compressed or not.
fn is_archive(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 4] =
        [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z']];
    head.get(257..262) == Some(b"ustar") || MAGICS.iter().any(|magic| head.starts_with(magic))
}

/// A Dockerfile beside a context that is not on this machine.
fn file_of_remote(typed: String, context: &Context<'_>) -> Result<BuildFile, Failure> {
    match typed.as_str() {
        "-" => Ok(BuildFile::Text { name: "Dockerfile".to_owned(), text: text_of_input(context)? }),
        address if is_web(address) => Ok(BuildFile::Remote(typed)),
        _ => Ok(BuildFile::InContext(typed)),
    }
}

fn is_web(typed: &str) -> bool {
    typed.starts_with("http://") || typed.starts_with("https://")
}

/// The address, if that and no directory of this machine is meant. `DIRECTORY#REFERENCE:PART` is one, too: of a
/// repository of this machine.
pub(super) fn remote(typed: &str) -> Result<Option<String>, Failure> {
    if Path::new(typed).is_dir() {
        return Ok(None);
    }
    match RemoteSource::parse_context(typed) {
        Ok(Some(_)) => return Ok(Some(typed.to_owned())),
        Ok(None) => {}
        Err(error) => return Err(Failure::refused(error.to_string())),
    }
    match typed.split_once('#') {
        Some((path, part)) if Path::new(path).is_dir() => {
            let path = directory(path)?;
            Ok(Some(format!("file://{}#{part}", path.display())))
        }
        _ => Ok(None),
    }
}

/// A directory, by its absolute path.
pub(super) fn directory(typed: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(typed);
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => std::path::absolute(path).map_err(|source| Failure::File {
            action: "open",
            path: typed.to_owned(),
            source,
        }),
        Ok(_) => {
            Err(Failure::refused(format!("unable to prepare context: context must be a directory: {typed}")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::refused(format!("unable to prepare context: path {typed:?} not found")))
        }
        Err(source) => Err(Failure::File { action: "open", path: typed.to_owned(), source }),
    }
}

/// The directory of an OCI layout by its absolute path, with the tag or the digest that follows.
pub(super) fn layout(typed: &str) -> Result<String, Failure> {
    let end = typed.rfind('/').map_or(0, |slash| slash + 1);
    let end = typed[end..].find([':', '@']).map_or(typed.len(), |place| end + place);
    let (path, rest) = typed.split_at(end);
    Ok(format!("{}{rest}", directory(path)?.display()))
}

fn text_of_file(path: &str) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::refused(format!("failed to read dockerfile: open {path}: no such file or directory"))
        }
        _ => Failure::File { action: "open", path: path.to_owned(), source: error },
    })?;
    text_of(file).map_err(|source| Failure::File { action: "read", path: path.to_owned(), source })
}

fn text_of_input(context: &Context<'_>) -> Result<String, Failure> {
    text_of(standard_input(context)?).map_err(unreadable)
}

fn text_of(file: File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(DOCKERFILE_SIZE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
