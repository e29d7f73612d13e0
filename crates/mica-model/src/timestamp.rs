//! Instants in nanoseconds since the Unix epoch, written as RFC 3339 with docker's precision.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// An instant, in nanoseconds since 1970-01-01T00:00:00Z. Zero on the wire is docker's
/// `0001-01-01T00:00:00Z`, "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a date and time of RFC 3339")]
pub struct TimestampError {
    text: String,
}

/// How docker writes "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

impl Timestamp {
    /// The instant that means "never".
    pub const NEVER: Self = Self(0);

    /// An instant `nanoseconds` after the epoch.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// An instant `seconds` after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whether this is "never".
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds))
            }
        }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with as many digits of the second as there are, as Go's RFC3339Nano.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return formatter.write_str(NEVER);
        }
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => write!(formatter, "{instant}"),
            Err(_) => formatter.write_str(NEVER),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        if text == NEVER {
            return Ok(Self::NEVER);
        }
        let error = || TimestampError { text: text.chars().take(100).collect() };
        let instant: jiff::Timestamp = text.parse().map_err(|_| error())?;
        i64::try_from(instant.as_nanosecond()).map(Self).map_err(|_| error())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        assert_eq!(Timestamp::NEVER.to_string(), NEVER);
        assert_eq!(
            Timestamp::from_nanoseconds(1_500_000_000_120_000_000).to_string(),
            "2017-07-14T02:40:00.12Z"
        );
        assert_eq!(
            "2017-07-14T04:40:00.12+02:00".parse(),
            Ok(Timestamp::from_nanoseconds(1_500_000_000_120_000_000))
        );
    }
}
