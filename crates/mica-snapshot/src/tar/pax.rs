//! Extended headers: records of the form `LENGTH KEY=VALUE\n`.

use super::{TarError, Time};

/// What the records of one extended header say about the next entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    /// `path`
    pub(crate) path: Option<Vec<u8>>,
    /// `linkpath`
    pub(crate) link_path: Option<Vec<u8>>,
    /// `size`
    pub(crate) size: Option<u64>,
    /// `uid`
    pub(crate) uid: Option<u64>,
    /// `gid`
    pub(crate) gid: Option<u64>,
    /// `mtime`
    pub(crate) mtime: Option<Time>,
    /// `SCHILY.xattr.*`
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `GNU.sparse.*`
    pub(crate) sparse: SparseRecords,
}

/// The records by which GNU tar describes sparse files, in three versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    /// `GNU.sparse.major` and `.minor`
    pub(crate) version: (Option<u64>, Option<u64>),
    /// `GNU.sparse.name`
    pub(crate) name: Option<Vec<u8>>,
    /// `GNU.sparse.realsize` or `GNU.sparse.size`
    pub(crate) real_size: Option<u64>,
    /// Numbers of `GNU.sparse.map` (0.1) or of the `offset` and `numbytes` pairs (0.0).
    pub(crate) numbers: Option<Vec<u64>>,
}

/// Reads all records of `text`.
///
/// # Errors
/// `Extended`, with the header's `offset`, for anything that does not follow the grammar.
pub(crate) fn parse(text: &[u8], offset: u64) -> Result<Extension, TarError> {
    let mut extension = Extension::default();
    let mut rest = text;
    // Some writers fill the last block with zeros beyond the stated size.
    while !rest.is_empty() && rest[0] != 0 {
        let (key, value, after) = record(rest, offset)?;
        extension.take(key, value).map_err(|problem| TarError::Extended { offset, problem })?;
        rest = after;
    }
    Ok(extension)
}

/// Key, value and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(text: &[u8], offset: u64) -> Result<Record<'_>, TarError> {
    let error = |problem| TarError::Extended { offset, problem };
    let space = text.iter().take(8).position(|&b| b == b' ').ok_or_else(|| error("no length"))?;
    let length = decimal(&text[..space]).ok_or_else(|| error("length is no number"))?;
    let length = usize::try_from(length).map_err(|_| error("length is too large"))?;
    if length <= space + 1 || length > text.len() || text[length - 1] != b'\n' {
        return Err(error("length does not fit"));
    }
    let body = &text[space + 1..length - 1];
    let equals = body.iter().position(|&b| b == b'=').ok_or_else(|| error("no equals sign"))?;
    if equals == 0 {
        return Err(error("empty key"));
    }
    Ok((&body[..equals], &body[equals + 1..], &text[length..]))
}

impl Extension {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || decimal(value).ok_or("value is no number");
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link_path = text(value)?,
            _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {}
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or("value is no time")?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(name, value)?;
                }
            }
        }
        Ok(())
    }
}

impl SparseRecords {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || decimal(value).ok_or("value is no number");
        match key {
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            b"name" => self.name = text(value)?,
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"offset" | b"numbytes" => self.numbers.get_or_insert_default().push(number()?),
            b"map" => {
                let numbers = value.split(|&b| b == b',').map(decimal).collect::<Option<Vec<_>>>();
                self.numbers = Some(numbers.ok_or("sparse map is no list of numbers")?);
            }
            // `numblocks` repeats what the list's length says already.
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("zero byte in a name");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

/// Digits only: no sign, no space.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Option<Time> {
    let (is_negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = digits.iter().position(|&b| b == b'.');
    let (whole, fraction) = dot.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        (0..9).fold(0, |sum, at| sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some(match (is_negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_with_equals_signs_and_newlines_in_values() {
        let extension = parse(b"15 path=a=b\nc/\n12 uid=4000\n", 0).unwrap();
        assert_eq!(extension.path.as_deref(), Some(&b"a=b\nc/"[..]));
        assert_eq!(extension.uid, Some(4000));
    }

    #[test]
    fn reads_times_before_1970() {
        assert_eq!(time(b"-1.25"), Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(time(b"1.5"), Some(Time { seconds: 1, nanoseconds: 500_000_000 }));
        assert_eq!(time(b"-3"), Some(Time { seconds: -3, nanoseconds: 0 }));
        assert_eq!(time(b"1e9"), None);
    }

    #[test]
    fn refuses_wrong_lengths() {
        for text in
            [&b"8 path=a\n"[..], b"7 path=a\n", b"0 a=b\n", b"999999999999 a=b\n", b"x a=b\n", b"5 ab\n"]
        {
            assert!(parse(text, 0).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = parse(&text, 0);
        }
    }
}
