//! The keys that detach from a container without ending it: `ctrl-p,ctrl-q`.

use std::str::FromStr;

/// A sequence of keys, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// Why a text does not name keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys ({text}): Unknown character: '{key}'")]
pub struct DetachKeysError {
    text: String,
    key: String,
}

impl DetachKeysError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::InvalidArgument
    }
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`.
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = DetachKeysError;

    /// Keys are separated by commas; each is one character or `ctrl-` and one of `@a-z[\]^_`.
    fn from_str(text: &str) -> Result<Self, DetachKeysError> {
        let code = |key: &str| {
            key_code(key).ok_or_else(|| DetachKeysError { text: text.to_owned(), key: key.to_owned() })
        };
        text.split(',').map(code).collect::<Result<_, _>>().map(Self)
    }
}

fn key_code(key: &str) -> Option<u8> {
    match (key, key.strip_prefix("ctrl-").map(str::as_bytes)) {
        ("DEL", _) => Some(0x7f),
        (_, Some(&[letter @ (b'@' | b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')])) => {
            Some(letter & 0x1f)
        }
        _ => key.bytes().next().filter(|_| key.len() == 1),
    }
}

/// Watches input for the keys. A beginning of the sequence is held back until the next byte shows
/// whether it was meant.
#[derive(Debug)]
pub struct DetachMatcher {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachMatcher {
    /// A matcher at the start of the input.
    pub fn new(keys: DetachKeys) -> Self {
        Self { keys: keys.0, matched: 0 }
    }

    /// Appends to `forward` what of `input` belongs to the container. True when the keys are
    /// complete; the rest of the input is then dropped.
    pub fn feed(&mut self, input: &[u8], forward: &mut Vec<u8>) -> bool {
        for &byte in input {
            // On a mismatch the longest end of what was held that is again a beginning stays held.
            while self.matched > 0 && self.keys[self.matched] != byte {
                let shorter = (1..self.matched)
                    .rev()
                    .find(|&n| self.keys[self.matched - n..self.matched] == self.keys[..n]);
                let kept = shorter.unwrap_or(0);
                forward.extend_from_slice(&self.keys[..self.matched - kept]);
                self.matched = kept;
            }
            if self.keys[self.matched] != byte {
                forward.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// What is still held when the input ends.
    pub fn finish(&mut self) -> &[u8] {
        &self.keys[..std::mem::take(&mut self.matched)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(keys: &str, inputs: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut matcher = DetachMatcher::new(keys.parse().unwrap());
        let mut forward = Vec::new();
        let detached = inputs.iter().any(|input| matcher.feed(input, &mut forward));
        if !detached {
            forward.extend_from_slice(matcher.finish());
        }
        (forward, detached)
    }

    #[test]
    fn keys_are_named_as_in_docker() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("a,ctrl-@,ctrl-_,DEL,ctrl-[".parse(), Ok(DetachKeys(vec![b'a', 0, 0x1f, 0x7f, 0x1b])));
        for bad in ["", "ctrl-", "ctrl-A", "ab", "a,", "é", "ctrl-1"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
        let error = "ctrl-!".parse::<DetachKeys>().unwrap_err();
        assert_eq!(error.to_string(), "invalid detach keys (ctrl-!): Unknown character: 'ctrl-!'");
    }

    #[test]
    fn partial_matches_are_forwarded() {
        assert_eq!(feed("a,b,c", &[b"xabcx"]), (b"x".to_vec(), true));
        assert_eq!(feed("a,b,c", &[b"xa", b"b", b"c"]), (b"x".to_vec(), true));
        assert_eq!(feed("a,b,c", &[b"ab", b"x"]), (b"abx".to_vec(), false));
        assert_eq!(feed("a,b,c", &[b"xab"]), (b"xab".to_vec(), false));
        assert_eq!(feed("a,a,b", &[b"aaa", b"b"]), (b"a".to_vec(), true));
        assert_eq!(feed("a", &[b"xya"]), (b"xy".to_vec(), true));
    }

    proptest::proptest! {
        #[test]
        fn everything_before_the_keys_arrives(input in "[ab]{0,40}", split in 0usize..40) {
            let (first, second) = input.as_bytes().split_at(split.min(input.len()));
            let expected = match input.find("aab") {
                Some(at) => (input.as_bytes()[..at].to_vec(), true),
                None => (input.as_bytes().to_vec(), false),
            };
            proptest::prop_assert_eq!(feed("a,a,b", &[first, second]), expected);
        }
    }
}
