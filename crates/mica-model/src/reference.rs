//! Names of images, `[DOMAIN/]PATH[:TAG][@DIGEST]`, with the grammar and the short forms of docker.
//!
//! A short ("familiar") name leaves out `docker.io/` and `library/`; a [`Reference`] always knows
//! the full one. The grammar is that of the distribution project's `reference` package.

use crate::digest::{Digest, DigestError};
use std::fmt;

/// The domain that a name without one means.
const DEFAULT_DOMAIN: &str = "docker.io";
/// What docker called that domain once.
const OLD_DEFAULT_DOMAIN: &str = "index.docker.io";
/// Where the names of docker.io without a slash are kept.
const OFFICIAL_PREFIX: &str = "library/";
/// The tag that a name with neither tag nor digest means.
const DEFAULT_TAG: &str = "latest";
/// The longest path of a name, in bytes.
const PATH_LENGTH_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_LENGTH_MAX: usize = 128;

/// A well-formed name of an image, with its domain filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a name of an image; the words are docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It doesn't follow the grammar.
    #[error("invalid reference format")]
    Format {
        /// What was given, shortened.
        text: String,
    },
    /// The path has upper-case letters.
    #[error("invalid reference format: repository name ({path}) must be lowercase")]
    UpperCase {
        /// The path as it was given.
        path: String,
    },
    /// It looks like an id and would be taken for one.
    #[error("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId {
        /// What was given.
        text: String,
    },
    /// The path is too long.
    #[error("repository name must not be more than {PATH_LENGTH_MAX} characters")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The part after `@` is not a digest of Mica.
    #[error("invalid reference format")]
    Digest {
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
}

impl Reference {
    /// Reads a short or full name.
    pub fn parse_normalized(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId { text: text.to_owned() });
        }
        let error = || ReferenceError::Format { text: text.chars().take(300).collect() };
        let (domain, rest) = split_domain(text);
        let rest = if domain == DEFAULT_DOMAIN && !rest.contains('/') {
            format!("{OFFICIAL_PREFIX}{rest}")
        } else {
            rest.to_owned()
        };
        let before_colon = rest.split(':').next().unwrap_or_default();
        if before_colon.chars().any(char::is_uppercase) {
            return Err(ReferenceError::UpperCase { path: before_colon.chars().take(300).collect() });
        }
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest { source })?;
                (named, Some(digest))
            }
            None => (rest.as_str(), None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (named, None),
        };
        if !is_domain(domain) || !path.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
            return Err(error());
        }
        if path.len() > PATH_LENGTH_MAX {
            return Err(ReferenceError::TooLong { length: path.len() });
        }
        Ok(Self { domain: domain.to_owned(), path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }

    /// The registry, with its port: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Domain and path as people see them: `busybox`, `quay.io/x/y`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole as people see it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// The same name with `:latest` if it had neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The name alone, without tag and digest.
    #[must_use]
    pub fn without_tag(mut self) -> Self {
        self.tag = None;
        self.digest = None;
        self
    }

    /// The same repository, with a digest instead of a tag.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.tag = None;
        self.digest = Some(digest);
        self
    }

    /// The same repository with another tag.
    ///
    /// # Errors
    /// `tag` is not a tag.
    pub fn with_tag(mut self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format { text: tag.chars().take(300).collect() });
        }
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    /// The full canonical form.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.suffixed(self.name()))
    }
}

/// The first component is a domain only if nothing else could be meant: it has a dot, a port or
/// upper-case letters, or is `localhost`.
fn split_domain(text: &str) -> (&str, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, text);
    };
    let is_domain =
        first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase);
    match (is_domain, first) {
        (false, _) => (DEFAULT_DOMAIN, text),
        (true, OLD_DEFAULT_DOMAIN) => (DEFAULT_DOMAIN, rest),
        (true, _) => (first, rest),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = if let Some(literal) = text.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        let valid =
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    host.split('.').all(is_domain_component) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_domain_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Runs of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let mut rest = text.as_bytes();
    loop {
        let run = rest.iter().take_while(|byte| is_alphanumeric(byte)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        let separator = rest.iter().take_while(|byte| !is_alphanumeric(byte)).count();
        match &rest[..separator] {
            [] => return true,
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_LENGTH_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn tag_and_digest_take_each_others_place() {
        let name = Reference::parse_normalized("a/b:c").unwrap();
        let digest = Digest::from_hex(HEX).unwrap();
        let digested = name.clone().with_digest(digest);
        assert_eq!(digested.familiar(), format!("a/b@sha256:{HEX}"));
        assert_eq!(digested.with_tag("d").unwrap().familiar(), "a/b:d");
        assert!(name.with_tag("../x").is_err());
    }

    #[test]
    fn fills_in_what_short_names_leave_out() {
        for (short, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("library/busybox", "docker.io/library/busybox", "busybox"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("user/app:v1", "docker.io/user/app:v1", "user/app:v1"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("Registry/app", "Registry/app", "Registry/app"),
            ("[::1]:5000/app:t", "[::1]:5000/app:t", "[::1]:5000/app:t"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("a__b--c.d", "docker.io/library/a__b--c.d", "a__b--c.d"),
        ] {
            let reference = Reference::parse_normalized(short).unwrap();
            assert_eq!(reference.to_string(), full, "{short}");
            assert_eq!(reference.familiar(), familiar, "{short}");
            assert_eq!(Reference::parse_normalized(full).unwrap(), reference, "{short}");
        }
    }

    #[test]
    fn keeps_tag_and_digest() {
        let text = format!("busybox:1@sha256:{HEX}");
        let reference = Reference::parse_normalized(&text).unwrap();
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.digest().unwrap().hex(), HEX);
        assert_eq!(reference.familiar(), text);
        let pinned = Reference::parse_normalized(&format!("busybox@sha256:{HEX}")).unwrap();
        assert_eq!(pinned.clone().with_default_tag(), pinned);
        assert_eq!(Reference::parse_normalized("busybox").unwrap().with_default_tag().tag(), Some("latest"));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for text in [
            "",
            ":tag",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:00",
            "a@md5:00",
            "a//b",
            "/a",
            "a/",
            "x.y:port/a",
            "a b",
            "a:\u{1b}[31m",
            "../etc",
            "a/../b",
            "é",
            "host.:1/a",
            "-h.x/a",
            "a:b:c",
            "[::1/a",
            "[]:1/a",
        ] {
            assert!(Reference::parse_normalized(text).is_err(), "{text:?}");
        }
        assert!(matches!(
            Reference::parse_normalized("library/Busybox"),
            Err(ReferenceError::UpperCase { .. })
        ));
        assert!(matches!(Reference::parse_normalized(HEX), Err(ReferenceError::LooksLikeId { .. })));
        assert!(Reference::parse_normalized(&HEX[1..]).is_ok());
        assert!(Reference::parse_normalized(&format!("x.y/{}", "a".repeat(255))).is_ok());
        assert!(matches!(
            Reference::parse_normalized(&format!("x.y/{}", "a".repeat(256))),
            Err(ReferenceError::TooLong { length: 256 })
        ));
        assert!(Reference::parse_normalized(&format!("a:{}", "t".repeat(128))).is_ok());
        assert!(Reference::parse_normalized(&format!("a:{}", "t".repeat(129))).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back_the_same(text in "[a-zA-Z0-9._:/@-]{0,40}|\\PC{0,20}") {
            if let Ok(reference) = Reference::parse_normalized(&text) {
                prop_assert_eq!(Reference::parse_normalized(&reference.to_string()).unwrap(), reference.clone());
                let familiar = Reference::parse_normalized(&reference.familiar());
                // Short forms that look like an id or begin like a domain mean another; docker has the same hole.
                let first = reference.path().split('/').next().unwrap_or_default();
                let is_ambiguous = first.contains('.') || first == "localhost";
                if !is_ambiguous && !matches!(familiar, Err(ReferenceError::LooksLikeId { .. })) {
                    prop_assert_eq!(familiar.unwrap(), reference);
                }
            }
        }

        #[test]
        fn well_formed_names_are_accepted(
            host in "[a-z]{1,8}\\.[a-z]{2,3}(:[0-9]{1,5})?",
            path in "[a-z0-9]{1,5}([._-][a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,2}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
        ) {
            let text = format!("{host}/{path}:{tag}");
            let reference = Reference::parse_normalized(&text).unwrap();
            prop_assert_eq!(reference.path(), path);
            prop_assert_eq!(reference.tag(), Some(tag.as_str()));
        }
    }
}
