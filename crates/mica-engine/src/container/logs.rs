//! `logs`: what a container has written, read back from its json-file log.
//!
//! The current file is `container.log`; older ones are `container.log.1`, `.2`, … A line that is
//! not JSON (torn by a crash or a full disk, or zeros after a power cut) is passed over and never
//! hides the ones after it. A reader holds no lock and so can never hold a container up.

use crate::Local;
use crate::container::record::Record;
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::watch::Watch;
use mica_api::types::container::{LogEntry, LogsOptions};
use mica_model::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How often a follower asks whether a monitor that says nothing still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

/// The longest line believed, in bytes: 16 KiB of output at six bytes each, and some.
const LINE_LENGTH_MAX: u64 = 256 << 10;

impl Local {
    /// Reads a log, and follows it until the container ends if asked to.
    pub(crate) fn logs(
        &self,
        reference: &str,
        options: &LogsOptions,
        sink: &mut dyn FnMut(LogEntry) -> bool,
    ) -> Result<()> {
        if !options.stdout && !options.stderr {
            return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
        }
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        if definition.host_config.log_config.driver == "none" {
            return Err(Error::state("configured logging driver does not support reading"));
        }
        let disk = self.disk.container(&record.id);
        let watch = Watch::new(disk.directory())?;
        let mut reader = Reader { options, sink, place: Place::default(), open: true };
        reader.read_past(&disk);
        while options.follow && reader.open {
            // The question comes before the last read, so that nothing written before the end is missed.
            let running = Record::find(&self.database(), record.id.as_str())
                .is_ok_and(|record| record.observe(&disk).is_running());
            reader.read_on(&disk);
            if !running {
                break;
            }
            watch.wait(Some(LIVENESS_INTERVAL))?;
        }
        Ok(())
    }
}

/// How far a reader has come in the current file.
#[derive(Debug, Default)]
struct Place {
    inode: u64,
    offset: u64,
}

struct Reader<'a> {
    options: &'a LogsOptions,
    sink: &'a mut dyn FnMut(LogEntry) -> bool,
    place: Place,
    open: bool,
}

impl Reader<'_> {
    /// Everything so far: the last `tail` lines, or all of it.
    fn read_past(&mut self, disk: &ContainerDisk) {
        let files = files(disk);
        let Some(tail) = self.options.tail else {
            for path in files {
                self.read_file(&path, 0);
            }
            return;
        };
        let mut kept: VecDeque<LogEntry> = VecDeque::new();
        let mut lines = 0;
        for path in files {
            self.place = self.scan(&path, 0, &mut |entry| {
                lines += u64::from(entry.line.ends_with(b"\n"));
                kept.push_back(entry);
                while lines > tail {
                    let Some(first) = kept.pop_front() else { break };
                    lines -= u64::from(first.line.ends_with(b"\n"));
                }
                true
            });
        }
        if tail == 0 {
            kept.clear();
        }
        for entry in kept {
            self.open = self.open && (self.sink)(entry);
        }
    }

    /// What has come since; a file begun anew is preceded by the rest of the one before.
    fn read_on(&mut self, disk: &ContainerDisk) {
        let Ok(current) = std::fs::metadata(disk.log()) else { return };
        if self.place.inode != 0 && current.ino() != self.place.inode {
            let before = files(disk).into_iter().rev().skip(1);
            let missed: Vec<PathBuf> = before
                .take_while(|path| std::fs::metadata(path).is_ok_and(|file| file.ino() != self.place.inode))
                .collect();
            let old = files(disk)
                .into_iter()
                .find(|path| std::fs::metadata(path).is_ok_and(|file| file.ino() == self.place.inode));
            if let Some(old) = old {
                self.read_file(&old, self.place.offset);
            }
            for path in missed.into_iter().rev() {
                self.read_file(&path, 0);
            }
            self.place = Place::default();
        }
        if current.ino() == self.place.inode && current.len() < self.place.offset {
            // Somebody cut the file short; what is in it now is new.
            self.place.offset = 0;
        }
        self.read_file(&disk.log(), self.place.offset);
    }

    fn read_file(&mut self, path: &std::path::Path, offset: u64) {
        let mut open = self.open;
        // The sink is moved out for the scan, which borrows the options beside it.
        let sink = &mut *self.sink;
        let place = scan(self.options, path, offset, &mut |entry| {
            open = open && sink(entry);
            open
        });
        self.open = open;
        self.place = place;
    }

    fn scan(&self, path: &std::path::Path, offset: u64, take: &mut dyn FnMut(LogEntry) -> bool) -> Place {
        scan(self.options, path, offset, take)
    }
}

/// All files of a log, oldest first, the current one last.
fn files(disk: &ContainerDisk) -> Vec<PathBuf> {
    let current = disk.log();
    let numbered = |number: u32| {
        let mut path = current.clone().into_os_string();
        path.push(format!(".{number}"));
        PathBuf::from(path)
    };
    let mut files: Vec<PathBuf> = (1..).map(numbered).take_while(|path| path.exists()).collect();
    files.reverse();
    files.push(current);
    files
}

/// Reads whole lines from `offset` and hands the wanted entries on; answers how far it came.
fn scan(
    options: &LogsOptions,
    path: &std::path::Path,
    offset: u64,
    take: &mut dyn FnMut(LogEntry) -> bool,
) -> Place {
    let Ok(mut file) = File::open(path) else { return Place::default() };
    let inode = file.metadata().map(|file| file.ino()).unwrap_or_default();
    let mut place = Place { inode, offset };
    if file.seek(SeekFrom::Start(offset)).is_err() {
        return place;
    }
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length =
            std::io::Read::take(&mut reader, LINE_LENGTH_MAX).read_until(b'\n', &mut line).unwrap_or(0);
        let whole = line.ends_with(b"\n") || length as u64 == LINE_LENGTH_MAX;
        if !whole {
            return place;
        }
        place.offset += length as u64;
        let Some(entry) = parse(&line).filter(|entry| wants(options, entry)) else { continue };
        if !take(entry) {
            return place;
        }
    }
}

fn wants(options: &LogsOptions, entry: &LogEntry) -> bool {
    let stream = if entry.stderr { options.stderr } else { options.stdout };
    stream
        && options.since.is_none_or(|since| entry.time >= since)
        && options.until.is_none_or(|until| entry.time <= until)
}

/// A line of docker's json-file format.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: Cow<'a, str>,
    time: Cow<'a, str>,
}

fn parse(line: &[u8]) -> Option<LogEntry> {
    // Zeros before the text are what a crash leaves of a write; the text after them is whole.
    let start = line.iter().position(|&byte| byte != 0)?;
    let parsed: JsonLine<'_> = serde_json::from_slice(&line[start..]).ok()?;
    let time: Timestamp = parsed.time.parse().ok()?;
    Some(LogEntry {
        time,
        stderr: parsed.stream == "stderr",
        line: parsed.log.into_owned().into_bytes(),
        details: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(content: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, content).unwrap();
        let options = LogsOptions { stdout: true, stderr: true, ..LogsOptions::default() };
        let mut lines = Vec::new();
        scan(&options, &path, 0, &mut |entry| {
            lines.push(String::from_utf8(entry.line).unwrap());
            true
        });
        lines
    }

    #[test]
    fn damage_hides_nothing_after_it() {
        let good = |text: &str| {
            format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n")
        };
        let mut content = good("one").into_bytes();
        content.extend([0; 4096]);
        content.extend(good("two").bytes());
        content.extend(b"{\"log\":\"half");
        content.extend(b"\n");
        content.extend(good("three").bytes());
        content.extend(b"{\"log\":\"unfinished");
        assert_eq!(entries(&content), ["one\n", "two\n", "three\n"]);
    }
}
