//! Sending the result of a build to the registries of its names.

use super::Steps;
use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::build::{BuildEvent, BuildRequest};
use mica_api::types::image::{ProgressEvent, PushRequest};

/// Refuses what could not be sent, before anything is built.
pub(super) fn check(request: &BuildRequest<'_>, platforms: &[String]) -> Result<()> {
    if !request.push {
        return Ok(());
    }
    if request.tags.is_empty() {
        return Err(Error::invalid("tag is needed when pushing to registry"));
    }
    if platforms.len() > 1 {
        return Err(Error::Unsupported { what: "pushing the result of several platforms".to_owned() });
    }
    Ok(())
}

impl Local {
    /// Sends the image under each of its names, one step each.
    pub(super) fn push_result(
        &self,
        request: &BuildRequest<'_>,
        names: &[String],
        steps: &Steps<'_>,
    ) -> Result<()> {
        if !request.push {
            return Ok(());
        }
        for name in names {
            let step = steps.next();
            let tell = |event| {
                if let ProgressEvent::Note { text } = event {
                    (steps.listener)(BuildEvent::Note { step, text });
                }
            };
            let push = PushRequest {
                reference: name.clone(),
                platform: String::new(),
                all_tags: false,
                compression: String::new(),
                compression_level: None,
                access: request.access.clone(),
            };
            steps.whole(step, &format!("pushing {name}"), || self.push_images(&push, &tell))?;
        }
        Ok(())
    }
}
