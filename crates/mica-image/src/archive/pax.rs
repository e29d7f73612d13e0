//! The records of a pax extended header: `<length> <key>=<value>\n`, the length counting all of it.

/// The records that matter for finding an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<String>,
    pub(super) link_path: Option<String>,
    /// Wins over the size in the header that follows (POSIX; row TAR-19).
    pub(super) size: Option<u64>,
}

/// Reads all records; the text of an error says what is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Records, &'static str> {
    const MALFORMED: &str = "an extended header is malformed";
    let mut records = Records::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let blank = rest.iter().take(20).position(|byte| *byte == b' ').ok_or(MALFORMED)?;
        let length: usize = std::str::from_utf8(&rest[..blank])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(MALFORMED)?;
        let record = rest.get(blank + 1..length).ok_or(MALFORMED)?;
        let record = record.strip_suffix(b"\n").ok_or(MALFORMED)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let value_text = || String::from_utf8_lossy(value).into_owned();
        match key {
            b"path" | b"linkpath" if value.contains(&0) => return Err("a name has a NUL byte in it"),
            b"path" => records.path = Some(value_text()).filter(|text| !text.is_empty()),
            b"linkpath" => records.link_path = Some(value_text()).filter(|text| !text.is_empty()),
            b"size" => {
                let size = value_text().parse::<i64>().ok().and_then(|size| u64::try_from(size).ok());
                records.size = Some(size.ok_or("an extended header has an invalid size")?);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("it has a sparse file, which no image archive needs");
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_records() {
        let records = parse(b"12 path=a/b\n7 a=\xc3\xa9\n11 size=42\n").unwrap();
        assert_eq!(records, Records { path: Some("a/b".to_owned()), link_path: None, size: Some(42) });
    }

    #[test]
    fn tar_22_wrong_lengths_are_errors() {
        for bytes in [
            &b"99 path=a\n"[..],
            b"3 path=a\n",
            b"x path=a\n",
            b"0 \n",
            b"10 pathaaa\n",
            b"11 path=a/b",
            b"12 path=a\0b\n",
            b"11 size=-2\n",
            b"25 GNU.sparse.major=1234\n",
            b"1 ",
            b"2 ",
            b"99999999999999999999999 path=a\n",
        ] {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'1'), Just(b'='), Just(b'\n'), any::<u8>()], 0..40)) {
            let _ = parse(&bytes);
        }
    }
}
