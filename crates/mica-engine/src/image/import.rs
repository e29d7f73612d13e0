//! `import`: one flat tar archive becomes an image of one layer.

use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::register::{Fresh, NewRecord};
use crate::image::tag::parse_target;
use crate::{Local, events};
use mica_api::types::image::ImportRequest;
use mica_image::{Config, History, NewImage, apply_changes, decompress};
use mica_model::Timestamp;

impl Local {
    /// Makes an image of an archive; answers its id.
    pub(crate) fn import_image(&self, request: ImportRequest) -> Result<String> {
        let imported = self.import(request);
        self.tidy_images();
        imported
    }

    fn import(&self, request: ImportRequest) -> Result<String> {
        let platform = wanted_platform(&request.platform)?;
        let name = match request.reference.as_str() {
            "" => None,
            reference => Some(parse_target(reference)?),
        };
        let mut config = Config::default();
        apply_changes(&mut config, &request.changes)?;
        let layer = self.unpack(decompress(request.source)?)?;
        let now = Timestamp::from(std::time::SystemTime::now());
        let comment = Some(request.message)
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "Imported from -".to_owned());
        let mut image = NewImage {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            comment: comment.clone(),
            created: now,
            config,
            ..NewImage::default()
        };
        let diff_id = *layer.diff_id();
        image.push_layer(diff_id, History { created: now, comment, ..History::default() });
        let config = image.into_config()?;
        let id = config.id().to_string();
        // The only layer completes a chain of one, whose id is its own.
        let fresh = Fresh::from([(diff_id, layer)]);
        let record = NewRecord { config, names: name.iter().cloned().collect(), parent: None, origin: None };
        self.add_images(&[record], fresh, &|job| Err(missing(&job.diff_id)))?;
        self.events.append(&events::image(
            "import",
            &id,
            &name.map_or_else(|| id.clone(), |name| name.familiar()),
        ));
        Ok(id)
    }
}

/// A layer that can not be unpacked again, as what it was made from is gone.
pub(crate) fn missing(diff_id: &mica_model::Digest) -> Error {
    mica_snapshot::Error::UnknownLayer { name: diff_id.to_string() }.into()
}
