//! Reading docker's `json-file` format.

use super::{Decoder, PIECE_LENGTH_MAX, RawEntry, Step, raw};
use mica_model::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The longest line believed, in bytes: 16 KiB of output at six bytes each, and its attributes.
const LINE_LENGTH_MAX: usize = 4 << 20;

/// What every line of ours begins with.
const HEAD: &[u8] = b"{\"log\":\"";

/// The format.
#[derive(Debug, Default)]
pub(super) struct Json {
    /// What followed the text of the line before, and what it said: it is the same for many lines.
    tail: Vec<u8>,
    said: Option<Said>,
}

/// What a line says besides its text.
#[derive(Debug, Clone)]
struct Said {
    time: Timestamp,
    stderr: bool,
    details: String,
}

/// A line in full.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: Cow<'a, str>,
    time: Cow<'a, str>,
    attrs: Option<BTreeMap<String, String>>,
}

impl Decoder for Json {
    fn step(&mut self, bytes: &[u8], _: bool) -> Step {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return if bytes.len() > LINE_LENGTH_MAX { Step::Skip(bytes.len()) } else { Step::More };
        };
        match self.line(&bytes[..end]) {
            Some(entry) => Step::Entry(end + 1, entry),
            None => Step::Skip(end + 1),
        }
    }

    fn rest_of_entry(&self, bytes: &[u8]) -> Option<usize> {
        Some(memchr::memchr(b'\n', bytes)? + 1)
    }
}

impl Json {
    fn line(&mut self, line: &[u8]) -> Option<RawEntry> {
        // Zeros before the text are what a crash leaves of a write; the text after them is whole.
        let line = match line.first()? {
            0 => &line[line.iter().position(|byte| *byte != 0)?..],
            _ => line,
        };
        self.usual_line(line).or_else(|| self.any_line(line))
    }

    /// A line that ends as the one before did: only its text is looked at.
    fn usual_line(&self, line: &[u8]) -> Option<RawEntry> {
        let said = self.said.as_ref()?;
        let quoted = line.strip_prefix(HEAD)?.strip_suffix(self.tail.as_slice())?;
        let text = unescape(quoted)?;
        Some(entry(text, said))
    }

    fn any_line(&mut self, line: &[u8]) -> Option<RawEntry> {
        let parsed: Line<'_> = serde_json::from_slice(line).ok()?;
        let said = Said {
            time: parsed.time.parse().ok()?,
            stderr: parsed.stream == "stderr",
            details: details(&parsed.attrs.unwrap_or_default()),
        };
        let tail = line.strip_prefix(HEAD).and_then(|rest| rest.get(end_of_text(rest)?..));
        let entry = entry(parsed.log.into_owned().into_bytes(), &said);
        self.said = tail.is_some().then_some(said);
        self.tail = tail.unwrap_or_default().to_vec();
        Some(entry)
    }
}

fn entry(text: Vec<u8>, said: &Said) -> RawEntry {
    // The end of a run leaves a line without its end too, but a short one.
    let is_cut = !text.ends_with(b"\n") && text.len() >= PIECE_LENGTH_MAX;
    raw(said.time, said.stderr, text, said.details.clone(), is_cut)
}

/// As docker shows them: `key=value,…`, escaped as in a query.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs =
        attributes.iter().map(|(key, value)| format!("{}={}", query_escape(key), query_escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn query_escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// Where the quote after a text is.
fn end_of_text(text: &[u8]) -> Option<usize> {
    let mut place = 0;
    loop {
        place += memchr::memchr2(b'"', b'\\', text.get(place..)?)?;
        if text[place] == b'"' {
            return Some(place);
        }
        place += 2;
    }
}

/// The text between quotes; `None` when it is not one text, or not simple.
fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(place) = memchr::memchr2(b'"', b'\\', rest) {
        text.extend_from_slice(&rest[..place]);
        if rest[place] == b'"' {
            return None;
        }
        let plain = match rest.get(place + 1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            letter @ (b'"' | b'\\' | b'/') => *letter,
            b'u' => {
                let digits = std::str::from_utf8(rest.get(place + 2..place + 6)?).ok()?;
                let number = u32::from_str_radix(digits, 16).ok()?;
                // Halves of a pair are left to the careful way.
                let letter = char::from_u32(number)?;
                text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[place + 6..];
                continue;
            }
            _ => return None,
        };
        text.push(plain);
        rest = &rest[place + 2..];
    }
    text.extend_from_slice(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(log: &str) -> Vec<u8> {
        let log = serde_json::to_string(log).unwrap();
        format!("{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00Z\"}}").into_bytes()
    }

    #[test]
    fn attributes_are_shown_as_docker_shows_them() {
        let attributes = [("b", "x y&z"), ("a", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(details(&BTreeMap::from(attributes)), "a=1,b=x+y%26z");
    }

    proptest! {
        #[test]
        fn the_quick_way_says_what_the_careful_one_says(first in ".*", texts in prop::collection::vec(".{0,20}", 1..20)) {
            let mut quick = Json::default();
            quick.line(&line(&first)).unwrap();
            for text in &texts {
                let text = format!("{text}\n");
                prop_assert_eq!(quick.line(&line(&text)), Json::default().line(&line(&text)));
                prop_assert_eq!(quick.line(&line(&text)).unwrap().entry.line, text.into_bytes());
            }
        }

        #[test]
        fn nothing_that_a_line_says_is_taken_from_elsewhere(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut quick = Json::default();
            quick.line(&line("before\n")).unwrap();
            let seen = quick.line(&noise);
            prop_assert_eq!(seen, Json::default().line(&noise));
        }
    }
}
