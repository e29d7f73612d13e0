//! Durations in docker's words and in Go's: `About a minute`, `1m30s`.

use std::time::Duration;

/// A duration as people say it: `Less than a second`, `About an hour`, `3 weeks`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Why a text is not a duration of Go's `time.ParseDuration`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number where one is needed, or too large.
    #[error("time: invalid duration {text:?}")]
    Invalid {
        /// What was typed.
        text: String,
    },
    /// A number without a unit.
    #[error("time: missing unit in duration {text:?}")]
    MissingUnit {
        /// What was typed.
        text: String,
    },
    /// A unit that nobody knows.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// What was typed.
        text: String,
    },
}

impl DurationError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

/// Reads a duration such as `1m30s`, `-1.5h` or `300ms`, in nanoseconds.
///
/// # Errors
/// Those of Go, in its words.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid { text: text.to_owned() };
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let amount = Amount::parse(number).ok_or_else(invalid)?;
        if unit.is_empty() {
            return Err(DurationError::MissingUnit { text: text.to_owned() });
        }
        let scale = unit_nanoseconds(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        total = total.checked_add(amount.times(scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// A decimal number, exactly.
struct Amount {
    whole: i128,
    fraction: i128,
    fraction_scale: i128,
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        // More digits than nanoseconds of an hour can show change nothing.
        let fraction = fraction.get(..fraction.len().min(15))?;
        let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse().ok() };
        let fraction_scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        Some(Self { whole: number(whole)?, fraction: number(fraction)?, fraction_scale })
    }

    fn times(&self, scale: i128) -> Option<i128> {
        self.whole.checked_mul(scale)?.checked_add(self.fraction * scale / self.fraction_scale)
    }
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Writes nanoseconds as Go does: `1m30s`, `1.5s`, `300ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, scale: u64, unit: &str| {
        let width = scale.ilog10() as usize;
        let text = format!("{}.{:0width$}", value / scale, value % scale);
        let text = if width == 0 {
            text.trim_end_matches(".0")
        } else {
            text.trim_end_matches('0').trim_end_matches('.')
        };
        format!("{sign}{text}{unit}")
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => fraction(total, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => fraction(total, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            let seconds = seconds.trim_start_matches('-');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoken_durations() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (730 * 86_400, "2 years"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn durations_of_go() {
        for (text, nanoseconds, back) in [
            ("0", 0, "0s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("-300ms", -300_000_000, "-300ms"),
            ("1.25s", 1_250_000_000, "1.25s"),
            ("-61.5s", -61_500_000_000, "-1m1.5s"),
            (".5us", 500, "500ns"),
            ("1500ns", 1500, "1.5\u{b5}s"),
            ("100s", 100_000_000_000, "1m40s"),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
            assert_eq!(format_duration(nanoseconds), back);
        }
        let words = |text: &str| parse_duration(text).map_err(|error| error.to_string());
        assert_eq!(words(""), Err("time: invalid duration \"\"".to_owned()));
        assert_eq!(words("s"), Err("time: invalid duration \"s\"".to_owned()));
        assert_eq!(words("3"), Err("time: missing unit in duration \"3\"".to_owned()));
        assert_eq!(words("3y"), Err("time: unknown unit \"y\" in duration \"3y\"".to_owned()));
        assert_eq!(words("9999999999h"), Err("time: invalid duration \"9999999999h\"".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[-+0-9.a-zµ]*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn written_durations_are_read_back(nanoseconds: i64) {
            proptest::prop_assume!(nanoseconds != i64::MIN);
            proptest::prop_assert_eq!(parse_duration(&format_duration(nanoseconds)), Ok(nanoseconds));
        }
    }
}
