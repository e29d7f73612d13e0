//! Container ids: 64 hexadecimal digits, shown to people as the first twelve.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The full id of a container. It does not promise that the container exists.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

/// Why a text is not a full id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a container id of 64 hexadecimal digits")]
pub struct IdError {
    text: String,
}

impl ContainerId {
    /// Makes an id of 32 random bytes.
    ///
    /// Ids whose first twelve digits are all decimal are skipped by the caller, as they could be
    /// mistaken for a number; [`ContainerId::is_ambiguous`] tells.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(crate::digest::hex(&bytes))
    }

    /// Whether the short form consists of decimal digits only.
    pub fn is_ambiguous(&self) -> bool {
        self.short().bytes().all(|digit| digit.is_ascii_digit())
    }

    /// The full 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let valid = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(IdError { text: text.chars().take(100).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_lower_case_hexadecimal() {
        let id = ContainerId::from_random([0xab; 32]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.short(), "abababababab");
        assert!(!id.is_ambiguous());
        assert!(ContainerId::from_random([0x12; 32]).is_ambiguous());
        assert!("../x".parse::<ContainerId>().is_err());
    }
}
