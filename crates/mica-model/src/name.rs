//! Names of containers: the grammar, and names made up for those who give none.

mod words;

use std::fmt;
use std::str::FromStr;

/// The grammar, as docker's messages cite it.
pub const GRAMMAR: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// A name that keeps the grammar: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`. It does not promise that a
/// container bears it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({text}), only {GRAMMAR} are allowed")]
pub struct NameError {
    text: String,
}

impl NameError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> crate::ErrorKind {
        crate::ErrorKind::InvalidArgument
    }
}

impl ContainerName {
    /// Makes up a name like `curious_noether` of a random number. Equal numbers give equal names.
    ///
    /// The caller tries another number when the name is taken, and [`Self::generate_numbered`]
    /// when that happens often.
    pub fn generate(random: u64) -> Self {
        let adjectives = words::ADJECTIVES.len() as u64;
        let surnames = words::SURNAMES.len() as u64;
        // The remainders are smaller than the lengths of the lists, which fit any usize.
        let adjective = words::ADJECTIVES[(random % adjectives) as usize];
        let surname = words::SURNAMES[(random / adjectives % surnames) as usize];
        Self(format!("{adjective}_{surname}"))
    }

    /// As [`Self::generate`], with a digit after it taken from the same number.
    pub fn generate_numbered(random: u64) -> Self {
        let Self(name) = Self::generate(random);
        Self(format!("{name}{}", (random >> 48) % 10))
    }

    /// The name without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` keeps the grammar that containers and volumes share.
pub fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl FromStr for ContainerName {
    type Err = NameError;

    /// One leading slash is dropped, as the Engine API writes names with it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.strip_prefix('/').unwrap_or(text);
        if !is_valid(name) {
            return Err(NameError { text: text.chars().take(200).collect() });
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["a1", "/web", "a.b-c_d", "0x"] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "//a", "-ab", "_ab", "a b", "a/b", "é1", "ab\n"] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
        }
        assert_eq!(
            "a b".parse::<ContainerName>().unwrap_err().to_string(),
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
    }

    #[test]
    fn words_are_many_distinct_and_plain() {
        for (list, least) in [(words::ADJECTIVES, 90), (words::SURNAMES, 150)] {
            assert!(list.len() >= least, "{}", list.len());
            assert!(list.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), list.len());
        }
    }

    #[test]
    fn generated_names_are_valid_and_use_both_lists() {
        let count = (words::ADJECTIVES.len() * words::SURNAMES.len()) as u64;
        let names: std::collections::BTreeSet<_> = (0..count).map(ContainerName::generate).collect();
        assert_eq!(names.len() as u64, count);
        assert!(names.iter().all(|name| is_valid(name.as_str())));
        assert!(is_valid(ContainerName::generate_numbered(u64::MAX).as_str()));
    }
}
