//! `tag`: a further name for an image.

use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::image::variant;
use crate::{Local, events};
use mica_model::{Reference, Timestamp};

impl Local {
    /// Gives the image `source` the name `target`, which may have named another one.
    pub(crate) fn tag_image(&self, source: &str, target: &str) -> Result<()> {
        let name = parse_target(target)?;
        let (image, named) = ImageRecord::find_with_name(&self.database(), source)?;
        let (index, variants) = match named {
            Some(named) => {
                let database = self.database();
                (ImageRecord::index_of_name(&database, &named)?, variant::of_name(&database, &named)?)
            }
            None => (None, Vec::new()),
        };
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database().write(|transaction| {
            image.check_exists(transaction)?;
            ImageRecord::give_name(transaction, &name.to_string(), &image.id, now)?;
            if let Some(index) = &index {
                ImageRecord::give_index(transaction, &name.to_string(), index)?;
            }
            variant::give(transaction, &name.to_string(), &variants)
        })?;
        self.database().make_durable()?;
        self.events.append(&events::image("tag", &image.id.to_string(), &name.familiar()));
        Ok(())
    }
}

/// A name that can be given: with a tag, `latest` if none is written, and without a digest.
pub(crate) fn parse_target(text: &str) -> Result<Reference> {
    let name = Reference::parse_normalized(text).map_err(|error| {
        Error::invalid(format!("Error parsing reference: {text:?} is not a valid repository/tag: {error}"))
    })?;
    if name.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference"));
    }
    Ok(name.with_default_tag())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_its_tag_and_may_not_be_a_digest() {
        assert_eq!(parse_target("busybox").unwrap().familiar(), "busybox:latest");
        for wrong in
            ["", "Upper", "a@sha256:0000000000000000000000000000000000000000000000000000000000000000", "a b"]
        {
            assert!(parse_target(wrong).is_err(), "{wrong}");
        }
    }
}
