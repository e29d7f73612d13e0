//! Sending the result of a build to the registries of its names.

use super::Steps;
use super::export::Made;
use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::build::{BuildEvent, BuildOutcome, BuildRequest};
use mica_api::types::image::{ProgressEvent, PushRequest};
use std::fs::File;

/// Refuses what could not be sent, before anything is built.
pub(super) fn check(request: &BuildRequest<'_>) -> Result<()> {
    if !request.push {
        return Ok(());
    }
    if request.tags.is_empty() {
        return Err(Error::invalid("tag is needed when pushing to registry"));
    }
    Ok(())
}

impl Local {
    /// Sends what was made, if that is wanted. The lock is that which keeps its layers.
    pub(super) fn push_made(
        &self,
        request: &BuildRequest<'_>,
        (made, lock): (Vec<Made<'_>>, File),
        outcome: BuildOutcome,
        steps: &Steps<'_>,
    ) -> Result<BuildOutcome> {
        if request.push && (made.len() > 1 || !request.annotations.is_empty()) {
            let digest = self.push_platforms(request, &made, steps)?;
            return Ok(BuildOutcome { digest: digest.unwrap_or(outcome.digest), ..outcome });
        }
        // Whoever pushes an image takes the lock anew.
        drop((made, lock));
        self.push_result(request, &outcome.names, steps)?;
        Ok(outcome)
    }

    /// Sends the image under each of its names, one step each.
    fn push_result(&self, request: &BuildRequest<'_>, names: &[String], steps: &Steps<'_>) -> Result<()> {
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
