//! What every format of logs must bear: damage, rotation, long lines, tails.

use super::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

const FORMATS: [Readable; 2] = [Readable::JsonFile, Readable::Local];

/// One entry as a monitor writes it; a text without its end is a piece.
fn encoded(format: Readable, text: &str, seconds: i64) -> Vec<u8> {
    let time = Timestamp::from_seconds(seconds);
    match format {
        Readable::JsonFile => {
            let log = serde_json::to_string(text).unwrap();
            format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"{time}\"}}\n").into_bytes()
        }
        Readable::Local => {
            let varint = |mut value: u64| {
                let mut bytes = Vec::new();
                while value >= 0x80 {
                    bytes.push(value as u8 | 0x80);
                    value >>= 7;
                }
                bytes.push(value as u8);
                bytes
            };
            let line = text.trim_end_matches('\n');
            let mut entry = b"\x0a\x06stdout\x10".to_vec();
            entry.extend(varint(time.nanoseconds().cast_unsigned()));
            entry.push(0x1a);
            entry.extend(varint(line.len() as u64));
            entry.extend(line.bytes());
            if !text.ends_with('\n') {
                entry.extend([0x20, 1]);
            }
            let length = (entry.len() as u32).to_be_bytes();
            [&length, entry.as_slice(), &length].concat()
        }
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    format: Readable,
}

impl Fixture {
    fn new(format: Readable) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), format }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn numbered(&self, number: u32, ending: &str) -> PathBuf {
        self.directory.path().join(format!("log.{number}{ending}"))
    }

    fn append(&self, path: &Path, bytes: &[u8]) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    fn say(&self, text: &str) {
        self.append(&self.path(), &encoded(self.format, text, 1));
    }

    fn rotate(&self) {
        for number in (1..9).rev() {
            for ending in ["", ".gz"] {
                let _ = fs::rename(self.numbered(number, ending), self.numbered(number + 1, ending));
            }
        }
        fs::rename(self.path(), self.numbered(1, "")).unwrap();
        fs::write(self.path(), "").unwrap();
    }

    /// As the monitor's compressor does.
    fn compress(&self, number: u32) {
        let plain = self.numbered(number, "");
        let identity = mica_runtime::log_file_identity(&fs::File::open(&plain).unwrap()).unwrap();
        let target = fs::File::create(self.numbered(number, ".gz")).unwrap();
        let mut encoder =
            flate2::GzBuilder::new().comment(identity).write(target, flate2::Compression::fast());
        encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(plain).unwrap();
    }

    fn reader<'a>(&self, options: &'a LogsOptions) -> Reader<'a> {
        Reader::new(options, LogFiles::new(self.path()), decoder(self.format))
    }

    fn all(&self, tail: Option<u64>) -> Vec<String> {
        let options = LogsOptions { tail, ..both() };
        let mut lines = Vec::new();
        past(&mut self.reader(&options), &mut lines);
        lines
    }
}

fn both() -> LogsOptions {
    LogsOptions { stdout: true, stderr: true, ..LogsOptions::default() }
}

/// Lets `work` read, and collects what it hands on.
fn collect(work: impl FnOnce(&mut Batches<'_>)) -> Vec<LogEntry> {
    let mut all = Vec::new();
    let mut sink = |entries: Vec<LogEntry>| {
        all.extend(entries);
        true
    };
    let mut batches = Batches { sink: &mut sink, entries: Vec::new(), length: 0, is_wanted: true };
    work(&mut batches);
    assert!(batches.entries.is_empty(), "something waits for nothing");
    all
}

fn past(reader: &mut Reader<'_>, lines: &mut Vec<String>) {
    lines.extend(texts(collect(|batches| reader.read_past(batches))));
}

fn on(reader: &mut Reader<'_>, lines: &mut Vec<String>) {
    lines.extend(texts(collect(|batches| reader.read_on(batches))));
}

fn texts(entries: Vec<LogEntry>) -> impl Iterator<Item = String> {
    entries.into_iter().map(|entry| String::from_utf8(entry.line).unwrap())
}

#[test]
fn damage_hides_nothing_after_it() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let path = fixture.path();
        fixture.say("one\n");
        fixture.append(&path, &[0; 4096]);
        fixture.say("two\n");
        let torn = encoded(format, "half\n", 1);
        fixture.append(&path, &torn[..torn.len() / 2]);
        if format == Readable::JsonFile {
            fixture.append(&path, b"\n");
        }
        fixture.say("three\n");
        fixture.append(&path, &torn[..torn.len() / 2]);
        assert_eq!(fixture.all(None), ["one\n", "two\n", "three\n"], "{format:?}");
    }
}

#[test]
fn an_entry_that_is_still_being_written_is_read_when_it_is_whole() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let entry = encoded(format, "slow\n", 1);
        let options = both();
        let mut reader = fixture.reader(&options);
        let mut lines = Vec::new();
        fixture.append(&fixture.path(), &entry[..5]);
        past(&mut reader, &mut lines);
        for piece in entry[5..].chunks(3) {
            fixture.append(&fixture.path(), piece);
            on(&mut reader, &mut lines);
        }
        assert_eq!(lines, ["slow\n"], "{format:?}");
    }
}

#[test]
fn a_tail_counts_lines_and_not_their_pieces() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let piece = "x".repeat(PIECE_LENGTH_MAX);
        for text in ["one\n", &piece, &piece, "end\n", "three\n", "four"] {
            fixture.say(text);
        }
        assert_eq!(fixture.all(Some(0)).len(), 0);
        assert_eq!(fixture.all(Some(1)), ["four"]);
        assert_eq!(fixture.all(Some(2)), ["three\n", "four"]);
        assert_eq!(fixture.all(Some(3)).concat(), format!("{piece}{piece}end\nthree\nfour"));
        assert_eq!(fixture.all(Some(9)).len(), 6);
    }
}

#[test]
fn pieces_of_a_line_are_known_as_such() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let piece = "x".repeat(PIECE_LENGTH_MAX);
        for text in [&piece, "end\n", "unfinished", "next\n"] {
            fixture.say(text);
        }
        let options = both();
        let entries = collect(|batches| fixture.reader(&options).read_past(batches));
        let continued: Vec<bool> = entries.iter().map(|entry| entry.continues).collect();
        assert_eq!(continued, [false, true, false, false], "{format:?}");
    }
}

#[test]
fn older_files_are_read_first_compressed_or_not() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        for text in ["one\n", "two\n", "three\n"] {
            fixture.say(text);
            fixture.rotate();
        }
        fixture.compress(2);
        fixture.compress(3);
        fixture.say("four\n");
        assert_eq!(fixture.all(None), ["one\n", "two\n", "three\n", "four\n"], "{format:?}");
        assert_eq!(fixture.all(Some(2)), ["three\n", "four\n"]);
        // A damaged one does not hide the others.
        let path = fixture.numbered(3, ".gz");
        let content = fs::read(&path).unwrap();
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        assert!(fixture.all(None).ends_with(&[
            "two\n".to_owned(),
            "three\n".to_owned(),
            "four\n".to_owned()
        ]));
    }
}

#[test]
fn a_follower_misses_nothing_when_files_are_turned_over_and_compressed() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let options = both();
        let mut reader = fixture.reader(&options);
        let mut lines = Vec::new();
        fixture.say("1\n");
        past(&mut reader, &mut lines);
        fixture.say("2\n");
        fixture.rotate();
        fixture.compress(1);
        fixture.say("3\n");
        fixture.rotate();
        fixture.compress(1);
        fixture.say("4\n");
        on(&mut reader, &mut lines);
        fixture.say("5\n");
        on(&mut reader, &mut lines);
        on(&mut reader, &mut lines);
        assert_eq!(lines, ["1\n", "2\n", "3\n", "4\n", "5\n"], "{format:?}");
    }
}

#[test]
fn a_file_that_somebody_emptied_is_read_from_its_beginning() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let options = both();
        let mut reader = fixture.reader(&options);
        let mut lines = Vec::new();
        fixture.say("a long line before\n");
        past(&mut reader, &mut lines);
        OpenOptions::new().write(true).open(fixture.path()).unwrap().set_len(0).unwrap();
        on(&mut reader, &mut lines);
        fixture.say("new\n");
        on(&mut reader, &mut lines);
        assert_eq!(lines, ["a long line before\n", "new\n"], "{format:?}");
    }
}

#[test]
fn times_and_streams_are_chosen() {
    let fixture = Fixture::new(Readable::JsonFile);
    for second in 1..5 {
        fixture.append(&fixture.path(), &encoded(fixture.format, &format!("{second}\n"), second));
    }
    let at = |second| Some(Timestamp::from_seconds(second));
    let options = LogsOptions { since: at(2), until: at(3), ..both() };
    let mut lines = Vec::new();
    past(&mut fixture.reader(&options), &mut lines);
    assert_eq!(lines, ["2\n", "3\n"]);
    let options = LogsOptions { stdout: false, ..both() };
    let mut lines = Vec::new();
    past(&mut fixture.reader(&options), &mut lines);
    assert!(lines.is_empty());
}

#[test]
fn the_last_lines_of_a_large_log_are_found_without_reading_it() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        fixture.say("first\n");
        // More than anybody could read: an eighth of an exabyte without a block on the disk.
        OpenOptions::new().write(true).open(fixture.path()).unwrap().set_len(1 << 42).unwrap();
        for number in 0..9000 {
            fixture.say(&format!("line {number}\n"));
        }
        let last = fixture.all(Some(3));
        assert_eq!(last, ["line 8997\n", "line 8998\n", "line 8999\n"], "{format:?}");
        assert_eq!(fixture.all(Some(5000)).len(), 5000);
        assert_eq!(fixture.all(Some(0)).len(), 0);
    }
}

#[test]
fn the_last_lines_are_the_same_wherever_the_reading_begins() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let piece = "x".repeat(PIECE_LENGTH_MAX);
        for number in 0..40 {
            fixture.say(&format!("short {number}\n"));
            (0..number % 7).for_each(|_| fixture.say(&piece));
            fixture.say(&format!("end {number}\n"));
        }
        let whole = fixture.all(None);
        for tail in 0..85 {
            let last = fixture.all(Some(tail));
            assert_eq!(last, whole[whole.len() - last.len()..], "{format:?} {tail}");
            let lines = last.iter().filter(|line| line.ends_with('\n')).count() as u64;
            assert_eq!(lines, tail.min(80), "{format:?} {tail}");
        }
    }
}
