//! Writing the record and the log of a build while it goes on.

use super::mask::Mask;
use super::{BUILDS_MAX, Files, Line, OUTPUT_SIZE_MAX, all};
use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::build::{
    BuildContext, BuildEvent, BuildFile, BuildOutcome, BuildRecord, BuildRequest, BuildStatus,
};
use mica_model::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Variables that tell nothing of the result and may have passwords in them.
const PROXIES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// A build that is being recorded.
#[derive(Debug)]
pub(in crate::build) struct Recorder {
    directory: PathBuf,
    files: Files,
    began: Instant,
    mask: Mask,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: BuildRecord,
    log: Option<File>,
    /// Bytes of output that are still kept.
    room: usize,
    /// Whether the log says that there was more.
    is_clipped: bool,
    /// Output by step that waits for what follows, lest a secret is cut in two.
    waiting: BTreeMap<u32, Vec<u8>>,
}

impl Recorder {
    /// Begins the record of a build.
    pub(in crate::build) fn begin(local: &Local, request: &BuildRequest, name: &str) -> Self {
        let record = describe(request, name);
        let directory = local.disk.build_history();
        let files = Files::new(&record);
        let log = open_log(&directory, &files.log(&directory)).ok();
        let mask = Mask::new(request.secrets.iter().map(|secret| secret.content.as_slice()));
        let state = State { record, log, room: OUTPUT_SIZE_MAX, is_clipped: false, waiting: BTreeMap::new() };
        let recorder = Self { directory, files, began: Instant::now(), mask, state: Mutex::new(state) };
        recorder.save(&recorder.lock().record);
        recorder
    }

    /// Takes note of an event.
    pub(in crate::build) fn note(&self, event: &BuildEvent) {
        let mut state = self.lock();
        state.count(event);
        match event {
            BuildEvent::Output { step, bytes } => {
                let mut all = state.waiting.remove(step).unwrap_or_default();
                all.extend(bytes);
                let sure = all.len() - self.mask.unsure(&all);
                let unsure = all.split_off(sure);
                if !unsure.is_empty() {
                    state.waiting.insert(*step, unsure);
                }
                self.output(&mut state, *step, &all);
            }
            BuildEvent::Done { step } | BuildEvent::Failed { step, .. } => {
                let rest = state.waiting.remove(step).unwrap_or_default();
                self.output(&mut state, *step, &rest);
                self.line(&mut state, event.clone());
            }
            event => self.line(&mut state, event.clone()),
        }
    }

    /// Ends the record.
    pub(in crate::build) fn finish(&self, result: &Result<BuildOutcome>, was_given_up: bool) {
        let mut state = self.lock();
        let record = &mut state.record;
        record.completed = Some(now());
        match result {
            Ok(outcome) => {
                record.status = BuildStatus::Completed;
                record.image_id.clone_from(&outcome.image_id);
            }
            Err(_) if was_given_up => record.status = BuildStatus::Cancelled,
            Err(error) => {
                record.status = BuildStatus::Failed;
                record.error = Some(self.words(error));
            }
        }
        self.save(&state.record);
        // The lock goes with it.
        state.log = None;
        drop(state);
        for old in all(&self.directory).iter().skip(BUILDS_MAX) {
            let _ = old.remove(&self.directory);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn words(&self, error: &Error) -> String {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        String::from_utf8_lossy(&self.mask.cover(words.as_bytes())).into_owned()
    }

    fn output(&self, state: &mut State, step: u32, bytes: &[u8]) {
        let covered = self.mask.cover(bytes);
        let kept = covered.len().min(state.room);
        if kept > 0 {
            self.line(state, BuildEvent::Output { step, bytes: covered[..kept].to_vec() });
        }
        if kept < covered.len() && !state.is_clipped {
            state.is_clipped = true;
            let text = format!("[output clipped, log limit {}MiB reached]", OUTPUT_SIZE_MAX >> 20);
            self.line(state, BuildEvent::Note { step, text });
        }
        state.room -= kept;
    }

    fn line(&self, state: &mut State, event: BuildEvent) {
        let line = Line { at: self.began.elapsed().as_secs_f64(), event };
        let (Some(log), Ok(mut text)) = (&mut state.log, serde_json::to_vec(&line)) else { return };
        text.push(b'\n');
        // A log that cannot be written is not gone on with.
        if log.write_all(&text).is_err() {
            state.log = None;
        }
    }

    fn save(&self, record: &BuildRecord) {
        if let Ok(text) = serde_json::to_vec(record) {
            let _ = crate::disk::write_file(&self.files.record(&self.directory), &text);
        }
    }
}

impl State {
    fn count(&mut self, event: &BuildEvent) {
        let record = &mut self.record;
        match event {
            BuildEvent::Begin { .. } => record.total_steps += 1,
            BuildEvent::Cached { .. } => {
                record.cached_steps += 1;
                record.completed_steps += 1;
            }
            BuildEvent::Done { .. } => record.completed_steps += 1,
            BuildEvent::Warnings { text } => {
                // The first line has their number.
                record.warnings = text.lines().count().saturating_sub(1);
            }
            BuildEvent::Excerpt { text } => record.excerpt.clone_from(text),
            _ => {}
        }
    }
}

fn now() -> i64 {
    Timestamp::from(std::time::SystemTime::now()).nanoseconds()
}

/// What is known of a build when it begins.
fn describe(request: &BuildRequest, name: &str) -> BuildRecord {
    let context = match &request.context {
        BuildContext::Directory(path) => path.to_string_lossy().into_owned(),
        BuildContext::Remote(address) => without_password(address),
        _ => "-".to_owned(),
    };
    let dockerfile = match &request.dockerfile {
        None => "Dockerfile".to_owned(),
        Some(BuildFile::Text { name, .. } | BuildFile::InContext(name)) => name.clone(),
        Some(BuildFile::Remote(address)) => without_password(address),
    };
    let is_told = |name: &String| !PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
    let arguments = request.arguments.iter().filter(|(name, _)| is_told(name));
    let contexts = request.contexts.iter().map(|(name, value)| (name.clone(), without_password(value)));
    BuildRecord {
        id: id(),
        name: shown_name(name, &context, (&dockerfile, &request.target)),
        context,
        dockerfile,
        target: request.target.clone(),
        platform: request.platform.clone(),
        arguments: arguments.map(|(name, value)| (name.clone(), value.clone())).collect(),
        labels: request.labels.clone(),
        tags: request.tags.clone(),
        contexts: contexts.collect(),
        started: now(),
        ..BuildRecord::default()
    }
}

/// An address without the user and password that may be in it.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
        None => address.to_owned(),
    }
}

/// What a person knows a build by: its place among several, or its directory.
fn shown_name(name: &str, context: &str, (dockerfile, target): (&str, &str)) -> String {
    let base = Path::new(context).file_name().map(|base| base.to_string_lossy().into_owned());
    let mut shown =
        if name.is_empty() { base.unwrap_or_else(|| context.to_owned()) } else { name.to_owned() };
    if dockerfile != "Dockerfile" {
        shown = format!("{shown}/{dockerfile}");
    }
    if target.is_empty() { shown } else { format!("{shown} ({target})") }
}

/// 25 letters and digits, as docker's builder has them.
fn id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random: [u8; 32] = crate::system::random();
    random[..25].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// Opens the log and locks it; only root reads it, as what commands print is nobody else's business.
fn open_log(directory: &Path, path: &Path) -> std::io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_know() {
        assert_eq!(shown_name("", "/home/me/app", ("Dockerfile", "")), "app");
        assert_eq!(shown_name("", "/home/me/app", ("Other", "final")), "app/Other (final)");
        assert_eq!(shown_name("web", "/x", ("Dockerfile", "")), "web");
        assert_eq!(shown_name("", "-", ("Dockerfile", "")), "-");
        assert_eq!(id().len(), 25);
    }

    #[test]
    fn addresses_are_recorded_without_passwords() {
        assert_eq!(without_password("https://u:p@h/x@y"), "https://h/x@y");
        assert_eq!(without_password("https://h/x@y"), "https://h/x@y");
        assert_eq!(without_password("/a/b@c"), "/a/b@c");
    }

    #[test]
    fn proxies_are_not_recorded() {
        let arguments = [("http_proxy", "http://u:p@h"), ("A", "1")];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let record = describe(&BuildRequest { arguments, ..BuildRequest::default() }, "");
        assert_eq!(record.arguments.keys().collect::<Vec<_>>(), ["A"]);
    }
}
