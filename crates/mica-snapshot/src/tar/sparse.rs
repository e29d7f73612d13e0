//! Maps of sparse files, which must be believed only as far as they fit the sizes.

use super::header::Header;
use super::{BLOCK, SparseMap, TarError};

/// The most pieces of one file. GNU tar's own files rarely have more than some hundred.
pub(crate) const MOST_PIECES: usize = 1 << 18;

/// The largest file a map may claim: more than ext4 can hold, and far from what loops over the
/// size would not survive.
const LARGEST_FILE: u64 = 1 << 44;

/// Pairs numbers up and checks them against the file's size and the stored bytes.
///
/// # Errors
/// `Sparse` if pieces overlap, go backward, leave the file or do not add up.
pub(crate) fn checked(
    numbers: &[u64],
    real_size: u64,
    stored: u64,
    offset: u64,
) -> Result<SparseMap, TarError> {
    let error = |problem| TarError::Sparse { offset, problem };
    if real_size > LARGEST_FILE {
        return Err(error("the file would be too large"));
    }
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MOST_PIECES {
        return Err(error("the map has a wrong number of values"));
    }
    let (mut end, mut sum) = (0u64, 0u64);
    let mut pieces = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks_exact(2) {
        let (start, length) = (pair[0], pair[1]);
        if start < end {
            return Err(error("pieces overlap"));
        }
        end = start
            .checked_add(length)
            .filter(|end| *end <= real_size)
            .ok_or_else(|| error("a piece leaves the file"))?;
        sum += length;
        if length > 0 {
            pieces.push((start, length));
        }
    }
    if sum != stored {
        return Err(error("pieces do not add up to the stored size"));
    }
    Ok(SparseMap { real_size, pieces })
}

/// Takes the pairs of an old GNU header or of one of its continuation blocks; answers whether a
/// continuation follows.
pub(crate) fn old_gnu_pairs(
    header: Header<'_>,
    layout: OldGnu,
    numbers: &mut Vec<u64>,
) -> Result<bool, TarError> {
    let (start, count, flag) = match layout {
        OldGnu::Header => (386, 4, 482),
        OldGnu::Continuation => (0, 21, 504),
    };
    for index in 0..count {
        let at = start + index * 24;
        // An empty field ends the list.
        if header.block[at] == 0 || header.block[at + 12] == 0 {
            break;
        }
        numbers.push(header.natural(at, 12, "sparse offset")?);
        numbers.push(header.natural(at + 12, 12, "sparse length")?);
    }
    if numbers.len() / 2 > MOST_PIECES {
        return Err(TarError::Sparse { offset: header.offset, problem: "the map has too many pieces" });
    }
    Ok(header.block[flag] != 0)
}

/// Which of the two layouts a block with old GNU sparse pairs has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OldGnu {
    /// The entry's own header: four pairs.
    Header,
    /// A block after it: 21 pairs.
    Continuation,
}

/// Reads the map that precedes the data in version 1.0: a count, then that many pairs, one number
/// per line, filled up to a block. It asks for blocks until it has all.
#[derive(Debug, Default)]
pub(crate) struct MapText {
    expected: Option<u64>,
    line: Vec<u8>,
    /// The pairs so far.
    pub(crate) numbers: Vec<u64>,
}

impl MapText {
    /// Takes one block; answers whether the map is complete.
    pub(crate) fn take(&mut self, block: &[u8; BLOCK], offset: u64) -> Result<bool, TarError> {
        let error = |problem| TarError::Sparse { offset, problem };
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err(error("a number in the map is too long"));
                }
                continue;
            }
            let number = super::pax::decimal(&self.line)
                .ok_or_else(|| error("the map has a value that is no number"))?;
            self.line.clear();
            match self.expected {
                None if number > MOST_PIECES as u64 => return Err(error("the map has too many pieces")),
                None => self.expected = Some(number * 2),
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_17_a_map_of_a_million_million_pieces_is_refused_at_once() {
        let mut block = [0; BLOCK];
        block[..14].copy_from_slice(b"1000000000000\n");
        assert!(MapText::default().take(&block, 0).is_err());
        block[..14].copy_from_slice(b"1\n0\n5\n        ");
        let mut map = MapText::default();
        assert!(map.take(&block, 0).unwrap());
        assert_eq!(map.numbers, [0, 5]);
    }

    #[test]
    fn tar_18_contradictions_are_refused() {
        assert!(checked(&[0, 5, 10, 5], 20, 10, 0).is_ok());
        for (numbers, real_size, stored) in [
            (&[0, 5][..], u64::MAX >> 1, 5),
            (&[0, 5, 4, 5], 20, 10),
            (&[0, 5], 4, 5),
            (&[u64::MAX, 5], 20, 5),
            (&[0, 5], 20, 6),
            (&[0], 20, 0),
        ] {
            assert!(checked(numbers, real_size, stored, 0).is_err(), "{numbers:?}");
        }
    }
}
