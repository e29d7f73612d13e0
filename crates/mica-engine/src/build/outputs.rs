//! Results that go elsewhere than into the store: directories and archives.

use super::places::read_only;
use super::worker::{Builder, held};
use crate::error::{Error, Result};
use mica_api::types::build::BuildOutput;
use mica_build::image::Image;
use mica_image::{ImageConfig, LayerSource, SavedImage, write_archive};
use mica_model::Reference;
use mica_snapshot::archive::open_tree_root;
use mica_snapshot::export_tree;
use mica_snapshot::graft::{self, Destination, GraftOptions, SourcePath, Verdict};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

impl Builder<'_> {
    /// Writes what was asked for.
    pub(super) fn write_outputs(
        &self,
        image: &Image,
        config: &ImageConfig,
        names: &[Reference],
    ) -> Result<()> {
        for output in &self.request.outputs {
            match output {
                BuildOutput::Files(directory) => self.write_files(image, directory)?,
                BuildOutput::Tar(file) => {
                    let layers = self.directories(&image.root)?;
                    let out = io::BufWriter::with_capacity(256 << 10, copy_of(file)?);
                    match layers.is_empty() {
                        true => finish(out)?,
                        false => export_tree(read_only(&layers)?.as_fd(), out)?,
                    }
                }
                BuildOutput::Archive(file) => self.write_image(config, names, &mut copy_of(file)?)?,
            }
        }
        Ok(())
    }

    fn write_files(&self, image: &Image, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|source| Error::io("make", directory, source))?;
        let layers = self.directories(&image.root)?;
        if layers.is_empty() {
            return Ok(());
        }
        let files = read_only(&layers)?;
        let target = open_tree_root(directory)?;
        let all = |_: &SourcePath<'_>| Verdict::Take;
        let destination = Destination { root: target.as_fd(), path: b"/", is_directory: true };
        let options = GraftOptions { keep_owners: true, ..GraftOptions::default() };
        for source in graft::find(files.as_fd(), b"/", &all)? {
            graft::graft(&source, &all, &destination, &options)?;
        }
        Ok(())
    }

    fn write_image(&self, config: &ImageConfig, names: &[Reference], out: &mut File) -> Result<()> {
        let records = held(&self.layers).clone();
        let mut layers = Vec::new();
        for diff_id in config.diff_ids() {
            let record = records.get(diff_id).ok_or_else(|| crate::image::import::missing(diff_id))?;
            let size = self.local.layers.record(&record.key())?.archive_size;
            layers.push(LayerSource { diff_id: *diff_id, size });
        }
        let mut write_layer = |source: &LayerSource, out: &mut dyn Write| {
            let record =
                records.get(&source.diff_id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            self.local.layers.write_tar(&record.key(), out).map_err(io::Error::other)
        };
        let image = SavedImage { config, names: names.to_vec(), layers };
        Ok(write_archive(&[image], out, &mut write_layer)?)
    }
}

fn copy_of(file: &File) -> Result<File> {
    file.try_clone().map_err(|source| Error::io("write", Path::new("the output"), source))
}

/// An archive of nothing.
fn finish(mut out: impl Write) -> Result<()> {
    out.write_all(&[0; 1024])
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write", Path::new("the output"), source))
}
