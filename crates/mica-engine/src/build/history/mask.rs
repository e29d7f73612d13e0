//! Keeps secrets out of logs that are kept: what a command prints of them is replaced.

/// Shorter secrets would be found everywhere.
const LENGTH_MIN: usize = 4;

/// What stands in a secret's place.
const MASK: &[u8] = b"***";

/// The secrets of a build.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// What must not be kept, the longest first.
    words: Vec<Vec<u8>>,
}

impl Mask {
    /// Of secrets, whole and line by line: commands print them in both ways.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let lines = secret.split(|byte| *byte == b'\n');
            words.extend(std::iter::once(secret).chain(lines).map(|word| word.trim_ascii().to_vec()));
        }
        words.retain(|word| word.len() >= LENGTH_MIN);
        words.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        words.dedup();
        Self { words }
    }

    /// The bytes at the end that may be the beginning of a secret: they wait for what follows.
    pub(super) fn unsure(&self, bytes: &[u8]) -> usize {
        let longest = self.words.first().map_or(0, |word| word.len() - 1).min(bytes.len());
        let is_beginning =
            |length: &usize| self.words.iter().any(|word| word.starts_with(&bytes[bytes.len() - length..]));
        (1..=longest).rev().find(is_beginning).unwrap_or(0)
    }

    /// The bytes without secrets.
    pub(super) fn cover(&self, bytes: &[u8]) -> Vec<u8> {
        let mut covered = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            match self.words.iter().find(|word| rest.starts_with(word)) {
                Some(word) => {
                    covered.extend(MASK);
                    rest = &rest[word.len()..];
                }
                None => {
                    covered.push(*first);
                    rest = after;
                }
            }
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask() -> Mask {
        Mask::new([&b"hunter2-hunter3\n"[..], b"abc", b"first line\nsecond line\n"].into_iter())
    }

    #[test]
    fn secrets_are_covered_whole_and_by_lines() {
        let covered = mask().cover(b"a hunter2-hunter3 b first line\nsecond line, second line abc");
        assert_eq!(String::from_utf8(covered).unwrap(), "a *** b ***, *** abc");
        assert_eq!(mask().unsure(b"see hunter2-"), 8);
        assert_eq!(mask().unsure(b"see"), 0);
        assert_eq!(Mask::default().cover(b"x"), b"x");
    }

    proptest! {
        #[test]
        fn no_way_of_cutting_shows_a_secret(cuts in prop::collection::vec(1..6usize, 1..20)) {
            let mask = mask();
            let text = b"x hunthunter2-hunter3hunter2-hunter3 y".to_vec();
            let (mut kept, mut waiting, mut rest) = (Vec::new(), Vec::new(), text.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                waiting.extend_from_slice(piece);
                rest = after;
                let sure = waiting.len() - mask.unsure(&waiting);
                kept.extend(mask.cover(&waiting.drain(..sure).collect::<Vec<_>>()));
            }
            kept.extend(mask.cover(&waiting));
            prop_assert_eq!(String::from_utf8(kept).unwrap(), "x hunt****** y");
        }
    }
}
