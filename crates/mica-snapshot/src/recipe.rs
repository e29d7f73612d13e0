//! How to write the archive of a layer again from the files that were unpacked from it.
//!
//! A recipe is a zstd stream (level 1) of records, numbers little endian:
//!
//! ```text
//! "MICARCP1"
//! 0  length u32  bytes                             bytes of the archive as they are
//! 1  length u16  path  offset u64  length u64      a piece of the file at path in diff/
//! 2  total u64                                     end: how long the archive is
//! ```
//!
//! An archive may have two files of one name; then the first is kept beside the tree, and
//! [`Displaced`] (in the layer's record) says which references mean it.

use crate::tar::reader::Tap;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"MICARCP1";
/// Literal bytes gathered before a record is written; also the most that a reader believes.
const LONGEST_LITERAL: usize = 64 << 10;

/// A file or directory that a later entry of the same archive replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Displaced {
    /// Where it was, relative to the tree.
    pub(crate) path: Vec<u8>,
    /// References with a lower number than this mean the old file.
    pub(crate) before: u64,
    /// Its name among the displaced files.
    pub(crate) name: String,
}

/// Writes a recipe.
pub(crate) struct RecipeWriter<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    literal: Vec<u8>,
    total: u64,
    references: u64,
}

impl<W: Write> RecipeWriter<W> {
    /// Starts a recipe in `out`.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        let mut out = zstd::stream::write::Encoder::new(out, 1)?;
        out.write_all(MAGIC)?;
        Ok(Self { out, literal: Vec::with_capacity(LONGEST_LITERAL), total: 0, references: 0 })
    }

    /// Writes the end; answers the sink and the length of the archive.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.flush_literal()?;
        self.out.write_all(&[2])?;
        self.out.write_all(&self.total.to_le_bytes())?;
        Ok((self.out.finish()?, self.total))
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if self.literal.is_empty() {
            return Ok(());
        }
        self.out.write_all(&[0])?;
        #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST_LITERAL")]
        self.out.write_all(&(self.literal.len() as u32).to_le_bytes())?;
        self.out.write_all(&self.literal)?;
        self.literal.clear();
        Ok(())
    }
}

impl<W: Write> Tap for RecipeWriter<W> {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(LONGEST_LITERAL) {
            if self.literal.len() + piece.len() > LONGEST_LITERAL {
                self.flush_literal()?;
            }
            self.literal.extend_from_slice(piece);
        }
        self.total += bytes.len() as u64;
        Ok(())
    }

    fn piece(&mut self, path: &[u8], offset: u64, length: u64) -> io::Result<()> {
        self.flush_literal()?;
        let path_length = u16::try_from(path.len()).map_err(|_| io::ErrorKind::InvalidFilename)?;
        self.out.write_all(&[1])?;
        self.out.write_all(&path_length.to_le_bytes())?;
        self.out.write_all(path)?;
        self.out.write_all(&offset.to_le_bytes())?;
        self.out.write_all(&length.to_le_bytes())?;
        self.total += length;
        self.references += 1;
        Ok(())
    }

    fn pieces(&self) -> u64 {
        self.references
    }
}

/// One step of writing an archive again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These bytes.
    Literal(Vec<u8>),
    /// A piece of a file.
    Reference {
        /// The how-manieth reference this is.
        number: u64,
        /// Path in the tree.
        path: Vec<u8>,
        /// Where the piece begins.
        offset: u64,
        /// Its length.
        length: u64,
    },
}

/// Reads a recipe.
pub(crate) struct RecipeReader<R: Read> {
    input: zstd::stream::read::Decoder<'static, io::BufReader<R>>,
    references: u64,
}

impl<R: Read> RecipeReader<R> {
    /// Opens a recipe.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = zstd::stream::read::Decoder::new(input)?;
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { input, references: 0 })
    }

    /// The next step, `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step>> {
        match u8::from_le_bytes(self.array()?) {
            0 => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                if length > LONGEST_LITERAL {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(Some(Step::Literal(self.bytes(length)?)))
            }
            1 => {
                let length = usize::from(u16::from_le_bytes(self.array()?));
                let path = self.bytes(length)?;
                let (offset, length) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
                self.references += 1;
                Ok(Some(Step::Reference { number: self.references - 1, path, offset, length }))
            }
            2 => Ok(None),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.input.read_exact(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut writer = RecipeWriter::new(Vec::new()).unwrap();
        writer.literal(b"head").unwrap();
        writer.piece(b"a/b", 3, 70_000).unwrap();
        writer.literal(&[7; 100_000]).unwrap();
        let (bytes, total) = writer.finish().unwrap();
        assert_eq!(total, 170_004);
        let mut reader = RecipeReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.step().unwrap(), Some(Step::Literal(b"head".to_vec())));
        let reference = Step::Reference { number: 0, path: b"a/b".to_vec(), offset: 3, length: 70_000 };
        assert_eq!(reader.step().unwrap(), Some(reference));
        let mut literal = Vec::new();
        while let Some(Step::Literal(bytes)) = reader.step().unwrap() {
            literal.extend(bytes);
        }
        assert_eq!(literal, vec![7; 100_000]);
        assert!(
            RecipeReader::new(&bytes[..20])
                .and_then(|mut r| {
                    while r.step()?.is_some() {}
                    Ok(())
                })
                .is_err()
        );
    }
}
