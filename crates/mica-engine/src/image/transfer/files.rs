//! OCI layouts and archives as places that give images and take them.

use super::{Giver, Parcel, Part, Role, Taker, promised};
use crate::error::{Error, Result};
use crate::image::load::choose;
use mica_api::types::image::ProgressEvent;
use mica_image::media_type::OCI_LAYER;
use mica_image::{
    ArchiveImage, ArchiveLayer, ArchiveOptions, Descriptor, Document, Layout, LayoutArchive, LayoutDirectory,
    LayoutTop, ManifestDocument, Platform, Promise, parse_manifest, read_archive, write_manifest,
};
use mica_model::{Digest, Reference};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What there is of an image in files.
pub(crate) enum FilesGiver {
    /// A layout, with the image's own manifest.
    Layout(LayoutGiver),
    /// An archive of docker's, whose images have no manifest.
    Loose(Box<ArchiveImage>, LooseGiver),
}

/// A layout that gives one of its images.
pub(crate) struct LayoutGiver {
    layout: Layout,
    /// What its name stands for.
    pub(crate) parcel: Parcel,
}

/// An image without a manifest, under one that is made for its layers as they are uncompressed.
pub(crate) struct LooseGiver {
    config: Document,
    layers: HashMap<Digest, ArchiveLayer>,
    pub(crate) parcel: Parcel,
}

impl FilesGiver {
    /// Opens a layout or an archive and finds the image of a name in it, or the only one.
    pub(crate) fn open(file: File, spool: &Path, name: &str, platform: &Platform) -> Result<Self> {
        let again = file.try_clone().map_err(|source| Error::io("open", Path::new("the archive"), source))?;
        if let Some(layout) = Layout::open(file, spool)? {
            let descriptor = layout.named(name)?;
            let parcel = Parcel::new(layout.document(&descriptor)?, &descriptor.media_type)?;
            return Ok(Self::Layout(LayoutGiver { layout, parcel }));
        }
        let options = ArchiveOptions { spool_directory: spool, platform };
        let image = choose(read_archive(again, &options)?, name)?;
        let giver = LooseGiver::new(&image)?;
        Ok(Self::Loose(Box::new(image), giver))
    }
}

impl LooseGiver {
    fn new(image: &ArchiveImage) -> Result<Self> {
        let mut described = Vec::new();
        for layer in &image.layers {
            let mut reader = layer.reader()?;
            let size = match reader.is_plain() {
                true => layer.size,
                // Only whoever uncompresses it knows.
                false => io::copy(&mut reader, &mut io::sink())
                    .map_err(|source| Error::Download { what: format!("layer {}", layer.diff_id), source })?,
            };
            described.push((OCI_LAYER, layer.diff_id, size));
        }
        let (document, media_type) = write_manifest(&image.config, &described)?;
        Ok(Self {
            config: image.config.document().clone(),
            layers: image.layers.iter().map(|layer| (layer.diff_id, layer.clone())).collect(),
            parcel: Parcel { document, media_type: media_type.to_owned() },
        })
    }
}

impl Giver for LayoutGiver {
    fn place(&self) -> String {
        "the layout".to_owned()
    }

    fn manifest(&self, listed: &Descriptor) -> Result<Parcel> {
        Parcel::new(self.layout.document(listed)?, &listed.media_type)
    }

    fn blob(&self, part: &Part) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.layout.blob(&part.digest, part.size)?))
    }
}

impl Giver for LooseGiver {
    fn place(&self) -> String {
        "the archive".to_owned()
    }

    fn manifest(&self, _listed: &Descriptor) -> Result<Parcel> {
        Err(Error::invalid("archives of docker have no indexes"))
    }

    fn blob(&self, part: &Part) -> Result<Box<dyn Read + Send + '_>> {
        if part.digest == *self.config.digest() {
            return Ok(Box::new(Cursor::new(self.config.bytes())));
        }
        let layer = self.layers.get(&part.digest);
        let layer = layer.ok_or(mica_image::Error::BlobMissing { digest: part.digest })?;
        Ok(Box::new(layer.reader()?))
    }
}

/// Tells of a layer that is copied into files.
fn take(
    part: &Part,
    progress: &(dyn Fn(ProgressEvent) + Sync),
    copy: impl FnOnce() -> Result<bool>,
) -> Result<()> {
    let is_copied = copy()?;
    if part.is_layer {
        let outcome = if is_copied { "Copied" } else { "Layer already exists" };
        progress(ProgressEvent::End { part: part.digest.short(), outcome: outcome.to_owned() });
    }
    Ok(())
}

const fn promise(part: &Part) -> Promise {
    Promise { digest: part.digest, size: part.size }
}

/// A layout in a directory that takes an image.
pub(crate) struct DirectoryTaker<'a> {
    layout: LayoutDirectory,
    name: &'a str,
    progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

impl<'a> DirectoryTaker<'a> {
    pub(crate) fn open(
        path: &Path,
        name: &'a str,
        progress: &'a (dyn Fn(ProgressEvent) + Sync),
    ) -> Result<Self> {
        Ok(Self { layout: LayoutDirectory::open(path)?, name, progress })
    }
}

impl Taker for DirectoryTaker<'_> {
    fn take_blob(&self, part: &Part, giver: &dyn Giver) -> Result<()> {
        take(part, self.progress, || {
            if self.layout.has_blob(promise(part)) {
                return Ok(false);
            }
            self.layout.blob(&part.digest, &mut promised(giver, part)?)?;
            Ok(true)
        })
    }

    fn take_manifest(&self, parcel: &Parcel, role: Role) -> Result<()> {
        self.layout.blob(parcel.document.digest(), &mut parcel.document.bytes())?;
        if role == Role::Named {
            let (document, media_type) = (&parcel.document, parcel.media_type.as_str());
            self.layout.finish(&LayoutTop { document, media_type, name: self.name, full_name: "" })?;
        }
        Ok(())
    }
}

/// An archive that takes an image, its blobs one after the other.
pub(crate) struct ArchiveTaker<'a> {
    archive: Mutex<LayoutArchive<&'a mut (dyn Write + Send)>>,
    name: &'a str,
    is_dockers: bool,
    top: Mutex<Option<Parcel>>,
    progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

impl<'a> ArchiveTaker<'a> {
    pub(crate) fn new(
        out: &'a mut (dyn Write + Send),
        name: &'a str,
        is_dockers: bool,
        progress: &'a (dyn Fn(ProgressEvent) + Sync),
    ) -> Result<Self> {
        let archive = Mutex::new(LayoutArchive::new(out)?);
        Ok(Self { archive, name, is_dockers, top: Mutex::new(None), progress })
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<()> {
        let archive = self.archive.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(parcel) = self.top.into_inner().unwrap_or_else(PoisonError::into_inner) else {
            return Err(Error::invalid("nothing came into the archive"));
        };
        let (document, media_type) = (&parcel.document, parcel.media_type.as_str());
        if !self.is_dockers {
            let top = LayoutTop { document, media_type, name: self.name, full_name: "" };
            return Ok(archive.finish(&top, None)?);
        }
        let ManifestDocument::Manifest(manifest) = parse_manifest(document, media_type)? else {
            return Err(Error::invalid("an archive of docker has no room for an index: use oci-archive"));
        };
        let named = Reference::parse_normalized(self.name).map(Reference::with_default_tag).ok();
        let tag = named.as_ref().and_then(Reference::tag).unwrap_or_default();
        let full_name = named.as_ref().map(ToString::to_string).unwrap_or_default();
        let top = LayoutTop { document, media_type, name: tag, full_name: &full_name };
        let names: Vec<String> = named.iter().map(Reference::familiar).collect();
        Ok(archive.finish(&top, Some((&manifest, &names)))?)
    }
}

impl Taker for ArchiveTaker<'_> {
    fn take_blob(&self, part: &Part, giver: &dyn Giver) -> Result<()> {
        take(part, self.progress, || {
            let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
            if archive.has_blob(&part.digest) {
                return Ok(false);
            }
            archive.blob(promise(part), &mut promised(giver, part)?)?;
            Ok(true)
        })
    }

    fn take_manifest(&self, parcel: &Parcel, role: Role) -> Result<()> {
        if role == Role::Named && self.is_dockers {
            // Known before the archive is full, and not after.
            parse_manifest(&parcel.document, &parcel.media_type)?;
        }
        let bytes = parcel.document.bytes();
        let promise = Promise { digest: *parcel.document.digest(), size: bytes.len() as u64 };
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        archive.blob(promise, &mut &*bytes)?;
        if role == Role::Named {
            *self.top.lock().unwrap_or_else(PoisonError::into_inner) = Some(parcel.clone());
        }
        Ok(())
    }
}
