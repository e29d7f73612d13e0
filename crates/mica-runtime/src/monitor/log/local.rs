//! Docker's `local` format: binary entries, each with its length before and after it, so that it
//! can be read from either end.
//!
//! An entry is a protocol-buffers message: 1 the stream's name, 2 the time in nanoseconds, 3 the
//! text without its line end, 4 whether that end is still to come, 5 which piece of a line it is
//! (1 last, 2 id, 3 ordinal). The lengths are four bytes, big-endian.

use super::file::LogFile;
use super::{BATCH_LENGTH, Driver, Part, Piece};
use crate::LogFilePlan;
use crate::error::SetupError;

/// The driver.
#[derive(Debug)]
pub(super) struct Local {
    file: LogFile,
    batch: Vec<u8>,
}

impl Local {
    pub(super) fn open(file: &LogFilePlan) -> Result<Self, SetupError> {
        Ok(Self { file: LogFile::open(file)?, batch: Vec::new() })
    }
}

impl Driver for Local {
    fn add(&mut self, piece: &Piece<'_>) {
        let start = self.batch.len();
        self.batch.extend_from_slice(&[0; LENGTH_OF_LENGTH]);
        encode(piece, &mut self.batch);
        let length = self.batch.len() - start - LENGTH_OF_LENGTH;
        // A piece is 16 KiB at the most, so its entry is never longer than four bytes can say.
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.batch[start..start + LENGTH_OF_LENGTH].copy_from_slice(&length);
        self.batch.extend_from_slice(&length);
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

/// Length of the length before and after each entry.
const LENGTH_OF_LENGTH: usize = 4;

/// Kinds of protocol-buffers fields.
const VARINT: u8 = 0;
const BYTES: u8 = 2;

fn encode(piece: &Piece<'_>, out: &mut Vec<u8>) {
    bytes_field(1, piece.stream.name().as_bytes(), out);
    number_field(2, piece.time.nanoseconds().cast_unsigned(), out);
    bytes_field(3, piece.text, out);
    if !piece.is_complete {
        number_field(4, 1, out);
    }
    if let Some(part) = &piece.part {
        let mut nested = Vec::with_capacity(80);
        encode_part(part, &mut nested);
        bytes_field(5, &nested, out);
    }
}

fn encode_part(part: &Part<'_>, out: &mut Vec<u8>) {
    if part.is_last {
        number_field(1, 1, out);
    }
    bytes_field(2, part.id.as_bytes(), out);
    number_field(3, u64::from(part.ordinal), out);
}

fn bytes_field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | BYTES);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn number_field(number: u8, value: u64, out: &mut Vec<u8>) {
    out.push(number << 3 | VARINT);
    varint(value, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;
    use mica_model::Timestamp;

    #[test]
    fn an_entry_has_its_length_at_both_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let plan =
            LogFilePlan { path: path.clone(), max_size_bytes: None, max_file_count: 1, compress: false };
        let mut driver = Local::open(&plan).unwrap();
        let time = Timestamp::from_nanoseconds(300);
        driver.add(&Piece { stream: Stream::Output, time, text: b"hi", is_complete: true, part: None });
        driver.flush();
        let message = b"\x0a\x06stdout\x10\xac\x02\x1a\x02hi";
        let length = (message.len() as u32).to_be_bytes();
        assert_eq!(std::fs::read(path).unwrap(), [&length, message.as_slice(), &length].concat());
    }
}
