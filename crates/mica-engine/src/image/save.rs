//! `save`: images as an archive, with their layers byte for byte as they came.

use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::record::{ImageRecord, LayerRecord};
use crate::{Local, events};
use mica_image::{ImageConfig, LayerSource, Platform, SavedImage, write_archive};
use mica_model::{Digest, Reference};
use std::collections::HashMap;
use std::io::{self, Write};

/// An image asked for, with those of its names that were.
struct Wanted {
    record: ImageRecord,
    config: ImageConfig,
    names: Vec<Reference>,
}

impl Local {
    /// Writes the archive.
    pub(crate) fn save_images(
        &self,
        references: &[String],
        platform: &str,
        out: &mut dyn Write,
    ) -> Result<()> {
        let wanted = self.wanted(references)?;
        if !platform.is_empty() {
            let platform = wanted_platform(platform)?;
            wanted.iter().try_for_each(|image| check_platform(image, &platform))?;
        }
        let mut images = Vec::new();
        let mut layers: HashMap<Digest, &LayerRecord> = HashMap::new();
        for image in &wanted {
            let mut sources = Vec::new();
            for layer in &image.record.layers {
                sources.push(LayerSource {
                    diff_id: layer.diff_id,
                    size: self.layers.record(&layer.key())?.archive_size,
                });
                layers.insert(layer.diff_id, layer);
            }
            images.push(SavedImage { config: &image.config, names: image.names.clone(), layers: sources });
        }
        let mut write_layer = |source: &LayerSource, out: &mut dyn Write| {
            let layer =
                layers.get(&source.diff_id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            self.layers.write_tar(&layer.key(), out).map_err(io::Error::other)
        };
        write_archive(&images, out, &mut write_layer)?;
        for image in &wanted {
            let id = image.record.id.to_string();
            let name = image.names.first().map_or_else(|| id.clone(), Reference::familiar);
            self.events.append(&events::image("save", &id, &name));
        }
        Ok(())
    }

    /// What was asked for, in that order, each image once with all its names.
    fn wanted(&self, references: &[String]) -> Result<Vec<Wanted>> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for reference in references {
            for (record, name) in self.meant(reference)? {
                if let Some(known) = wanted.iter_mut().find(|known| known.record.id == record.id) {
                    known.names.extend(name.filter(|name| !known.names.contains(name)));
                    continue;
                }
                let config = self.image_config(&record)?;
                wanted.push(Wanted { record, config, names: name.into_iter().collect() });
            }
        }
        Ok(wanted)
    }

    /// docker's rule: a repository without a tag means all its tags, an id means no name.
    fn meant(&self, reference: &str) -> Result<Vec<(ImageRecord, Option<Reference>)>> {
        let parsed = Reference::parse_normalized(reference).ok();
        if let Some(repository) = parsed.filter(|name| name.tag().is_none() && name.digest().is_none()) {
            let mut tags = Vec::new();
            // Taken first: the loop needs the database too.
            let names = ImageRecord::names(&self.database())?;
            for (name, id) in names {
                let Ok(name) = Reference::parse_normalized(&name) else { continue };
                if name.name() == repository.name()
                    && let Some(record) = ImageRecord::by_id(&self.database(), &id)?
                {
                    tags.push((record, Some(name)));
                }
            }
            if !tags.is_empty() {
                return Ok(tags);
            }
        }
        let (record, name) = ImageRecord::find_with_name(&self.database(), reference)?;
        let name = name.and_then(|name| Reference::parse_normalized(&name).ok());
        Ok(vec![(record, name)])
    }
}

fn check_platform(image: &Wanted, platform: &Platform) -> Result<()> {
    let own = Platform {
        os: image.config.os().to_owned(),
        architecture: image.config.architecture().to_owned(),
        variant: image.config.variant().to_owned(),
    };
    if platform.suits(&own) {
        return Ok(());
    }
    Err(Error::NoSuchImage {
        reference: format!("{} for platform {platform} (it is for {own})", image.record.id),
    })
}
