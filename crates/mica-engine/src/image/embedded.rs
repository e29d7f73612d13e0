//! The image `hello` that the binary carries, so that a machine without network can run something.
//!
//! It is made the first time that it is asked for, in the same way as any other image comes in:
//! two layers, one of empty directories and one with the program, so that there is a stack to see.

use crate::container::start::EMBEDDED_LABEL;
use crate::error::{Error, Result};
use crate::image::register::{Fresh, Job, NewRecord};
use crate::{Local, system};
use mica_api::types::image::ProgressEvent;
use mica_image::{Config, History, ImageConfig, NewImage, digest_of};
use mica_model::{Digest, Reference, Timestamp};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The name under which people ask for it.
pub(crate) const NAME: &str = "hello:latest";

/// `guest/hello.rs`, compiled by `build.rs`.
static PROGRAM: &[u8] = include_bytes!(env!("MICA_HELLO_PROGRAM"));

/// The image says the same whenever it is made, so that its id tells the version of the program.
const CREATED: Timestamp = Timestamp::from_seconds(1_767_225_600);

impl Local {
    /// Makes the embedded image if it is not here, gives it its name, and answers its id.
    pub(crate) fn add_embedded(&self, progress: &(dyn Fn(ProgressEvent) + Sync)) -> Result<Digest> {
        let layers = layers().map_err(|source| Error::io("write", "the embedded image".as_ref(), source))?;
        let config = config(&layers)?;
        let id = *config.id();
        let unpack = |job: Job| {
            let tar = &layers[job.layer];
            let part = job.diff_id.short();
            progress(ProgressEvent::Begin { part: part.clone(), total: Some(tar.len() as u64) });
            let layer = self.unpack(tar.as_slice())?;
            progress(ProgressEvent::End { part, outcome: "Pull complete".to_owned() });
            Ok(layer)
        };
        let image = NewRecord { config, names: vec![name()?], parent: None, origin: None };
        self.add_images(&[image], Fresh::new(), &unpack)?;
        Ok(id)
    }
}

/// Its name, parsed.
pub(crate) fn name() -> Result<Reference> {
    Reference::parse_normalized(NAME).map_err(|error| Error::invalid(error.to_string()))
}

/// It runs where this binary runs, nowhere else.
pub(crate) fn check_platform(wanted: &str) -> Result<()> {
    let mut parts = wanted.split('/');
    let os = parts.next().filter(|os| !os.is_empty());
    let own = system::architecture();
    if os.is_none_or(|os| os == "linux") && parts.next().is_none_or(|architecture| architecture == own) {
        return Ok(());
    }
    Err(Error::NoSuchImage {
        reference: format!("{NAME} for platform {wanted} (the built-in one is for linux/{own})"),
    })
}

fn config(layers: &[Vec<u8>; 2]) -> Result<ImageConfig> {
    let step = |created_by: &str| History {
        created: CREATED,
        created_by: created_by.to_owned(),
        ..History::default()
    };
    let mut image = NewImage {
        architecture: system::architecture().to_owned(),
        os: "linux".to_owned(),
        created: CREATED,
        config: Config {
            env: vec!["PATH=/".to_owned()],
            entrypoint: Some(vec!["/hello".to_owned()]),
            working_dir: "/".to_owned(),
            labels: BTreeMap::from([(EMBEDDED_LABEL.to_owned(), "hello".to_owned())]),
            ..Config::default()
        },
        ..NewImage::default()
    };
    image.push_layer(digest_of(&layers[0]), step("directories that every container needs"));
    image.push_layer(digest_of(&layers[1]), step("COPY hello /hello"));
    Ok(image.into_config()?)
}

/// The two layers as tar archives, base first.
fn layers() -> io::Result<[Vec<u8>; 2]> {
    let mut base = Vec::new();
    for (path, mode) in [
        ("dev/", 0o755),
        ("etc/", 0o755),
        ("proc/", 0o755),
        ("root/", 0o700),
        ("sys/", 0o755),
        ("tmp/", 0o1777),
    ] {
        add(&mut base, path, mode, &[])?;
    }
    add(&mut base, "etc/group", 0o644, b"root:x:0:\n")?;
    add(&mut base, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/hello\n")?;
    let mut program = Vec::with_capacity(PROGRAM.len() + 4096);
    add(&mut program, "hello", 0o755, PROGRAM)?;
    for archive in [&mut base, &mut program] {
        archive.write_all(&[0; 1024])?;
    }
    Ok([base, program])
}

/// Appends one entry (ustar, POSIX.1-2001 pax): a directory if its path ends in a slash.
fn add(archive: &mut Vec<u8>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, path);
    field(100, &format!("{mode:07o}"));
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, &format!("{:011o}", CREATED.seconds()));
    field(148, "        ");
    field(156, if path.ends_with('/') { "5" } else { "0" });
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.write_all(&header)?;
    archive.write_all(content)?;
    archive.write_all(&vec![0; content.len().next_multiple_of(512) - content.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_whenever_it_is_made() {
        let id = || *config(&layers().unwrap()).unwrap().id();
        assert_eq!(id(), id());
    }

    #[test]
    fn carries_a_static_program() {
        assert_eq!(&PROGRAM[..4], b"\x7fELF");
        assert!(PROGRAM.len() < 2 << 20, "{} bytes", PROGRAM.len());
        // elf(5): 64-bit program headers of 56 bytes begin at byte 64; PT_INTERP is 3.
        let count = usize::from(u16::from_le_bytes([PROGRAM[56], PROGRAM[57]]));
        let has_loader = PROGRAM[64..].chunks_exact(56).take(count).any(|header| header[..4] == [3, 0, 0, 0]);
        assert!(count > 0 && !has_loader, "the image has no loader");
    }

    #[test]
    fn its_archives_are_whole_blocks() {
        for archive in layers().unwrap() {
            assert_eq!(archive.len() % 512, 0);
            assert_eq!(&archive[257..262], b"ustar");
        }
    }

    #[test]
    fn runs_here_only() {
        assert!(check_platform("").is_ok());
        assert!(check_platform(&format!("linux/{}", system::architecture())).is_ok());
        assert!(check_platform("linux/s390x").is_err());
    }
}
