//! The images that builds begin with or take files from: of the store, of registries, and of OCI layouts.

use super::worker::{Builder, check_platform};
use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::origin;
use crate::image::record::ImageRecord;
use crate::image::register::{Fresh, Job, NewRecord};
use mica_api::types::image::PullRequest;
use mica_image::{ArchiveImage, ArchiveOptions, read_archive};
use std::fs::File;
use std::path::Path;

/// What a further context begins with that is the directory of an OCI layout.
pub(super) const LAYOUT: &str = "oci-layout://";

impl Builder<'_> {
    /// The image of a name: the one that is here, if it is for the right platform, or else one of a registry.
    pub(super) fn named_image(&self, name: &str, platform: Option<&str>) -> Result<ImageRecord> {
        let here = match ImageRecord::find(&self.local.database(), name) {
            Err(Error::NoSuchImage { .. }) => None,
            Ok(_) if self.request.pull => None,
            other => Some(other?),
        };
        let platform = platform.filter(|text| !text.is_empty());
        let Some(here) = here else { return self.pull_image(name, platform) };
        let Some(wanted) = platform else { return Ok(here) };
        if let Ok(found) = self.local.image_for(name, wanted) {
            return Ok(found);
        }
        match check_platform(name, &self.local.image_config(&here)?, wanted) {
            Ok(()) => Ok(here),
            // What was never in a registry is not looked for there.
            Err(mismatch) if !origin::is_pulled(&self.local.database(), &here.id)? => Err(mismatch),
            Err(mismatch) => {
                let pulled = self.pull_image(name, platform).map_err(|_| mismatch)?;
                // The name goes on to mean what it meant.
                self.local.tag_image(&here.id.to_string(), name)?;
                Ok(pulled)
            }
        }
    }

    fn pull_image(&self, name: &str, platform: Option<&str>) -> Result<ImageRecord> {
        let wish = PullRequest {
            reference: name.to_owned(),
            platform: platform.unwrap_or(self.platform).to_owned(),
            all_tags: false,
            access: self.request.access.clone(),
        };
        let pulled = self.local.pull_images(&wish, &|_| {})?;
        let id = pulled.first().map_or(name, |image| image.id.as_str());
        ImageRecord::find(&self.local.database(), id)
    }

    /// An image of a layout, `DIRECTORY[:TAG][@DIGEST]`. It comes into the store without a name.
    pub(super) fn layout_image(&self, layout: &str, platform: Option<&str>) -> Result<ImageRecord> {
        let (rest, digest) =
            layout.split_once('@').map_or((layout, None), |(rest, digest)| (rest, Some(digest)));
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let platform = wanted_platform(platform.unwrap_or(self.platform))?;
        let spool = self.local.disk.spool();
        let input = File::open(path).map_err(|source| Error::io("open", Path::new(path), source))?;
        let images = read_archive(input, &ArchiveOptions { spool_directory: &spool, platform: &platform })?;
        let is_it = |image: &ArchiveImage| {
            let manifest = image.manifest.as_ref().map(|manifest| manifest.digest().to_string());
            digest.is_none_or(|digest| manifest.as_deref() == Some(digest))
                && tag.is_none_or(|tag| is_called(image, tag))
        };
        let mut suitable = images.into_iter().filter(is_it);
        let Some(image) = suitable.next() else {
            return Err(Error::invalid(format!("{LAYOUT}{layout}: no such image in the layout")));
        };
        if suitable.next().is_some() {
            return Err(Error::invalid(format!(
                "{LAYOUT}{layout}: several images: a tag or a digest is needed"
            )));
        }
        let id = *image.config.id();
        let layers = image.layers.clone();
        let record = NewRecord { config: image.config, names: Vec::new(), parent: None, origin: None };
        let unpack = |job: Job| self.local.unpack_archived(&layers[job.layer], &|_| {});
        self.local.add_images(&[record], Fresh::new(), &unpack)?;
        ImageRecord::by_id(&self.local.database(), &id)?
            .ok_or_else(|| Error::NoSuchImage { reference: id.to_string() })
    }
}

/// Whether a layout has an image under a tag, which may stand alone there.
fn is_called(image: &ArchiveImage, tag: &str) -> bool {
    image.references.iter().any(|reference| reference == tag)
        || image.names.iter().any(|name| name.tag() == Some(tag))
}
