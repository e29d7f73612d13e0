//! `logs`: what a container has written, read back from the files of its log.
//!
//! Damage (an entry torn by a crash or a full disk, zeros after a power cut) is passed over and
//! never hides what comes after it. A reader holds no lock and so can never hold a container up.

mod files;
mod json;
mod local;

use crate::Local;
use crate::container::log_driver::{self, Readable};
use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::watch::Watch;
use files::{LogFiles, Source};
use mica_api::types::container::{LogEntry, LogsOptions};
use mica_model::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How often a follower asks whether a monitor that says nothing still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

/// Most entries handed on together, and most bytes of them.
const BATCH_COUNT: usize = 4096;
const BATCH_LENGTH: usize = 128 << 10;

/// How much of the end of a large log is looked at first.
const END_LENGTH_MIN: u64 = 64 << 10;

/// docker cuts lines into pieces of this many bytes.
const PIECE_LENGTH_MAX: usize = 16 << 10;

impl Local {
    /// Reads a log, and follows it until the container ends if asked to.
    pub(crate) fn logs(
        &self,
        reference: &str,
        options: &LogsOptions,
        sink: &mut dyn FnMut(Vec<LogEntry>) -> bool,
    ) -> Result<()> {
        if !options.stdout && !options.stderr {
            return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
        }
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        let readable = log_driver::readable(&definition.host_config.log_config)?;
        let disk = self.disk.container(&record.id);
        let watch = Watch::new(disk.directory())?;
        let mut reader = Reader::new(options, LogFiles::new(readable.path(&disk)), decoder(readable));
        let mut batches = Batches { sink, entries: Vec::new(), length: 0, is_wanted: true };
        reader.read_past(&mut batches);
        while options.follow && batches.is_wanted {
            // The question comes before the last read, so that nothing written before the end is missed.
            let running = Record::find(&self.database(), record.id.as_str())
                .is_ok_and(|record| record.observe(&disk).is_running());
            reader.read_on(&mut batches);
            if !running {
                break;
            }
            watch.wait(Some(LIVENESS_INTERVAL))?;
        }
        Ok(())
    }
}

/// What the bytes at the beginning of a buffer are.
#[derive(Debug)]
enum Step {
    /// An entry of so many bytes.
    Entry(usize, RawEntry),
    /// So many bytes of damage.
    Skip(usize),
    /// The beginning of something.
    More,
}

/// An entry as a format has it.
#[derive(Debug, PartialEq, Eq)]
struct RawEntry {
    entry: LogEntry,
    /// Another piece of the same line comes after it.
    is_cut: bool,
}

/// A format of logs.
trait Decoder {
    /// Takes the first entry off `bytes`; `is_end` says that nothing comes after them for now.
    fn step(&mut self, bytes: &[u8], is_end: bool) -> Step;

    /// How much of `bytes`, which may begin in the middle of an entry, belongs to that; `None` when its end
    /// is not among them.
    fn rest_of_entry(&self, bytes: &[u8]) -> Option<usize>;
}

fn decoder(readable: Readable) -> Box<dyn Decoder> {
    match readable {
        Readable::JsonFile => Box::new(json::Json::default()),
        Readable::Local => Box::new(local::LocalFormat),
    }
}

/// Reads a log, file by file.
struct Reader<'a> {
    options: &'a LogsOptions,
    files: LogFiles,
    decoder: Box<dyn Decoder>,
    /// The file that is read, and what of it is not decoded yet.
    current: Option<Source>,
    buffer: Vec<u8>,
    /// Whether the line before was cut, of output and of errors.
    is_cut: [bool; 2],
}

/// Entries on their way to whoever asked for them: many at a time, but none waits for another that
/// has not been written yet.
struct Batches<'a> {
    sink: &'a mut dyn FnMut(Vec<LogEntry>) -> bool,
    entries: Vec<LogEntry>,
    /// Bytes of their lines.
    length: usize,
    is_wanted: bool,
}

impl Batches<'_> {
    fn push(&mut self, entry: LogEntry) {
        self.length += entry.line.len();
        self.entries.push(entry);
        if self.entries.len() >= BATCH_COUNT || self.length >= BATCH_LENGTH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.length = 0;
        if !self.entries.is_empty() {
            let entries = std::mem::take(&mut self.entries);
            self.is_wanted = self.is_wanted && (self.sink)(entries);
        }
    }
}

impl<'a> Reader<'a> {
    fn new(options: &'a LogsOptions, files: LogFiles, decoder: Box<dyn Decoder>) -> Self {
        Self { options, files, decoder, current: None, buffer: Vec::new(), is_cut: [false, false] }
    }

    /// Everything so far: the last `tail` lines, or all of it.
    fn read_past(&mut self, sink: &mut Batches<'_>) {
        let Some(tail) = self.options.tail else { return self.read_all(&mut Taker::Batches(sink)) };
        let last = self.read_end(tail).unwrap_or_else(|| {
            let mut last = Last::new(tail);
            self.read_all(&mut Taker::Last(&mut last));
            last
        });
        // What belongs to a line whose beginning is gone goes with it.
        for entry in last.kept.into_iter().skip_while(|entry| tail == 0 || entry.continues) {
            sink.push(entry);
        }
        sink.flush();
    }

    /// The last lines, if they are all near the end of the current file: of a large log nothing else is read.
    /// `None` when more has to be looked at.
    fn read_end(&mut self, tail: u64) -> Option<Last> {
        let identity = self.files.identities().pop()?;
        let mut reach = END_LENGTH_MIN;
        loop {
            self.is_cut = [false, false];
            let mut source = self.files.open(&identity)?;
            if !source.go_near_end(reach) {
                return None;
            }
            self.turn_to(source);
            self.skip_to_entry();
            let mut last = Last::new(tail);
            self.drain(&mut Taker::Last(&mut last));
            // With one line more than is wanted it is certain where the first one begins that is.
            if last.seen > tail {
                return Some(last);
            }
            reach = reach.saturating_mul(4);
        }
    }

    /// Leaves out what is left of an entry in whose middle the reading has begun.
    fn skip_to_entry(&mut self) {
        loop {
            if let Some(length) = self.decoder.rest_of_entry(&self.buffer) {
                self.buffer.drain(..length);
                return;
            }
            self.buffer.clear();
            let Some(source) = &mut self.current else { return };
            if source.fill(&mut self.buffer) == 0 {
                return;
            }
        }
    }

    fn read_all(&mut self, taker: &mut Taker<'_, '_>) {
        for identity in self.files.identities() {
            // One that is gone was the oldest, and turned over while the others were read.
            let Some(source) = self.files.open(&identity) else { continue };
            self.turn_to(source);
            self.drain(taker);
        }
    }

    fn turn_to(&mut self, source: Source) {
        self.current = Some(source);
        self.buffer.clear();
    }

    /// What has come since; files begun meanwhile are read in their order.
    fn read_on(&mut self, sink: &mut Batches<'_>) {
        if let Some(current) = &mut self.current
            && current.was_cut_short()
        {
            // Somebody emptied the file; what is in it now is new.
            current.rewind();
            self.buffer.clear();
        }
        self.drain(&mut Taker::Batches(sink));
        let identities = self.files.identities();
        let own = self.current.as_ref().map(|source| source.identity().clone());
        let position = identities.iter().position(|identity| Some(identity) == own.as_ref());
        // When even the own file is gone, all that are there are newer.
        let newer = position.map_or(0, |position| position + 1);
        for identity in identities.into_iter().skip(newer) {
            // What was written to the old file until it was turned over.
            self.drain(&mut Taker::Batches(sink));
            if let Some(source) = self.files.open(&identity) {
                self.turn_to(source);
                self.drain(&mut Taker::Batches(sink));
            }
        }
    }

    /// Hands on what can be read of the current file now.
    fn drain(&mut self, taker: &mut Taker<'_, '_>) {
        let mut start = 0;
        let mut is_end = false;
        while taker.is_wanted() {
            match self.decoder.step(&self.buffer[start..], is_end) {
                Step::Entry(length, raw) => {
                    start += length;
                    self.hand_on(raw, taker);
                }
                Step::Skip(length) => start += length,
                Step::More => {
                    self.buffer.drain(..start);
                    start = 0;
                    let Some(source) = &mut self.current else { break };
                    let was_end = is_end;
                    is_end = source.fill(&mut self.buffer) == 0;
                    if is_end && was_end {
                        break;
                    }
                }
            }
        }
        taker.pause();
    }

    fn hand_on(&mut self, raw: RawEntry, taker: &mut Taker<'_, '_>) {
        let RawEntry { mut entry, is_cut } = raw;
        entry.continues = std::mem::replace(&mut self.is_cut[usize::from(entry.stderr)], is_cut);
        if wants(self.options, &entry) {
            taker.take(entry);
        }
    }
}

/// The last lines so far.
struct Last {
    kept: VecDeque<LogEntry>,
    /// How many are kept.
    lines: u64,
    most: u64,
    /// How many there were.
    seen: u64,
}

impl Last {
    fn new(most: u64) -> Self {
        Self { kept: VecDeque::new(), lines: 0, most, seen: 0 }
    }
}

/// Who takes what is read.
enum Taker<'a, 'b> {
    Batches(&'a mut Batches<'b>),
    Last(&'a mut Last),
}

impl Taker<'_, '_> {
    fn take(&mut self, entry: LogEntry) {
        match self {
            Self::Batches(batches) => batches.push(entry),
            Self::Last(Last { kept, lines, most, seen }) => {
                *lines += u64::from(!entry.continues);
                *seen += u64::from(!entry.continues);
                kept.push_back(entry);
                while *lines > *most {
                    *lines -= u64::from(kept.pop_front().is_some_and(|entry| !entry.continues));
                }
            }
        }
    }

    fn is_wanted(&self) -> bool {
        match self {
            Self::Batches(batches) => batches.is_wanted,
            Self::Last(_) => true,
        }
    }

    /// Nothing more can be read for now.
    fn pause(&mut self) {
        if let Self::Batches(batches) = self {
            batches.flush();
        }
    }
}

fn wants(options: &LogsOptions, entry: &LogEntry) -> bool {
    let stream = if entry.stderr { options.stderr } else { options.stdout };
    stream
        && options.since.is_none_or(|since| entry.time >= since)
        && options.until.is_none_or(|until| entry.time <= until)
}

fn raw(time: Timestamp, stderr: bool, line: Vec<u8>, details: String, is_cut: bool) -> RawEntry {
    RawEntry { entry: LogEntry { time, stderr, line, details, continues: false }, is_cut }
}

#[cfg(test)]
mod tests;
