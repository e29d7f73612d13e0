//! `wait`: the end of a run, however it is learnt.

use crate::Local;
use crate::container::record::Record;
use crate::error::{Error, Result};
use mica_api::types::container::WaitCondition;
use mica_model::ContainerId;
use std::io::Read;

/// Blocks until the condition holds; answers the exit code.
pub(crate) fn wait(engine: &Local, reference: &str, condition: WaitCondition) -> Result<i64> {
    let record = Record::find(&engine.database(), reference)?;
    let started = record.started;
    let mut last: Option<i64> = None;
    // Begun before the first look, so that what happens between a look and the waiting is not missed.
    let watch = match condition {
        WaitCondition::NotRunning => None,
        WaitCondition::NextExit | WaitCondition::Removed => Some(engine.events.watch()?),
    };
    loop {
        let record = match Record::find(&engine.database(), record.id.as_str()) {
            Ok(record) => record,
            // Removed while we waited: its code is the last one seen.
            Err(Error::NoSuchContainer { .. }) if last.is_some() => return Ok(last.unwrap_or_default()),
            Err(error) => return Err(error),
        };
        let disk = engine.disk.container(&record.id);
        let observed = record.observe(&disk);
        if observed.is_running() {
            let end = follow_to_end(engine, &record.id);
            last = end.map(|end| end.code).or(last);
            match (end, condition) {
                // It may be started by somebody at once, which is no longer the run that was waited for.
                (Some(end), WaitCondition::NotRunning) if !end.is_followed => return Ok(end.code),
                (Some(end), WaitCondition::NextExit) => return Ok(end.code),
                _ => continue,
            }
        }
        let ended_since = observed.status == "exited" && (last.is_some() || record.started != started);
        match condition {
            WaitCondition::NotRunning => return Ok(observed.exit_code),
            WaitCondition::NextExit if ended_since => return Ok(observed.exit_code),
            WaitCondition::NextExit | WaitCondition::Removed => {
                last = last.or(Some(observed.exit_code).filter(|_| condition == WaitCondition::Removed));
                if let Some(watch) = &watch {
                    watch.wait(None)?;
                }
            }
        }
    }
}

/// How a life ended, as its monitor has told.
#[derive(Debug, Clone, Copy)]
struct End {
    code: i64,
    /// Whether the monitor starts it again.
    is_followed: bool,
}

/// Follows the monitor to its last frame; the exit code where it said one.
fn follow_to_end(engine: &Local, id: &ContainerId) -> Option<End> {
    use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
    let hello = mica_runtime::Hello::default();
    let mut socket = mica_runtime::connect(engine.disk.container(id).run(), &hello).ok()?;
    loop {
        let mut header = [0; HEADER_LENGTH];
        socket.read_exact(&mut header).ok()?;
        let header = FrameHeader::decode(header).ok()?;
        let mut payload = vec![0; header.length];
        socket.read_exact(&mut payload).ok()?;
        if header.kind == FrameKind::Exit {
            let code = i64::from(u32::from_be_bytes(*payload.first_chunk::<4>()?));
            return Some(End { code, is_followed: payload.get(5) == Some(&1) });
        }
    }
}
