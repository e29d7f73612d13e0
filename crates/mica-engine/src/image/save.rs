//! `save`: images as an archive, with their layers byte for byte as they came.

use crate::error::Result;
use crate::image::record::{ImageRecord, LayerRecord};
use crate::image::variant;
use crate::{Local, events};
use mica_image::{
    AnnotatedImage, Annotations, ImageConfig, LayerSource, SavedImage, write_archive, write_layout,
};
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
        let wanted = self.wanted(references, platform)?;
        if let ([one], "") = (&wanted[..], platform)
            && let Some(variants) = self.variants(one)?
        {
            return self.save_index(one, &variants, out);
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
        wanted.iter().for_each(|image| self.tell_saved(image));
        Ok(())
    }

    fn tell_saved(&self, image: &Wanted) {
        let id = image.record.id.to_string();
        let name = image.names.first().map_or_else(|| id.clone(), Reference::familiar);
        self.events.append(&events::image("save", &id, &name));
    }

    /// The images of all platforms, where a single name stands for several.
    fn variants(&self, image: &Wanted) -> Result<Option<Vec<Wanted>>> {
        let [name] = &image.names[..] else { return Ok(None) };
        let mut variants = Vec::new();
        // Taken first: the loop needs the database too.
        let ids = variant::of_name(&self.database(), &name.to_string())?;
        for id in ids {
            let Some(record) = ImageRecord::by_id(&self.database(), &id)? else { return Ok(None) };
            let config = self.image_config(&record)?;
            variants.push(Wanted { record, config, names: image.names.clone() });
        }
        Ok(Some(variants).filter(|variants| !variants.is_empty()))
    }

    /// Writes an OCI layout with an index of several platforms, as docker does.
    fn save_index(&self, named: &Wanted, variants: &[Wanted], out: &mut dyn Write) -> Result<()> {
        let mut records: HashMap<Digest, &LayerRecord> = HashMap::new();
        let mut images = Vec::new();
        for Wanted { record, config, names } in variants {
            let mut layers = Vec::new();
            for layer in &record.layers {
                let size = self.layers.record(&layer.key())?.archive_size;
                layers.push(LayerSource { diff_id: layer.diff_id, size });
                records.insert(layer.diff_id, layer);
            }
            let image = SavedImage { config, names: names.clone(), layers };
            images.push(AnnotatedImage { image, annotations: Annotations::default() });
        }
        let mut write_layer = |source: &LayerSource, out: &mut dyn Write| {
            let layer =
                records.get(&source.diff_id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            self.layers.write_tar(&layer.key(), out).map_err(io::Error::other)
        };
        write_layout(&images, out, &mut write_layer)?;
        self.tell_saved(named);
        Ok(())
    }

    /// What was asked for, in that order, each image once with all its names.
    fn wanted(&self, references: &[String], platform: &str) -> Result<Vec<Wanted>> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for reference in references {
            for (record, name) in self.meant(reference)? {
                let record = match (platform, &name) {
                    ("", _) => record,
                    (platform, Some(name)) => self.image_for(&name.to_string(), platform)?,
                    (platform, None) => self.image_for(reference, platform)?,
                };
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
