//! What happened, in order, on disk: one JSON line an event.
//!
//! Lines are appended under `flock(2)` by whoever makes an event: commands and monitors alike.
//! The file is bounded: past [`FILE_SIZE_MAX_BYTES`] it is renamed to `events.jsonl.1`, replacing
//! the one before. Readers follow with inotify and so miss nothing while a command waits; one that is so
//! slow that events were thrown away meanwhile is told of the gap.

mod read;

use crate::container::record::Record;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::network::record::Network;
use crate::watch::Watch;
use mica_api::types::event::{Event, EventActor, EventsOptions};
use mica_model::{Filters, Timestamp};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The file is begun anew after this many bytes.
const FILE_SIZE_MAX_BYTES: u64 = 8 << 20;

/// The event file of a store.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    directory: PathBuf,
}

impl Events {
    pub(crate) fn of(disk: &Disk) -> Self {
        Self { directory: disk.events() }
    }

    /// The file that events are appended to.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("events.jsonl")
    }

    fn path_before(&self) -> PathBuf {
        self.directory.join("events.jsonl.1")
    }

    /// Appends one event. An event that finds no room does not undo what has happened, so a full
    /// disk is no error here.
    pub(crate) fn append(&self, event: &Event) {
        let _ = self.try_append(event);
    }

    /// Appends one event with one write; a short write is taken back.
    fn try_append(&self, event: &Event) -> Result<()> {
        let path = self.path();
        let fail = |source| Error::io("append to", &path, source);
        let mut line = serde_json::to_vec(event)
            .map_err(|source| Error::Record { what: format!("event {}", event.action), source })?;
        line.push(b'\n');
        let mut file = self.locked()?;
        let mut length = file.metadata().map_err(fail)?.len();
        if length > FILE_SIZE_MAX_BYTES {
            let head = read::head_after(&path);
            std::fs::rename(&path, self.path_before()).map_err(fail)?;
            file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
            file.write_all(&head).map_err(fail)?;
            length = head.len() as u64;
        }
        file.write_all(&line).map_err(|source| {
            // Best effort: a torn line is passed over by readers anyway.
            let _ = file.set_len(length);
            fail(source)
        })
    }

    /// The current file, locked. One that was turned over while we waited for its lock is left: its
    /// length must not turn over the fresh one too.
    fn locked(&self) -> Result<File> {
        let path = self.path();
        let fail = |source| Error::io("append to", &path, source);
        loop {
            let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(fail(errno.into())),
            }
            let held = file.metadata().map_err(fail)?.ino();
            if std::fs::metadata(&path).is_ok_and(|named| named.ino() == held) {
                return Ok(file);
            }
        }
    }

    /// Tells when an event is appended, from now on.
    pub(crate) fn watch(&self) -> Result<Watch> {
        Watch::new(&self.directory)
    }

    /// Reads past events and follows new ones until `until`, or the sink declines.
    pub(crate) fn read(&self, options: &EventsOptions, sink: &mut dyn FnMut(Event) -> bool) -> Result<()> {
        options.filters.validate(FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        self.follow(options, &mut Sieve { options, sink, declined: false })
    }
}

/// How far a reader has come.
#[derive(Debug, Default)]
struct Place {
    offset: u64,
}

impl Place {
    fn drain(&mut self, mut file: File, sieve: &mut Sieve<'_>) {
        if file.seek(SeekFrom::Start(self.offset)).is_ok() {
            self.offset += sieve.drain(&mut BufReader::new(file));
        }
    }
}

/// Lets the wanted events through.
struct Sieve<'a> {
    options: &'a EventsOptions,
    sink: &'a mut dyn FnMut(Event) -> bool,
    declined: bool,
}

impl Sieve<'_> {
    /// Hands an event on whatever the filters say.
    fn tell(&mut self, event: Event) {
        self.declined = self.declined || !(self.sink)(event);
    }

    /// Reads whole lines; answers how many bytes they were. A torn last line is left for later,
    /// a damaged one is passed over.
    fn drain(&mut self, reader: &mut impl BufRead) -> u64 {
        let mut line = Vec::new();
        let mut bytes = 0;
        while !self.declined {
            line.clear();
            match reader.read_until(b'\n', &mut line) {
                Ok(length) if line.ends_with(b"\n") => bytes += length as u64,
                _ => break,
            }
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            if self.wants(&event) {
                self.declined = !(self.sink)(event);
            }
        }
        bytes
    }

    fn wants(&self, event: &Event) -> bool {
        let time = event.time_nano;
        self.options.since.is_none_or(|since| time >= since.nanoseconds())
            && self.options.until.is_none_or(|until| time <= until.nanoseconds())
            && matches(&self.options.filters, event)
    }
}

/// Filters that events know.
const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

fn matches(filters: &Filters, event: &Event) -> bool {
    let attributes = &event.actor.attributes;
    let name = attributes.get("name").map(String::as_str).unwrap_or_default();
    let actor = |key: &str, kind: &str| {
        !filters.contains(key)
            || event.kind == kind
                && (filters.exact_match(key, name)
                    || filters
                        .any_match(key, |wanted| !wanted.is_empty() && event.actor.id.starts_with(wanted)))
    };
    let action = event.action.split(':').next().unwrap_or_default();
    let image = !filters.contains("image")
        || filters.any_match("image", |wanted| {
            let of_container =
                attributes.get("image").is_some_and(|image| without_tag(image) == without_tag(wanted));
            event.kind == "image" && (event.actor.id == wanted || without_tag(name) == without_tag(wanted))
                || event.kind == "container" && of_container
        });
    (filters.exact_match("event", &event.action) || filters.exact_match("event", action))
        && filters.exact_match("type", &event.kind)
        && filters.exact_match("scope", &event.scope)
        && filters.match_kv_list("label", |key| attributes.get(key).map(String::as_str))
        && image
        && ["container", "volume", "network", "daemon"].iter().all(|kind| actor(kind, kind))
        && ["config", "node", "plugin", "secret", "service"].iter().all(|kind| actor(kind, kind))
}

fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// An event of a container: docker's attributes are its labels, image and name, and `more`.
pub(crate) fn container(record: &Record, action: &str, more: &[(&str, String)]) -> Event {
    let mut attributes = record.labels.clone();
    attributes.insert("image".to_owned(), record.image.clone());
    attributes.insert("name".to_owned(), record.name.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Event { from: record.image.clone(), ..event("container", action, record.id.as_str(), attributes) }
}

/// An event of an image, by id and one of its names.
pub(crate) fn image(action: &str, id: &str, name: &str) -> Event {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    event("image", action, id, attributes)
}

/// An event of a volume.
pub(crate) fn volume(action: &str, name: &str, more: &[(&str, String)]) -> Event {
    let mut attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    // docker's events of volumes have no names of the old kind.
    Event { status: String::new(), id: String::new(), ..event("volume", action, name, attributes) }
}

/// An event of a network: docker's attributes are its name and driver, and `more`.
pub(crate) fn network(network: &Network, action: &str, more: &[(&str, String)]) -> Event {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), network.name.clone()),
        ("type".to_owned(), network.definition.plan.driver.clone()),
    ]);
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Event { status: String::new(), id: String::new(), ..event("network", action, &network.id, attributes) }
}

/// What a prune of one kind of things has freed, in bytes.
pub(crate) fn pruned(kind: &str, reclaimed: u64) -> Event {
    let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    event(kind, "prune", "", attributes)
}

fn event(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Event {
    let now = now();
    Event {
        status: action.to_owned(),
        id: id.to_owned(),
        from: String::new(),
        kind: kind.to_owned(),
        action: action.to_owned(),
        actor: EventActor { id: id.to_owned(), attributes },
        scope: "local".to_owned(),
        time: now.seconds(),
        time_nano: now.nanoseconds(),
    }
}

/// The line of an event whose time a monitor fills in later.
pub(crate) fn template(event: &Event) -> String {
    let blank = Event { time: 0, time_nano: 0, ..event.clone() };
    let text = serde_json::to_string(&blank).unwrap_or_default();
    let end = r#""time":0,"timeNano":0}"#;
    let head = text.strip_suffix(end).unwrap_or(&text);
    format!(r#"{head}"time":@TIME@,"timeNano":@TIMENANO@}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Events) {
        let directory = tempfile::tempdir().unwrap();
        let events = Events { directory: directory.path().to_owned() };
        (directory, events)
    }

    fn collect(events: &Events, filters: Filters) -> Vec<String> {
        let options = EventsOptions { since: Some(Timestamp::NEVER), until: Some(now()), filters };
        let mut actions = Vec::new();
        events
            .read(&options, &mut |event| {
                actions.push(event.action);
                true
            })
            .unwrap();
        actions
    }

    #[test]
    fn reads_back_in_order_and_passes_over_damage() {
        let (_directory, events) = store();
        events.append(&image("tag", "sha256:1", "a:1"));
        OpenOptions::new().append(true).open(events.path()).unwrap().write_all(b"\0\0\0{\"half\n").unwrap();
        events.append(&image("untag", "sha256:1", "a:1"));
        assert_eq!(collect(&events, Filters::default()), ["tag", "untag"]);
    }

    #[test]
    fn a_writer_that_waited_while_the_file_was_turned_over_leaves_the_fresh_one() {
        let (_directory, events) = store();
        let old = File::create(events.path()).unwrap();
        old.set_len(FILE_SIZE_MAX_BYTES + 1).unwrap();
        flock(&old, FlockOperation::LockExclusive).unwrap();
        let waiting = {
            let events = events.clone();
            std::thread::spawn(move || events.append(&image("tag", "sha256:1", "late:1")))
        };
        while !std::fs::read_to_string("/proc/locks").unwrap().contains("-> FLOCK") {
            assert!(!waiting.is_finished());
            std::thread::yield_now();
        }
        std::fs::rename(events.path(), events.path_before()).unwrap();
        File::create(events.path()).unwrap();
        drop(old);
        waiting.join().unwrap();
        assert_eq!(std::fs::metadata(events.path_before()).unwrap().len(), FILE_SIZE_MAX_BYTES + 1);
        assert_eq!(collect(&events, Filters::default()), ["tag"]);
    }

    #[test]
    fn filters_by_event_and_image() {
        let (_directory, events) = store();
        events.append(&image("tag", "sha256:1", "a:1"));
        events.append(&image("delete", "sha256:2", "b:1"));
        let mut filters = Filters::default();
        filters.add("event", "delete");
        assert_eq!(collect(&events, filters), ["delete"]);
        let mut filters = Filters::default();
        filters.add("image", "a");
        assert_eq!(collect(&events, filters), ["tag"]);
    }

    #[test]
    fn the_template_is_the_event_with_its_time_open() {
        let line = template(&image("tag", "sha256:1", "a:1"));
        let filled = line.replace("@TIME@", "7").replace("@TIMENANO@", "7000000000");
        let event: Event = serde_json::from_str(&filled).unwrap();
        assert_eq!((event.time, event.time_nano), (7, 7_000_000_000));
    }
}
