//! Sizes as people type them: `64m`, `1.5GiB`, `20MB`, by the rules of docker's go-units.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number, or a negative one.
    #[error("invalid size: '{text}'")]
    Number {
        /// What was typed.
        text: String,
    },
    /// A unit that nobody knows.
    #[error("invalid suffix: '{suffix}'")]
    Suffix {
        /// The unit typed, in lower case.
        suffix: String,
    },
}

impl SizeError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

/// Parses a number of bytes where `k` is 1024, as docker does for memory (`--memory 64m`).
///
/// # Errors
/// When there is no number, it is negative, or the unit is unknown.
pub fn parse_binary(text: &str) -> Result<i64, SizeError> {
    parse(text, 1024.0)
}

/// Parses a number of bytes where `k` is 1000, as docker does for disks and `--filter`.
///
/// # Errors
/// When there is no number, it is negative, or the unit is unknown.
pub fn parse_decimal(text: &str) -> Result<i64, SizeError> {
    parse(text, 1000.0)
}

/// Parses memory plus swap: as [`parse_binary`], but `-1` means "without limit".
///
/// # Errors
/// Those of [`parse_binary`].
pub fn parse_swap(text: &str) -> Result<i64, SizeError> {
    if text == "-1" { Ok(-1) } else { parse_binary(text) }
}

fn parse(text: &str, base: f64) -> Result<i64, SizeError> {
    let bad_number = || SizeError::Number { text: text.chars().take(100).collect() };
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(bad_number)?;
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    // Rust reads "inf" and "nan" as numbers too; they cannot be sizes.
    if !number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+')) {
        return Err(bad_number());
    }
    let value: f64 = number.parse().map_err(|_| bad_number())?;
    let bytes = value * multiplier(suffix, base)?;
    if bytes >= 9_223_372_036_854_775_807.0 {
        return Err(bad_number());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked above, the fraction is dropped"
    )]
    Ok(bytes as i64)
}

fn multiplier(suffix: &str, base: f64) -> Result<f64, SizeError> {
    let lower = suffix.to_ascii_lowercase();
    let (unit, rest) = match lower.chars().next() {
        None => return Ok(1.0),
        Some(unit) => lower.split_at(unit.len_utf8()),
    };
    let exponent = match unit {
        "b" if rest.is_empty() => return Ok(1.0),
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => 0,
    };
    if exponent == 0 || !matches!(rest, "" | "b" | "ib") {
        return Err(SizeError::Suffix { suffix: lower.chars().take(100).collect() });
    }
    Ok(base.powi(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_reads() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32KiB", 32 << 10),
            ("1.5 GiB", 3 << 29),
            ("64m", 64 << 20),
            ("1t", 1 << 40),
            ("1P", 1 << 50),
            (".5k", 512),
        ] {
            assert_eq!(parse_binary(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_decimal("1.5MB"), Ok(1_500_000));
        assert_eq!(parse_swap("-1"), Ok(-1));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let words = |text: &str| parse_binary(text).map_err(|error| error.to_string());
        for text in ["", "x", "-32", " 32", "32 .", "inf", "nan1", "1e300", "hello"] {
            assert_eq!(words(text), Err(format!("invalid size: '{text}'")));
        }
        for (text, suffix) in [("32mm", "mm"), ("32kbb", "kbb"), ("32 X", "x"), ("1ß", "ß"), ("1bb", "bb")]
        {
            assert_eq!(words(text), Err(format!("invalid suffix: '{suffix}'")));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = parse_binary(&text);
        }
    }
}
