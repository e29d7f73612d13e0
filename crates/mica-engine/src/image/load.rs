//! `load`: the images of an archive come into the store, all or none.

use crate::error::{Error, Result};
use crate::image::register::{Fresh, Job, NewRecord};
use crate::{Local, events};
use mica_api::types::image::{ArchiveSource, LoadedImage, ProgressEvent};
use mica_image::{ArchiveImage, ArchiveLayer, ArchiveOptions, Platform, read_archive};
use mica_model::Reference;
use mica_snapshot::IngestedLayer;
use std::fs::File;
use std::io::{self, Read};

/// Progress is told once for this many bytes.
const REPORT_EVERY_BYTES: u64 = 1 << 20;

impl Local {
    /// Reads an archive that docker, podman or an OCI tool wrote.
    pub(crate) fn load_images(
        &self,
        source: ArchiveSource,
        platform: &str,
        progress: &(dyn Fn(ProgressEvent) + Sync),
    ) -> Result<Vec<LoadedImage>> {
        let loaded = self.load_archive(open(source)?, platform, None, progress);
        self.tidy_images();
        let loaded = loaded?;
        for image in &loaded {
            let name = image.names.first().unwrap_or(&image.id);
            self.events.append(&events::image("load", &image.id, name));
        }
        Ok(loaded)
    }

    /// Reads an archive; with a choice one image of it alone, under that name and no other.
    pub(super) fn load_archive(
        &self,
        input: File,
        platform: &str,
        choice: Option<Choice<'_>>,
        progress: &(dyn Fn(ProgressEvent) + Sync),
    ) -> Result<Vec<LoadedImage>> {
        let platform = wanted_platform(platform)?;
        let spool = self.disk.spool();
        let mut images =
            read_archive(input, &ArchiveOptions { spool_directory: &spool, platform: &platform })?;
        if let Some(choice) = choice {
            images = vec![choice.choose(images)?];
        }
        let layers: Vec<Vec<ArchiveLayer>> = images.iter().map(|image| image.layers.clone()).collect();
        let records: Vec<NewRecord> = images.into_iter().map(new_record).collect();
        let unpack = |job: Job| self.unpack_archived(&layers[job.image][job.layer], progress);
        self.add_images(&records, Fresh::new(), &unpack)?;
        Ok(records.iter().map(loaded).collect())
    }

    pub(crate) fn unpack_archived(
        &self,
        layer: &ArchiveLayer,
        progress: &(dyn Fn(ProgressEvent) + Sync),
    ) -> Result<IngestedLayer> {
        let part = layer.diff_id.short();
        let is_compressed = layer.media_type.contains("gzip") || layer.media_type.contains("zstd");
        progress(ProgressEvent::Begin { part: part.clone(), total: (!is_compressed).then_some(layer.size) });
        let mut reader = Counted { inner: layer.reader()?, part: &part, unreported: 0, progress };
        let unpacked = self.unpack(&mut reader)?;
        reader.report();
        if *unpacked.diff_id() != layer.diff_id {
            return Err(mica_snapshot::Error::DigestMismatch {
                expected: layer.diff_id,
                actual: *unpacked.diff_id(),
            }
            .into());
        }
        progress(ProgressEvent::End { part, outcome: "Loaded".to_owned() });
        Ok(unpacked)
    }
}

/// One image of an archive.
pub(super) struct Choice<'a> {
    /// What the archive calls it; empty for the only one.
    pub(super) name: &'a str,
    /// Its only name from then on.
    pub(super) target: Reference,
}

impl Choice<'_> {
    fn choose(self, images: Vec<ArchiveImage>) -> Result<ArchiveImage> {
        let chosen = choose(images, self.name)?;
        Ok(ArchiveImage { names: vec![self.target], ..chosen })
    }
}

/// The image that an archive has under a name, or the only one.
pub(super) fn choose(images: Vec<ArchiveImage>, name: &str) -> Result<ArchiveImage> {
    let full = Reference::parse_normalized(name).map(|name| name.with_default_tag().to_string());
    let suits = |image: &ArchiveImage| {
        name.is_empty()
            || image.references.iter().any(|own| own == name)
            || full.as_ref().is_ok_and(|full| image.names.iter().any(|own| own.to_string() == *full))
    };
    let mut images: Vec<ArchiveImage> = images.into_iter().filter(suits).collect();
    match (images.pop(), images.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(Error::invalid("the archive has several images: say which")),
        (None, _) => Err(Error::invalid(format!("the archive has no image {name:?}"))),
    }
}

/// Architectures that may be asked for without a system, in the words of images and of kernels.
const ARCHITECTURES: &[&str] = &[
    "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips", "mips64",
    "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86_64",
];

/// The platform asked for, `os`, `architecture` or `os/architecture[/variant]`, filled up with the
/// host's.
pub(crate) fn wanted_platform(text: &str) -> Result<Platform> {
    let host = Platform::host();
    if text.is_empty() {
        return Ok(host);
    }
    let parts: Vec<&str> = text.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !parts.iter().all(is_word) {
        return Err(Error::invalid(format!(
            "{text:?} is an invalid platform, expected os/architecture[/variant]"
        )));
    }
    let of = |os: &str, architecture: &str, variant: &str| {
        // Kernels and packages have names of their own for some.
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64", _) => ("amd64", variant),
            ("aarch64", _) => ("arm64", variant),
            ("i386", _) => ("386", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            own => own,
        };
        let own = str::to_owned;
        Platform { os: own(os), architecture: own(architecture), variant: own(variant) }
    };
    match parts.as_slice() {
        ["linux"] => Ok(host),
        [architecture] if ARCHITECTURES.contains(architecture) => Ok(of("linux", architecture, "")),
        [_] => Err(Error::invalid(format!("{text:?}: unknown operating system or architecture"))),
        [os, architecture] => Ok(of(os, architecture, "")),
        [os, architecture, variant] => Ok(of(os, architecture, variant)),
        _ => Err(Error::invalid(format!("{text:?} is an invalid platform, it has too many parts"))),
    }
}

fn open(source: ArchiveSource) -> Result<File> {
    match source {
        ArchiveSource::Stream(file) => Ok(file),
        ArchiveSource::Path(path) => File::open(&path).map_err(|source| Error::io("open", &path, source)),
    }
}

fn new_record(image: ArchiveImage) -> NewRecord {
    NewRecord { config: image.config, names: image.names, parent: None, origin: None }
}

fn loaded(image: &NewRecord) -> LoadedImage {
    LoadedImage {
        id: image.config.id().to_string(),
        names: image.names.iter().map(|name| name.familiar()).collect(),
    }
}

/// Tells how much was read.
struct Counted<'a, R> {
    inner: R,
    part: &'a str,
    unreported: u64,
    progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

impl<R> Counted<'_, R> {
    fn report(&mut self) {
        let bytes = std::mem::take(&mut self.unreported);
        if bytes > 0 {
            (self.progress)(ProgressEvent::Advance { part: self.part.to_owned(), bytes });
        }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.unreported += count as u64;
        if self.unreported >= REPORT_EVERY_BYTES {
            self.report();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn platforms_are_filled_up_from_the_host() {
        assert_eq!(wanted_platform("linux").unwrap(), Platform::host());
        assert_eq!(wanted_platform("arm64").unwrap().to_string(), "linux/arm64");
        assert_eq!(wanted_platform("aarch64").unwrap().to_string(), "linux/arm64");
        assert_eq!(wanted_platform("linux/x86_64").unwrap().to_string(), "linux/amd64");
        assert!(wanted_platform("bogus").unwrap_err().to_string().contains("unknown operating system"));
        assert_eq!(wanted_platform("linux/arm/v7").unwrap().variant, "v7");
        for wrong in ["/", "linux/", "a/b/c/d", "a b"] {
            assert!(wanted_platform(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_byte_is_reported_and_not_every_read() {
        let (reports, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let progress = |event: ProgressEvent| {
            if let ProgressEvent::Advance { bytes: more, .. } = event {
                reports.fetch_add(1, Ordering::Relaxed);
                bytes.fetch_add(more, Ordering::Relaxed);
            }
        };
        let size = 5 * REPORT_EVERY_BYTES / 2;
        let mut reader =
            Counted { inner: io::repeat(7).take(size), part: "p", unreported: 0, progress: &progress };
        io::copy(&mut reader, &mut io::sink()).unwrap();
        reader.report();
        assert_eq!((bytes.into_inner(), reports.into_inner()), (size, 3));
    }
}
