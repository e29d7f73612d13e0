//! For programs: the documents that docker's builder sends, an object a line.

use super::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mica_api::types::build::BuildEvent;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Makes times of seconds since the build began.
#[derive(Debug)]
pub(super) struct Clock {
    began: SystemTime,
}

impl Clock {
    pub(super) const fn new(began: SystemTime) -> Self {
        Self { began }
    }

    fn at(&self, seconds: f64) -> String {
        let time = self.began + std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
    }
}

impl State {
    pub(super) fn json(&mut self, event: &BuildEvent) {
        let document = match event {
            BuildEvent::Note { step, text } => json!({ "statuses": [{
                "id": text,
                "vertex": self.digest(*step),
                "timestamp": self.clock.at(self.now),
                "started": self.clock.at(self.now),
                "completed": self.clock.at(self.now),
            }] }),
            BuildEvent::Output { step, bytes } => json!({ "logs": [{
                "vertex": self.digest(*step),
                "stream": 1,
                "data": STANDARD.encode(bytes),
                "timestamp": self.clock.at(self.now),
            }] }),
            BuildEvent::Excerpt { text } | BuildEvent::Warnings { text } => json!({ "warnings": [{
                "level": 1,
                "short": STANDARD.encode(text),
            }] }),
            BuildEvent::Begin { step, .. } => json!({ "vertexes": [self.vertex(*step)] }),
            BuildEvent::Done { step } => self.ended(*step, &[]),
            BuildEvent::Cached { step } => self.ended(*step, &[("cached", true.into())]),
            BuildEvent::Failed { step, reason } => {
                let reason = reason.as_deref().unwrap_or(match self.failed {
                    Some(failed) if failed == *step => "the step failed",
                    _ => "context canceled",
                });
                self.ended(*step, &[("error", reason.into())])
            }
        };
        let _ = writeln!(self.out, "{document}");
    }

    /// What tells steps apart; docker has digests of what they do there.
    fn digest(&self, step: u32) -> String {
        format!("sha256:{:064x}", self.steps.get(&step).map_or(0, |step| step.number))
    }

    fn vertex(&self, step: u32) -> Value {
        let (name, began) = self.steps.get(&step).map_or(("", 0.0), |step| (&step.name, step.began));
        json!({ "digest": self.digest(step), "name": name, "started": self.clock.at(began) })
    }

    fn ended(&self, step: u32, more: &[(&str, Value)]) -> Value {
        let mut vertex = self.vertex(step);
        vertex["completed"] = self.clock.at(self.now).into();
        for (name, value) in more {
            vertex[*name] = value.clone();
        }
        json!({ "vertexes": [vertex] })
    }
}
