//! Reading events: past ones, and new ones as they come, in order and without a silent gap.
//!
//! A reader holds the file that it reads open, so that one which is turned over meanwhile is read to
//! its end. Files are numbered by their first line; where a number is missing between the file that
//! was read and the oldest that is left, events were lost to this reader, and it is told so.

use super::{Events, Place, Sieve, event, now};
use crate::error::Result;
use mica_api::types::event::{Event, EventsOptions};
use mica_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest first line believed.
const HEAD_LENGTH_MAX: u64 = 64;

/// How often the two files are looked at again when they change meanwhile.
const LOOKS_MAX: usize = 100;

/// The first line of a file that is not the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    file: u64,
}

/// An open file of events.
#[derive(Debug)]
struct Source {
    file: File,
    number: u64,
    place: Place,
}

/// The line that the file after `before` begins with.
pub(super) fn head_after(before: &Path) -> Vec<u8> {
    let number = File::open(before).map_or(0, |file| number_of(&file));
    let head = Head { file: number + 1 };
    let mut line = serde_json::to_vec(&head).unwrap_or_default();
    line.push(b'\n');
    line
}

fn number_of(file: &File) -> u64 {
    let mut line = Vec::new();
    let Ok(own) = file.try_clone() else { return 0 };
    let mut start = BufReader::new(AtStart { file: own, offset: 0 }.take(HEAD_LENGTH_MAX));
    let _ = start.read_until(b'\n', &mut line);
    serde_json::from_slice::<Head>(&line).map_or(0, |head| head.file)
}

/// Reads a file from its beginning and leaves its position alone.
struct AtStart {
    file: File,
    offset: u64,
}

impl Read for AtStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = rustix::io::pread(&self.file, buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

impl Source {
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let number = number_of(&file);
        Some(Self { file, number, place: Place::default() })
    }

    fn drain(&mut self, sieve: &mut Sieve<'_>) {
        if let Ok(file) = self.file.try_clone() {
            self.place.drain(file, sieve);
        }
    }
}

impl Events {
    /// Reads past events and follows new ones until `until`, or the sink declines.
    pub(super) fn follow(&self, options: &EventsOptions, sieve: &mut Sieve<'_>) -> Result<()> {
        let watch = self.watch()?;
        let mut current = if options.since.is_some() {
            let mut files = self.sources();
            if let Some(oldest) = files.first().filter(|oldest| oldest.number > 0) {
                sieve.tell(gap(oldest.number));
            }
            let last = files.pop();
            files.iter_mut().for_each(|source| source.drain(sieve));
            last
        } else {
            let mut source = Source::open(&self.path());
            if let Some(source) = &mut source {
                source.place.offset = source.file.metadata().map(|file| file.len()).unwrap_or(0);
            }
            source
        };
        // By a clock that nobody sets, which the other one may be meanwhile.
        let left = |until: Timestamp| u64::try_from(until.nanoseconds() - now().nanoseconds()).unwrap_or(0);
        let deadline = options.until.map(|until| Instant::now() + Duration::from_nanos(left(until)));
        loop {
            self.read_on(&mut current, sieve);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if sieve.declined || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            watch.wait(left)?;
        }
    }

    /// The files that there are, the current one last.
    fn sources(&self) -> Vec<Source> {
        for _ in 0..LOOKS_MAX {
            let before = Source::open(&self.path_before());
            let current = Source::open(&self.path());
            // Turned over between the two, one is missing.
            let is_whole = match (&before, &current) {
                (Some(before), Some(current)) => before.number + 1 == current.number,
                _ => true,
            };
            if is_whole {
                return before.into_iter().chain(current).collect();
            }
        }
        Source::open(&self.path()).into_iter().collect()
    }

    /// Reads what has come since, in whichever files it is.
    fn read_on(&self, current: &mut Option<Source>, sieve: &mut Sieve<'_>) {
        let Some(own) = current else {
            // The first event of all has come.
            *current = Source::open(&self.path());
            if let Some(source) = current {
                source.drain(sieve);
            }
            return;
        };
        own.drain(sieve);
        let number = own.number;
        let newer: Vec<Source> = self.sources().into_iter().filter(|source| source.number > number).collect();
        let Some(first) = newer.first() else { return };
        // What was written to it until it was turned over.
        own.drain(sieve);
        if first.number > number + 1 {
            sieve.tell(gap(first.number));
        }
        for source in newer {
            let own = current.insert(source);
            own.drain(sieve);
        }
    }
}

/// Says that events before file `number` are not kept any more.
fn gap(number: u64) -> Event {
    let message = "older events are not kept, some may be missing here".to_owned();
    let attributes =
        BTreeMap::from([("message".to_owned(), message), ("file".to_owned(), number.to_string())]);
    event("daemon", "gap", "", attributes)
}

#[cfg(test)]
mod tests {
    use super::super::{FILE_SIZE_MAX_BYTES, image};
    use super::*;
    use mica_model::Filters;
    use std::fs::OpenOptions;

    /// Appends an event to a file begun anew.
    fn turn_over(events: &Events, name: &str) {
        OpenOptions::new().write(true).open(events.path()).unwrap().set_len(FILE_SIZE_MAX_BYTES + 1).unwrap();
        events.append(&image("tag", "sha256:1", name));
    }

    /// What a reader sees of the news.
    fn news(events: &Events, current: &mut Option<Source>) -> Vec<String> {
        let options = EventsOptions { since: None, until: None, filters: Filters::default() };
        let mut seen = Vec::new();
        let mut sink = |event: Event| {
            seen.push(event.actor.attributes.get("name").cloned().unwrap_or(event.action));
            true
        };
        events.read_on(current, &mut Sieve { options: &options, sink: &mut sink, declined: false });
        seen
    }

    #[test]
    fn a_slow_reader_gets_all_that_is_kept_and_is_told_of_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let events = Events { directory: directory.path().to_owned() };
        let mut current = None;
        assert!(news(&events, &mut current).is_empty());
        events.append(&image("tag", "sha256:1", "a"));
        assert_eq!(news(&events, &mut current), ["a"]);
        turn_over(&events, "b");
        assert_eq!(news(&events, &mut current), ["b"]);
        ["c", "d"].iter().for_each(|name| turn_over(&events, name));
        assert_eq!(news(&events, &mut current), ["c", "d"]);
        ["e", "f", "g"].iter().for_each(|name| turn_over(&events, name));
        assert_eq!(news(&events, &mut current), ["gap", "f", "g"]);
        assert!(news(&events, &mut current).is_empty());
        let options =
            EventsOptions { since: Some(Timestamp::NEVER), until: Some(now()), filters: Filters::default() };
        let mut past = Vec::new();
        let mut sink = |event: Event| {
            past.push(event.actor.attributes.get("name").cloned().unwrap_or(event.action));
            true
        };
        events.read(&options, &mut sink).unwrap();
        assert_eq!(past, ["gap", "f", "g"]);
    }
}
