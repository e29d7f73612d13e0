//! For which system an image is made.

use std::fmt;

/// An operating system and a processor, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v7`; empty if any or none.
    pub variant: String,
}

impl Platform {
    /// What this program was built for, which is what it runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
    }

    /// Whether an image made for `image` runs here. What either side leaves open suits.
    pub fn suits(&self, image: &Self) -> bool {
        let same = |own: &str, other: &str| own.is_empty() || other.is_empty() || own == other;
        same(&self.os, &image.os)
            && same(&self.architecture, &image.architecture)
            && same(&self.variant, &image.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(formatter, "/{}", self.variant)?;
        }
        Ok(())
    }
}
