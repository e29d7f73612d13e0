//! Instants as docker writes them, and as people type them after `--since`.

use super::units;
use jiff::tz::TimeZone;
use mica_model::Timestamp;
use std::time::Duration;

/// Why a text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It looks like a date, but is none.
    #[error("parsing time {text:?}: not a date and time of RFC 3339")]
    Date {
        /// What was typed.
        text: String,
    },
    /// It looks like nothing.
    #[error("failed to parse value as time or duration: {text:?}")]
    Unknown {
        /// What was typed.
        text: String,
    },
}

impl TimeError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::InvalidArgument
    }
}

/// An instant as in `docker ps --format {{.CreatedAt}}`: `2024-05-01 10:00:00 +0200 CEST`.
pub fn local(instant: Timestamp, zone: &TimeZone) -> String {
    written(instant, zone, "%Y-%m-%d %H:%M:%S %z %Z")
}

/// An instant as in `docker events`: RFC 3339 with nine digits of the second and the local offset.
pub fn local_nanoseconds(instant: Timestamp, zone: &TimeZone) -> String {
    written(instant, zone, "%Y-%m-%dT%H:%M:%S.%9f%:z").replace("+00:00", "Z")
}

fn written(instant: Timestamp, zone: &TimeZone, format: &str) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(instant.nanoseconds()))
        .map_or_else(|_| instant.to_string(), |time| time.to_zoned(zone.clone()).strftime(format).to_string())
}

/// How long ago an instant was, in words without "ago"; instants to come count as now.
pub fn age(instant: Timestamp, now: Timestamp) -> String {
    let passed = now.nanoseconds().saturating_sub(instant.nanoseconds());
    units::human_duration(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
}

/// How long ago an instant was: `10 minutes ago`; `N/A` for "never", as docker has it for images.
pub fn ago(instant: Timestamp, now: Timestamp) -> String {
    if instant.is_never() { "N/A".to_owned() } else { format!("{} ago", age(instant, now)) }
}

/// Reads what follows `--since` and `--until`: a duration before `now` (`10m`), a date or date and
/// time with or without a zone, or seconds since the epoch with up to nine decimals.
///
/// # Errors
/// When it is none of these.
pub fn parse_instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, TimeError> {
    if text != "0"
        && let Ok(nanoseconds) = units::parse_duration(text)
    {
        return Ok(Timestamp::from_nanoseconds(now.nanoseconds().saturating_sub(nanoseconds)));
    }
    if let Some(instant) = parse_date(text, zone) {
        return Ok(instant);
    }
    if text.contains('-') && !text.starts_with('-') {
        return Err(TimeError::Date { text: text.to_owned() });
    }
    parse_epoch(text).ok_or_else(|| TimeError::Unknown { text: text.to_owned() })
}

fn parse_date(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (local, offset) = split_offset(text)?;
    let (date, time) = local.split_once('T').unwrap_or((local, "00"));
    let complete = match time.matches(':').count() {
        0 => format!("{date}T{time}:00:00"),
        1 => format!("{date}T{time}:00"),
        _ => format!("{date}T{time}"),
    };
    let instant = match offset {
        Some("Z" | "z") => format!("{complete}Z").parse::<jiff::Timestamp>().ok()?,
        Some(offset) => format!("{complete}{offset}").parse().ok()?,
        None => complete.parse::<jiff::civil::DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp(),
    };
    i64::try_from(instant.as_nanosecond()).ok().map(Timestamp::from_nanoseconds)
}

/// Separates `Z` or `+hh:mm` from what is before it; a date needs its ten characters.
fn split_offset(text: &str) -> Option<(&str, Option<&str>)> {
    let after_date = text.get(10..)?;
    match after_date.find(['Z', 'z', '+', '-']) {
        Some(at) => Some((&text[..10 + at], Some(&text[10 + at..]))),
        None => Some((text, None)),
    }
}

fn parse_epoch(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = seconds.strip_prefix('-').unwrap_or(seconds);
    if unsigned.is_empty() || !digits(unsigned) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    let whole = seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?;
    whole.checked_add(nanoseconds).map(Timestamp::from_nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn east() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(2))
    }

    #[test]
    fn since() {
        for (text, expected) in [
            ("10m", 1_699_999_400_000_000_000),
            ("0", 0),
            ("1136073600", 1_136_073_600_000_000_000),
            ("1136073600.000000001", 1_136_073_600_000_000_001),
            ("1136073600.5", 1_136_073_600_500_000_000),
            ("2006-01-01T00:00:00Z", 1_136_073_600_000_000_000),
            ("2006-01-01T02:00:00+02:00", 1_136_073_600_000_000_000),
            ("2006-01-01T02:00:00", 1_136_073_600_000_000_000),
            ("2006-01-01T02:00", 1_136_073_600_000_000_000),
            ("2006-01-01T02", 1_136_073_600_000_000_000),
            ("2006-01-01T00Z", 1_136_073_600_000_000_000),
            ("2006-01-01T00:00:00.25Z", 1_136_073_600_250_000_000),
            ("2006-01-01", 1_136_066_400_000_000_000),
            ("2006-01-01Z", 1_136_073_600_000_000_000),
        ] {
            assert_eq!(
                parse_instant(text, NOW, &east()),
                Ok(Timestamp::from_nanoseconds(expected)),
                "{text}"
            );
        }
        let words = |text: &str| parse_instant(text, NOW, &east()).map_err(|error| error.to_string());
        assert_eq!(
            words("yesterday"),
            Err("failed to parse value as time or duration: \"yesterday\"".to_owned())
        );
        assert!(words("2006-13-01").unwrap_err().starts_with("parsing time \"2006-13-01\""));
        assert!(words("").is_err() && words("1.2.3").is_err() && words("é-1").is_err());
    }

    #[test]
    fn written_as_docker_writes() {
        assert_eq!(local(NOW, &TimeZone::UTC), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(local_nanoseconds(NOW, &TimeZone::UTC), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(local_nanoseconds(NOW, &east()), "2023-11-15T00:13:20.000000000+02:00");
        assert_eq!(ago(Timestamp::from_seconds(1_699_999_400), NOW), "10 minutes ago");
        assert_eq!(ago(Timestamp::NEVER, NOW), "N/A");
        assert_eq!(age(Timestamp::from_seconds(1_800_000_000), NOW), "Less than a second");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = parse_instant(&text, NOW, &TimeZone::UTC);
        }
    }
}
