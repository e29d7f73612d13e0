//! Results that go elsewhere than into the store: directories and archives.

use super::crew::held;
use super::export::Finished;
use super::places::read_only;
use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::record::LayerRecord;
use mica_api::types::build::{AnnotatedPart, ArchivePlace, BuildAnnotation, BuildOutput, BuildRequest};
use mica_image::{AnnotatedImage, Annotations, LayerSource, Platform, SavedImage, write_layout};
use mica_model::{Digest, Reference};
use mica_snapshot::archive::open_tree_root;
use mica_snapshot::export_tree;
use mica_snapshot::graft::{self, Destination, GraftOptions, SourcePath, Verdict};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Writes what was asked for; answers the digest of the manifest or index, if one was written.
pub(super) fn write_outputs(results: &[Finished<'_, '_>], names: &[Reference]) -> Result<Option<Digest>> {
    let Some(first) = results.first() else { return Ok(None) };
    let request = first.builder.request;
    let outputs = &request.outputs;
    let has_manifest = outputs.iter().any(|output| matches!(output, BuildOutput::Archive { .. }));
    if !request.annotations.is_empty() && !has_manifest && !request.push {
        let what = "annotations are notes on manifests, which only an archive and what is pushed has: --output \
                    type=oci,dest=FILE, or --push";
        return Err(Error::invalid(what));
    }
    let is_on_index = |note: &BuildAnnotation| note.part == AnnotatedPart::Index;
    if request.push && results.len() == 1 && request.annotations.iter().any(is_on_index) {
        return Err(Error::invalid("index annotations not supported for single platform export"));
    }
    let mut written = None;
    for output in outputs {
        match output {
            BuildOutput::Files(directory) if results.len() == 1 => write_files(first, directory)?,
            BuildOutput::Files(directory) => {
                for result in results {
                    write_files(result, &directory.join(result.platform().to_string().replace('/', "_")))?;
                }
            }
            BuildOutput::Tar(_) if results.len() > 1 => {
                let what =
                    "a tar archive has the files of one platform: use type=local or type=oci for several";
                return Err(Error::Unsupported { what: what.to_owned() });
            }
            BuildOutput::Tar(place) => archive_at(place, |file| write_tar(first, file))?,
            BuildOutput::Archive { is_dockers: true, .. } if results.len() > 1 => {
                let what =
                    "docker exporter does not currently support exporting manifest lists: use type=oci";
                return Err(Error::Unsupported { what: what.to_owned() });
            }
            BuildOutput::Archive { place, .. } => {
                written = archive_at(place, |file| write_images(results, names, file))?;
            }
        }
    }
    Ok(written)
}

fn write_files(result: &Finished<'_, '_>, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|source| Error::io("make", directory, source))?;
    let layers = result.builder.directories(&result.image.root)?;
    if layers.is_empty() {
        return Ok(());
    }
    let files = read_only(&layers)?;
    let target = open_tree_root(directory)?;
    let all = |_: &SourcePath<'_>| Verdict::Take;
    let destination = Destination { root: target.as_fd(), path: b"/", is_directory: true };
    let options = GraftOptions { keep_top: true, keep_owners: true, ..GraftOptions::default() };
    for source in graft::find(files.as_fd(), b"/", &all)? {
        graft::graft(&source, &all, &destination, &options)?;
    }
    Ok(())
}

fn write_images(results: &[Finished<'_, '_>], names: &[Reference], out: &mut File) -> Result<Option<Digest>> {
    let Some(local) = results.first().map(|first| first.builder.local) else { return Ok(None) };
    let mut records: HashMap<Digest, LayerRecord> = HashMap::new();
    let mut images = Vec::new();
    for result in results {
        records.extend(held(&result.builder.layers).iter().map(|(diff_id, layer)| (*diff_id, layer.clone())));
        let mut layers = Vec::new();
        for diff_id in result.config.diff_ids() {
            let record = records.get(diff_id).ok_or_else(|| crate::image::import::missing(diff_id))?;
            let size = local.layers.record(&record.key())?.archive_size;
            layers.push(LayerSource { diff_id: *diff_id, size });
        }
        let image = SavedImage { config: &result.config, names: names.to_vec(), layers };
        images.push(AnnotatedImage {
            image,
            annotations: annotations(result.builder.request, &result.platform())?,
        });
    }
    let mut write_layer = |source: &LayerSource, out: &mut dyn Write| {
        let record = records.get(&source.diff_id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        local.layers.write_tar(&record.key(), out).map_err(io::Error::other)
    };
    Ok(write_layout(&images, out, &mut write_layer)?)
}

/// The notes that concern the image of a platform.
pub(super) fn annotations(request: &BuildRequest<'_>, platform: &Platform) -> Result<Annotations> {
    let mut all = Annotations::default();
    for note in &request.annotations {
        if !note.platform.is_empty() && !wanted_platform(&note.platform)?.suits(platform) {
            continue;
        }
        let notes = match note.part {
            AnnotatedPart::Manifest => &mut all.manifest,
            AnnotatedPart::ManifestDescriptor => &mut all.manifest_descriptor,
            AnnotatedPart::Index => &mut all.index,
            AnnotatedPart::IndexDescriptor => &mut all.index_descriptor,
        };
        notes.insert(note.name.clone(), note.value.clone());
    }
    Ok(all)
}

/// Has an archive written where it goes. A file is written beside its place and takes it when it is whole.
fn archive_at<T>(place: &ArchivePlace, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let path = match place {
        ArchivePlace::At(path) => path,
        ArchivePlace::Open(file) => {
            let file = file.try_clone();
            return write(&mut file.map_err(|source| Error::io("write", Path::new("the output"), source))?);
        }
    };
    let failed = |action| move |source| Error::io(action, path, source);
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return write(&mut File::options().write(true).open(path).map_err(failed("open"))?);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = name.floor_char_boundary(NAME_LENGTH_MAX);
    let part = path.with_file_name(format!(".{}.{}.part", &name[..end], std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&part).map_err(failed("make"))?;
    let written = write(&mut file).and_then(|written| {
        std::fs::rename(&part, path).map_err(failed("write"))?;
        Ok(written)
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// How much of a name is kept in the one that the file has meanwhile, in bytes.
const NAME_LENGTH_MAX: usize = 200;

/// The files of a result as a tar archive.
fn write_tar(result: &Finished<'_, '_>, file: &mut File) -> Result<()> {
    let layers = result.builder.directories(&result.image.root)?;
    let out = io::BufWriter::with_capacity(256 << 10, file);
    match layers.is_empty() {
        true => finish(out),
        false => Ok(export_tree(read_only(&layers)?.as_fd(), out)?),
    }
}

/// An archive of nothing.
fn finish(mut out: impl Write) -> Result<()> {
    out.write_all(&[0; 1024])
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write", Path::new("the output"), source))
}
