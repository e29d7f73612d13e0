//! Docker's `json-file` format: one JSON object per line of output.
//!
//! Pieces of a long line are entries without a final newline. The text is escaped as docker's own
//! encoder does, so that readers see the same bytes.

use super::file::LogFile;
use super::{BATCH_LENGTH, Driver, Piece, Stream};
use crate::LogFilePlan;
use crate::error::SetupError;
use mica_model::Timestamp;

/// The driver.
#[derive(Debug)]
pub(super) struct JsonFile {
    file: LogFile,
    /// `,"attrs":{…}`, or nothing.
    attributes: String,
    batch: Vec<u8>,
    /// What follows the text of the entries of one stream and time.
    tail: String,
    tail_of: Option<(Stream, Timestamp)>,
}

impl JsonFile {
    pub(super) fn open(file: &LogFilePlan, attributes: &str) -> Result<Self, SetupError> {
        let attributes = match attributes {
            "" => String::new(),
            object => format!(",\"attrs\":{object}"),
        };
        let file = LogFile::open(file)?;
        Ok(Self { file, attributes, batch: Vec::new(), tail: String::new(), tail_of: None })
    }
}

impl Driver for JsonFile {
    fn add(&mut self, piece: &Piece<'_>) {
        if self.tail_of != Some((piece.stream, piece.time)) {
            self.tail_of = Some((piece.stream, piece.time));
            let (stream, attributes, time) = (piece.stream.name(), &self.attributes, piece.time);
            self.tail = format!("\",\"stream\":\"{stream}\"{attributes},\"time\":\"{time}\"}}\n");
        }
        self.batch.extend_from_slice(b"{\"log\":\"");
        escape(piece.text, &mut self.batch);
        if piece.is_complete {
            self.batch.extend_from_slice(b"\\n");
        }
        self.batch.extend_from_slice(self.tail.as_bytes());
        if self.batch.len() >= BATCH_LENGTH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.file.append(&self.batch);
            self.batch.clear();
        }
    }

    fn rest(&mut self) {
        self.batch = Vec::new();
        self.file.rest();
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

/// Eight times the same byte.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether one of eight bytes cannot stand for itself.
const fn has_special(word: u64) -> bool {
    // The highest bit of the first byte that is less, or zero, or equal; those after it may be wrong.
    const fn less(word: u64, byte: u8) -> u64 {
        word.wrapping_sub(eight(byte)) & !word
    }
    const fn equal(word: u64, byte: u8) -> u64 {
        less(word ^ eight(byte), 1)
    }
    // `<` and `>` differ in one bit.
    let brackets = equal(word | eight(b'<' ^ b'>'), b'>');
    let signs = equal(word, b'&') | equal(word, b'"') | equal(word, b'\\');
    (word | less(word, 0x20) | brackets | signs) & eight(0x80) != 0
}

/// How many bytes at the beginning stand for themselves.
fn plain_length(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        if has_special(u64::from_le_bytes(*word)) {
            break;
        }
        rest = after;
    }
    let found = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]);
    text.len() - rest.len() + found.unwrap_or(rest.len())
}

/// Escapes as docker's log encoder: HTML characters and the two Unicode line ends too, and each
/// byte that is no UTF-8 as the replacement character.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    loop {
        let plain = plain_length(rest);
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

    #[test]
    fn what_stands_for_itself_ends_where_something_special_begins() {
        for length in 0..70 {
            let text = vec![b'a'; length];
            assert_eq!(plain_length(&text), length);
            for place in 0..length {
                for special in *b"\"\\<>&\n\x00\x1f\x80\xff" {
                    let mut text = text.clone();
                    text[place] = special;
                    assert_eq!(plain_length(&text), place, "{special} at {place} of {length}");
                }
            }
        }
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([b'a', b'a', byte, b'a', b'a', b'a', b'a', b'a']);
            assert_eq!(has_special(word), SPECIAL[usize::from(byte)], "{byte}");
        }
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
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file =
            LogFilePlan { path: path.clone(), max_size_bytes: None, max_file_count: 1, compress: false };
        let mut driver = JsonFile::open(&file, r#"{"colour":"blue"}"#).unwrap();
        let time = Timestamp::from_nanoseconds(1_500_000_000_120_000_000);
        driver.add(&Piece { stream: Stream::Error, time, text: b"one", is_complete: true, part: None });
        driver.flush();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            concat!(
                r#"{"log":"one\n","stream":"stderr","attrs":{"colour":"blue"},"#,
                r#""time":"2017-07-14T02:40:00.12Z"}"#,
                "\n"
            )
        );
    }
}
