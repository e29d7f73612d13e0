//! `pull`: only the embedded image so far; registries come with a later version.

use crate::error::{Error, Result};
use crate::image::embedded;
use crate::{Local, events};
use mica_api::types::image::ProgressEvent;
use mica_model::Reference;

impl Local {
    /// Fetches an image by name; answers its id.
    pub(crate) fn pull_image(
        &self,
        reference: &str,
        platform: &str,
        progress: &(dyn Fn(ProgressEvent) + Sync),
    ) -> Result<String> {
        let name = Reference::parse_normalized(reference)
            .map_err(|error| Error::invalid(error.to_string()))?
            .with_default_tag();
        if name.to_string() != embedded::name()?.to_string() {
            return Err(Error::Unsupported {
                what: format!(
                    "cannot pull {}: registries are not supported yet; `mica load -i FILE` reads what docker save, \
                     podman save or skopeo copy wrote, and {} is built in",
                    name.familiar(),
                    embedded::NAME
                ),
            });
        }
        embedded::check_platform(platform)?;
        let id = self.add_embedded(progress)?.to_string();
        self.events.append(&events::image("pull", &id, &name.familiar()));
        Ok(id)
    }
}
