//! Reading docker's `local` format; see the writer in `mica-runtime` for what an entry looks like.

use super::{Decoder, RawEntry, Step, raw};
use mica_model::Timestamp;

/// The longest entry believed, in bytes.
const ENTRY_LENGTH_MAX: usize = 1 << 20;

/// Length of the length before and after each entry.
const LENGTH_OF_LENGTH: usize = 4;

/// The format.
#[derive(Debug)]
pub(super) struct LocalFormat;

impl Decoder for LocalFormat {
    fn rest_of_entry(&self, _: &[u8]) -> Option<usize> {
        // Whatever it is, it is passed over as damage is.
        Some(0)
    }

    fn step(&mut self, bytes: &[u8], is_end: bool) -> Step {
        match frame(bytes) {
            Frame::Entry(length, entry) => return Step::Entry(length, entry),
            Frame::More if !is_end => return Step::More,
            Frame::More | Frame::Damaged => {}
        }
        // An entry is where the next one that is whole begins.
        for start in 1..bytes.len() {
            match frame(&bytes[start..]) {
                Frame::Entry(..) => return Step::Skip(start),
                Frame::More if !is_end => return Step::Skip(start),
                Frame::More | Frame::Damaged => {}
            }
        }
        // The beginning of an entry that is still being written is kept, damage is not.
        if matches!(frame(bytes), Frame::More) || bytes.is_empty() {
            Step::More
        } else {
            Step::Skip(bytes.len())
        }
    }
}

enum Frame {
    Entry(usize, RawEntry),
    More,
    Damaged,
}

fn frame(bytes: &[u8]) -> Frame {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_OF_LENGTH>() else { return Frame::More };
    let size = u32::from_be_bytes(*length) as usize;
    // Zeros are what a crash leaves; every entry begins with the name of its stream.
    if size == 0 || size > ENTRY_LENGTH_MAX || rest.first().is_some_and(|byte| *byte != STREAM) {
        return Frame::Damaged;
    }
    let Some((entry, after)) = rest.split_at_checked(size) else { return Frame::More };
    let Some(again) = after.first_chunk::<LENGTH_OF_LENGTH>() else { return Frame::More };
    match decode(entry) {
        Some(entry) if again == length => Frame::Entry(size + 2 * LENGTH_OF_LENGTH, entry),
        _ => Frame::Damaged,
    }
}

/// Keys of the fields of an entry, and of its part.
const STREAM: u8 = 0x0a;
const TIME: u64 = 0x10;
const TEXT: u64 = 0x1a;
const PARTIAL: u64 = 0x20;
const PART: u64 = 0x2a;
const LAST: u64 = 0x08;

fn decode(mut bytes: &[u8]) -> Option<RawEntry> {
    let (mut stderr, mut time, mut text, mut is_partial, mut is_last) = (false, 0, None, false, false);
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => {
                let value = varint(&mut bytes)?;
                match key {
                    TIME => time = value.cast_signed(),
                    PARTIAL => is_partial = value != 0,
                    _ => {}
                }
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                match key {
                    key if key == u64::from(STREAM) => stderr = value == b"stderr",
                    TEXT => text = Some(value),
                    PART => is_last = value.starts_with(&[LAST as u8, 1]),
                    _ => {}
                }
            }
            _ => return None,
        }
    }
    let mut line = text?.to_vec();
    if !is_partial {
        line.push(b'\n');
    }
    let is_cut = is_partial && !is_last && line.len() >= super::PIECE_LENGTH_MAX;
    Some(raw(Timestamp::from_nanoseconds(time), stderr, line, String::new(), is_cut))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn noise_is_always_got_over(noise in prop::collection::vec(any::<u8>(), 0..300), is_end: bool) {
            let mut rest = noise.as_slice();
            while !rest.is_empty() {
                match LocalFormat.step(rest, is_end) {
                    Step::Entry(length, _) | Step::Skip(length) => {
                        prop_assert!(length > 0 && length <= rest.len());
                        rest = &rest[length..];
                    }
                    Step::More => break,
                }
            }
        }
    }
}
