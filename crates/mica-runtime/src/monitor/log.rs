//! Docker's `json-file` log: one JSON object per line of output.
//!
//! Lines longer than 16 KiB are cut into entries without a final newline. The text is escaped as
//! docker's own encoder does, so that readers see the same bytes. A log that cannot be written
//! (full disk) never holds the container up: what does not fit is left out, whole entries only.

use crate::LogPlan;
use crate::error::{SetupError, SetupStep};
use mica_model::Timestamp;
use mica_model::frame::FrameKind;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fmt::Write;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Longest piece of a line in one entry (docker's copier).
const PIECE_LENGTH_MAX: usize = 16 << 10;

/// Entries are written together up to about this many bytes.
const BATCH_LENGTH: usize = 64 << 10;

/// A log being written.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<LogFile>,
    batch: Vec<u8>,
    /// Beginnings of lines whose ends have not come yet, of output and of errors.
    partial: [Vec<u8>; 2],
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    descriptor: OwnedFd,
    length: u64,
    max_size_bytes: Option<u64>,
    max_file_count: u32,
}

impl Log {
    pub(super) fn open(plan: &LogPlan) -> Result<Self, SetupError> {
        let file = match plan {
            LogPlan::None => None,
            LogPlan::JsonFile { path, max_size_bytes, max_file_count } => {
                let failed = |errno| SetupError::new(SetupStep::Log, path.display().to_string(), errno);
                let descriptor = open_file(path).map_err(failed)?;
                let length = rustix::fs::fstat(&descriptor).map_err(failed)?.st_size;
                Some(LogFile {
                    path: path.clone(),
                    descriptor,
                    length: u64::try_from(length).unwrap_or(0),
                    max_size_bytes: *max_size_bytes,
                    max_file_count: (*max_file_count).max(1),
                })
            }
        };
        Ok(Self { file, batch: Vec::new(), partial: [Vec::new(), Vec::new()] })
    }

    /// Records output; all of it gets the same time.
    pub(super) fn record(&mut self, kind: FrameKind, bytes: &[u8], time: Timestamp) {
        if self.file.is_none() {
            return;
        }
        let stream = Stream::of(kind);
        let tail = stream.tail(time);
        let mut partial = std::mem::take(&mut self.partial[stream.index()]);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            if partial.is_empty() && line.len() <= PIECE_LENGTH_MAX {
                self.entry(line, true, &tail);
            } else {
                self.line(&mut partial, line, &tail);
                self.entry(&partial, true, &tail);
                partial.clear();
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.line(&mut partial, rest, &tail);
        self.partial[stream.index()] = partial;
        self.write_batch();
    }

    /// Adds to the line begun, writing full pieces of it.
    fn line(&mut self, partial: &mut Vec<u8>, text: &[u8], tail: &str) {
        let mut rest = text;
        while partial.len() + rest.len() > PIECE_LENGTH_MAX {
            let (taken, after) = rest.split_at(PIECE_LENGTH_MAX - partial.len());
            partial.extend_from_slice(taken);
            self.entry(partial, false, tail);
            partial.clear();
            rest = after;
        }
        partial.extend_from_slice(rest);
    }

    /// Records what was begun and will not be ended.
    pub(super) fn finish(&mut self, time: Timestamp) {
        for stream in [Stream::Output, Stream::Error] {
            let partial = std::mem::take(&mut self.partial[stream.index()]);
            if !partial.is_empty() && self.file.is_some() {
                self.entry(&partial, false, &stream.tail(time));
            }
        }
        self.write_batch();
    }

    /// Gives memory back.
    pub(super) fn rest(&mut self) {
        self.batch = Vec::new();
        self.partial.iter_mut().for_each(Vec::shrink_to_fit);
    }

    fn entry(&mut self, text: &[u8], is_complete: bool, tail: &str) {
        self.batch.extend_from_slice(b"{\"log\":\"");
        escape(text, &mut self.batch);
        if is_complete {
            self.batch.extend_from_slice(b"\\n");
        }
        self.batch.extend_from_slice(tail.as_bytes());
        if self.batch.len() >= BATCH_LENGTH {
            self.write_batch();
        }
    }

    fn write_batch(&mut self) {
        if let Some(file) = &mut self.file
            && !self.batch.is_empty()
        {
            file.append(&self.batch);
        }
        self.batch.clear();
    }
}

fn open_file(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o640))
}

impl LogFile {
    fn append(&mut self, batch: &[u8]) {
        if self.max_size_bytes.is_some_and(|most| self.length >= most) {
            self.rotate();
        }
        let mut rest = batch;
        while !rest.is_empty() {
            match rustix::io::write(&self.descriptor, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Half an entry would make every later one unreadable.
                    let _ = rustix::fs::ftruncate(&self.descriptor, self.length);
                    return;
                }
            }
        }
        self.length += batch.len() as u64;
    }

    /// `log.1` becomes `log.2` and so on; the oldest goes.
    fn rotate(&mut self) {
        let numbered = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        for number in (1..self.max_file_count.saturating_sub(1)).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        let moved = match self.max_file_count {
            1 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, numbered(1)),
        };
        if moved.is_ok()
            && let Ok(descriptor) = open_file(&self.path)
        {
            (self.descriptor, self.length) = (descriptor, 0);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    fn of(kind: FrameKind) -> Self {
        if kind == FrameKind::Stderr { Self::Error } else { Self::Output }
    }

    fn index(self) -> usize {
        match self {
            Self::Output => 0,
            Self::Error => 1,
        }
    }

    /// What follows the text of each entry.
    fn tail(self, time: Timestamp) -> String {
        let name = match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        };
        let mut tail = String::new();
        let _ = writeln!(tail, "\",\"stream\":\"{name}\",\"time\":\"{time}\"}}");
        tail
    }
}

/// Bytes that cannot stand for themselves.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte >= 0x80;
        byte += 1;
    }
    let mut index = 0;
    let others = b"\"\\<>&";
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

/// Escapes as docker's log encoder: HTML characters and the two Unicode line ends too, and each
/// byte that is no UTF-8 as the replacement character.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    loop {
        let plain = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some(&byte) = rest.first() else { return };
        let mut length = 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x80 => {
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            _ => length = escape_wide(rest, out),
        }
        rest = &rest[length..];
    }
}

/// Escapes the character that `text` begins with; gives its length.
fn escape_wide(text: &[u8], out: &mut Vec<u8>) -> usize {
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        None => {
            out.extend_from_slice(b"\\ufffd");
            1
        }
        Some('\u{2028}') => {
            out.extend_from_slice(b"\\u2028");
            3
        }
        Some('\u{2029}') => {
            out.extend_from_slice(b"\\u2029");
            3
        }
        Some(character) => {
            out.extend_from_slice(&text[..character.len_utf8()]);
            character.len_utf8()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn logged(max_size_bytes: Option<u64>, max_file_count: u32, pieces: &[&[u8]]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::open(&LogPlan::JsonFile { path, max_size_bytes, max_file_count }).unwrap();
        let time = Timestamp::from_nanoseconds(1_500_000_000_120_000_000);
        for piece in pieces {
            log.record(FrameKind::Stdout, piece, time);
        }
        log.finish(time);
        directory
    }

    fn texts(directory: &tempfile::TempDir, name: &str) -> Vec<String> {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        entries.map(|entry| entry["log"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn escapes_are_those_of_docker() {
        assert_eq!(
            escaped(b"a\"b\\c<d>&\t\r\n\0\x7f"),
            "a\\\"b\\\\c\\u003cd\\u003e\\u0026\\u0009\\r\\n\\u0000\x7f"
        );
        assert_eq!(escaped("é\u{2028}😀".as_bytes()), "é\\u2028😀");
        assert_eq!(escaped(b"\xff\xc3"), "\\ufffd\\ufffd");
        assert_eq!(escaped(b"\xe2\x82"), "\\ufffd\\ufffd");
    }

    #[test]
    fn entries_look_like_those_of_docker() {
        let directory = logged(None, 1, &[b"one\ntw", b"o\nrest"]);
        let text = fs::read_to_string(directory.path().join("log")).unwrap();
        assert_eq!(
            text.lines().next(),
            Some(r#"{"log":"one\n","stream":"stdout","time":"2017-07-14T02:40:00.12Z"}"#)
        );
        assert_eq!(texts(&directory, "log"), ["one\n", "two\n", "rest"]);
    }

    #[test]
    fn long_lines_are_cut_where_docker_cuts_them() {
        for length in [16383, 16384, 16385, 65535, 65536, 1 << 20] {
            let mut line = vec![b'x'; length];
            line.push(b'\n');
            let pieces: Vec<&[u8]> = line.chunks(50_000).collect();
            let texts = texts(&logged(None, 1, &pieces), "log");
            assert_eq!(texts.len(), length.div_ceil(PIECE_LENGTH_MAX), "{length}");
            assert!(texts.iter().rev().skip(1).all(|text| text.len() == PIECE_LENGTH_MAX));
            assert_eq!(texts.concat().len(), length + 1);
        }
    }

    #[test]
    fn a_full_file_makes_room_for_the_next() {
        let lines: Vec<&[u8]> = vec![b"1\n", b"2\n", b"3\n", b"4\n"];
        let directory = logged(Some(10), 3, &lines);
        assert_eq!(texts(&directory, "log"), ["4\n"]);
        assert_eq!(texts(&directory, "log.1"), ["3\n"]);
        assert_eq!(texts(&directory, "log.2"), ["2\n"]);
        assert!(!directory.path().join("log.3").exists());
    }
}
