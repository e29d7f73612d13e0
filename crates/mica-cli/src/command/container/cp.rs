//! `container cp`: copies files between a container and this host.
//!
//! Both ways a tar archive travels: `place` decides where it goes and under which name, `pack`
//! writes the host's files, `unpack` writes to the host. The rules of names and trailing slashes
//! are docker's, which are those of cp(1) with `/.` for "the contents".

mod pack;
mod place;
mod unpack;

use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::units::human_size;
use crate::report::{Failure, Outcome, SUCCESS, plain};
use mica_api::types::container::{ArchivePut, PathStat};
use mica_api::{Engine, Error};
use mica_model::ErrorKind;
use place::{Found, Kind};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use unpack::Target;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container cp", "cp"],
    summary: "Copy files/folders between a container and the local filesystem",
    operands: Operands::exactly(2, &["CONTAINER:SRC_PATH DEST_PATH|-", "SRC_PATH|- CONTAINER:DEST_PATH"]),
    flags: || {
        vec![
            switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
            switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
            switch("quiet", QUIET).short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("A file into a container", "cp site.conf web:/etc/"),
        ("Its logs as a tar stream", "cp web:/var/log -"),
    ],
    visibility: Visibility::Plain,
};

const QUIET: &str = "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached";

/// Bytes of a buffer between the two ends of a copy.
const BUFFER: usize = 128 * 1024;

/// Links followed to find the end of a path in a container.
const LINKS_MAX: usize = 40;

/// A side of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Side {
    Host(String),
    Container { reference: String, path: String },
}

impl Side {
    /// `NAME:PATH` is in a container unless it starts like a path.
    fn parse(typed: &str) -> Self {
        match typed.split_once(':') {
            Some((name, path)) if !typed.starts_with('/') && !name.starts_with('.') => {
                Self::Container { reference: name.to_owned(), path: path.to_owned() }
            }
            _ => Self::Host(typed.to_owned()),
        }
    }
}

/// What was typed beside the two sides.
#[derive(Debug, Clone, Copy)]
struct CopyOptions {
    keeps_owner: bool,
    follows_link: bool,
    tells: bool,
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let options = CopyOptions {
        keeps_owner: matches.on("archive"),
        follows_link: matches.on("follow-link"),
        tells: matches.switch("quiet").map_or(context.terminals().output, |is_quiet| !is_quiet),
    };
    let [from, to] = [0, 1].map(|index| matches.operand(index).unwrap_or_default());
    if from.is_empty() || to.is_empty() {
        let which = if from.is_empty() { "source" } else { "destination" };
        return Err(Failure::refused(format!("{which} can not be empty")));
    }
    match (Side::parse(&from), Side::parse(&to)) {
        (Side::Container { reference, path }, Side::Host(to)) => {
            out_of(&reference, &path, &to, options, context)?
        }
        (Side::Host(from), Side::Container { reference, path }) => {
            into(&from, &reference, &path, options, context)?
        }
        (Side::Container { .. }, Side::Container { .. }) => {
            return Err(Failure::refused("copying between containers is not supported"));
        }
        (Side::Host(_), Side::Host(_)) => {
            return Err(Failure::refused("must specify at least one container source"));
        }
    }
    Ok(SUCCESS)
}

fn out_of(
    reference: &str,
    path: &str,
    to: &str,
    options: CopyOptions,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let engine = context.engine()?;
    let mut source = path.to_owned();
    let mut stat = engine.container_path_stat(reference, path)?;
    if options.follows_link {
        (source, stat) = followed(engine, reference, source, stat)?;
    }
    if to == "-" {
        context.with_output(|out| {
            engine.container_archive_read(reference, &source, out)?;
            Ok(())
        })?;
        return Ok(());
    }
    let kind = kind_of(&stat);
    let found = place::found_on_host(Path::new(to)).map_err(|source| file_failure("stat", to, source))?;
    let placement = place::placement(path, kind, to, &found).map_err(Failure::refused)?;
    let target = Target::open(&placement, options.keeps_owner)
        .map_err(|source| file_failure("open", &placement.directory.display().to_string(), source))?;
    let (reader, writer) = io::pipe().map_err(|source| file_failure("make", "a pipe", source))?;
    let (sent, unpacked) = std::thread::scope(|scope| {
        let unpacking = scope.spawn(move || unpack::unpack(BufReader::with_capacity(BUFFER, reader), target));
        let mut counted = Counted::new(BufWriter::with_capacity(BUFFER, writer));
        let answer = engine.container_archive_read(reference, &source, &mut counted);
        let flushed = counted.flush();
        let count = counted.count;
        drop(counted);
        (answer.map(|_| (count, flushed)), unpacking.join())
    });
    match unpacked {
        Ok(Err(error)) if !error.is_truncation() => return Err(Failure::refused(format!("{to}: {error}"))),
        Ok(unpacked) => {
            let (count, _) = sent?;
            unpacked.map_err(|error| Failure::refused(format!("{to}: {error}")))?;
            tell(count, to, options, context);
        }
        Err(_) => return Err(Failure::refused("unpacking ended unexpectedly")),
    }
    Ok(())
}

fn into(
    from: &str,
    reference: &str,
    path: &str,
    options: CopyOptions,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let engine = context.engine()?;
    let (destination, found) = destination(engine, reference, path)?;
    let put = |directory: &Path| ArchivePut {
        path: directory.display().to_string(),
        no_overwrite_directory_with_file: true,
        copy_uid_gid: options.keeps_owner,
    };
    if from == "-" {
        if found != Found::Directory {
            return Err(Failure::refused(format!("destination \"{reference}:{path}\" must be a directory")));
        }
        let input = context.input_descriptor().try_clone_to_owned();
        let mut input = File::from(input.map_err(|source| file_failure("open", "standard input", source))?);
        return Ok(engine.container_archive_write(reference, &put(Path::new(&destination)), &mut input)?);
    }
    let source = pack::Source::open(from, options.follows_link)
        .map_err(|source| file_failure("lstat", from, source))?;
    let placement = place::placement(from, source.kind, &destination, &found).map_err(Failure::refused)?;
    let (reader, writer) = io::pipe().map_err(|source| file_failure("make", "a pipe", source))?;
    let name = placement.name.clone();
    let (written, packed) = std::thread::scope(|scope| {
        let packing =
            scope.spawn(move || pack::pack(&source, &name, BufWriter::with_capacity(BUFFER, writer)));
        let mut counted = Counted::new(BufReader::with_capacity(BUFFER, reader));
        let answer = engine.container_archive_write(reference, &put(&placement.directory), &mut counted);
        let count = counted.count;
        drop(counted);
        (answer.map(|()| count), packing.join())
    });
    match packed {
        // The engine stopped reading; its answer says why.
        Ok(Err(error)) if error.is_broken_pipe() && written.is_err() => {}
        Ok(packed) => packed.map_err(|error| Failure::refused(error.to_string()))?,
        Err(_) => return Err(Failure::refused("packing ended unexpectedly")),
    }
    tell(written?, &format!("{reference}:{path}"), options, context);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people has four digits")]
fn tell(count: u64, to: &str, options: CopyOptions, context: &Context<'_>) {
    if options.tells {
        context.say_error(&format!("Successfully copied {} to {to}\n", human_size(count as f64)));
    }
}

/// The end of a path in a container that may be a symbolic link, and what is there. A link that leads nowhere is
/// followed too: what is copied then appears where it points.
fn destination(engine: &dyn Engine, reference: &str, path: &str) -> Result<(String, Found), Failure> {
    let mut path = if path.is_empty() { "/" } else { path }.to_owned();
    for _ in 0..LINKS_MAX {
        let stat = match engine.container_path_stat(reference, &path) {
            Err(error) if is_missing_path(&error, engine, reference) => return Ok((path, Found::Nothing)),
            stat => stat?,
        };
        match kind_of(&stat) {
            Kind::Link => path = link_target(&path, &stat),
            Kind::Directory => return Ok((path, Found::Directory)),
            Kind::File => return Ok((path, Found::File)),
        }
    }
    Err(too_many_links(&path))
}

/// A missing container is an error, a missing path is a name to make.
fn is_missing_path(error: &Error, engine: &dyn Engine, reference: &str) -> bool {
    error.kind == ErrorKind::NotFound && engine.container_path_stat(reference, "/").is_ok()
}

fn followed(
    engine: &dyn Engine,
    reference: &str,
    mut path: String,
    mut stat: PathStat,
) -> Result<(String, PathStat), Failure> {
    for _ in 0..LINKS_MAX {
        if kind_of(&stat) != Kind::Link {
            return Ok((path, stat));
        }
        path = link_target(&path, &stat);
        stat = engine.container_path_stat(reference, &path)?;
    }
    Err(too_many_links(&path))
}

/// Where the link at `path` leads.
fn link_target(path: &str, stat: &PathStat) -> String {
    let parent = Path::new(path.trim_end_matches('/')).parent().unwrap_or(Path::new("/"));
    // Joining an absolute target replaces the parent.
    parent.join(&stat.link_target).display().to_string()
}

fn too_many_links(path: &str) -> Failure {
    Failure::refused(format!("{path}: too many levels of symbolic links"))
}

/// Bit of a directory in Go's file modes.
const MODE_DIRECTORY: u32 = 1 << 31;

/// Bit of a symbolic link in Go's file modes.
const MODE_LINK: u32 = 1 << 27;

const fn kind_of(stat: &PathStat) -> Kind {
    if stat.mode & MODE_DIRECTORY != 0 {
        Kind::Directory
    } else if stat.mode & MODE_LINK != 0 {
        Kind::Link
    } else {
        Kind::File
    }
}

fn file_failure(action: &'static str, path: &str, source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::NotADirectory {
        return Failure::refused(format!("{path}: {}", plain(&source)));
    }
    Failure::File { action, path: path.to_owned(), source }
}

/// Counts the bytes that pass.
struct Counted<T> {
    inner: T,
    count: u64,
}

impl<T> Counted<T> {
    const fn new(inner: T) -> Self {
        Self { inner, count: 0 }
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count += length as u64;
        Ok(length)
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.count += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
