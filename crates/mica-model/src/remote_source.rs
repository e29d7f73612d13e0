//! Files of other places: addresses of the web and of git repositories, as builds name them.

use std::fmt;

/// Files that are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteSource {
    /// One file of the web.
    Http(HttpSource),
    /// A git repository, or a part of it.
    Git(GitSource),
}

/// One file of the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// The whole address, without what comes after `#`.
    pub address: String,
}

/// A git repository, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitSource {
    /// Where it is, as git wants to know it.
    pub remote: String,
    /// A branch, a tag, a full reference or a commit; empty for the one that the repository prefers.
    pub reference: String,
    /// The directory that is meant; empty for all.
    pub subdirectory: String,
    /// The commit that the reference must mean, or what it begins with; may be empty.
    pub checksum: String,
    /// Whether `.git` stays, if that is said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are brought, if that is said.
    pub submodules: Option<bool>,
    /// Whether files are as old as the commit, not as the checkout.
    pub is_as_old_as_commit: bool,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteSourceError {
    /// A part of the query has no meaning, or contradicts another one.
    #[error("unexpected query {part:?} in {source_name}")]
    Query {
        /// As it was written.
        part: String,
        /// The address without what may be a secret.
        source_name: String,
    },
    /// A part would be taken for something else by git.
    #[error("invalid {what} {value:?}")]
    Part {
        /// What it is.
        what: &'static str,
        /// As it was written.
        value: String,
    },
}

impl RemoteSource {
    /// What an address means; nothing if it is none, but a path of this machine.
    ///
    /// # Errors
    /// When it is an address of a repository, but not one that could be fetched.
    pub fn parse(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ if is_secure_copy(text) => return git(text, "").map(Some),
            _ => return Ok(None),
        };
        match scheme.as_str() {
            "http" | "https" if !is_git_path(rest) => {
                let address = text.split('#').next().unwrap_or_default().to_owned();
                Ok(Some(Self::Http(HttpSource { address })))
            }
            "http" | "https" | "git" | "ssh" | "file" => {
                let (remote, query) = split_query(text);
                git(&remote, &query).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// As [`RemoteSource::parse`], where a context is named: there `github.com/…` is an address, too.
    ///
    /// # Errors
    /// The same.
    pub fn parse_context(text: &str) -> Result<Option<Self>, RemoteSourceError> {
        match text.strip_prefix("github.com/") {
            Some(_) => git(&format!("https://{text}"), "").map(Some),
            None => Self::parse(text),
        }
    }
}

impl HttpSource {
    /// The name of the file, by the address.
    pub fn file_name(&self) -> String {
        const UNNAMED: &str = "__unnamed__";
        let rest = self.address.split_once("://").map_or(self.address.as_str(), |(_, rest)| rest);
        let path = rest.split('?').next().unwrap_or_default();
        let Some((_, path)) = path.split_once('/') else { return UNNAMED.to_owned() };
        let decoded = decode(path);
        let name = decoded.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match name {
            "" | "." | ".." => UNNAMED.to_owned(),
            name if name.contains('\0') || name.len() > 255 => UNNAMED.to_owned(),
            name => name.to_owned(),
        }
    }
}

impl fmt::Display for RemoteSource {
    /// The address without credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(source) => formatter.write_str(&without_credentials(&source.address)),
            Self::Git(source) => {
                formatter.write_str(&without_credentials(&source.remote))?;
                match (source.reference.as_str(), source.subdirectory.as_str()) {
                    ("", "") => Ok(()),
                    (reference, "") => write!(formatter, "#{reference}"),
                    (reference, part) => write!(formatter, "#{reference}:{part}"),
                }
            }
        }
    }
}

/// The address of a path within what an address has; nothing for what is no repository.
pub fn below(address: &str, path: &str) -> Option<String> {
    let Ok(Some(RemoteSource::Git(source))) = RemoteSource::parse_context(address) else { return None };
    let inside = [source.subdirectory.trim_matches('/'), path.trim_matches('/')];
    let inside = inside.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    if let Some((before, fragment)) = address.split_once('#') {
        let reference = fragment.split(':').next().unwrap_or_default();
        return Some(format!("{before}#{reference}:{inside}"));
    }
    let Some((before, query)) = address.split_once('?') else { return Some(format!("{address}#:{inside}")) };
    let others = query.split('&').filter(|field| !field.starts_with("subdir="));
    let fields: Vec<String> = others.map(str::to_owned).chain([format!("subdir={inside}")]).collect();
    Some(format!("{before}?{}", fields.join("&")))
}

/// An address without what stands before its host.
pub fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if scheme != "ssh" => format!("{scheme}://xxxxx{}", &rest[at..]),
        _ => address.to_owned(),
    }
}

fn is_scheme(text: &str) -> bool {
    ["http", "https", "git", "ssh", "file"].iter().any(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// Whether the path of an address of the web is that of a repository.
fn is_git_path(rest: &str) -> bool {
    rest.split(['#', '?']).next().unwrap_or_default().ends_with(".git")
}

/// `user@host:path`.
fn is_secure_copy(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let is_word = |text: &str, others: &[char]| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || others.contains(&letter))
    };
    is_word(user, &['-', '_']) && is_word(host, &['-', '.', '_']) && !path.is_empty()
}

/// An address whose query is taken out of the middle.
fn split_query(text: &str) -> (String, String) {
    let (address, fragment) = text.split_once('#').map_or((text, None), |(a, b)| (a, Some(b)));
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    let whole = fragment.map_or_else(|| address.to_owned(), |fragment| format!("{address}#{fragment}"));
    (whole, query.to_owned())
}

fn git(text: &str, query: &str) -> Result<RemoteSource, RemoteSourceError> {
    let (remote, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut source = GitSource {
        remote: remote.to_owned(),
        reference: reference.to_owned(),
        subdirectory: subdirectory.to_owned(),
        ..GitSource::default()
    };
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if !source.set(name, &decode(value)) {
            let source_name = without_credentials(remote);
            return Err(RemoteSourceError::Query { part: part.to_owned(), source_name });
        }
    }
    source.check()?;
    Ok(RemoteSource::Git(source))
}

impl GitSource {
    /// Takes a part of the query; answers whether it makes sense.
    fn set(&mut self, name: &str, value: &str) -> bool {
        let once = |place: &mut String, value: String| {
            let is_free = place.is_empty() || *place == value;
            *place = value;
            is_free
        };
        match name {
            "ref" => once(&mut self.reference, value.to_owned()),
            "tag" => {
                once(&mut self.reference, format!("refs/tags/{}", value.trim_start_matches("refs/tags/")))
            }
            "branch" => {
                once(&mut self.reference, format!("refs/heads/{}", value.trim_start_matches("refs/heads/")))
            }
            "subdir" => once(&mut self.subdirectory, value.to_owned()),
            "checksum" | "commit" => once(&mut self.checksum, value.to_ascii_lowercase()),
            "keep-git-dir" => flag(value).map(|value| self.keep_git_dir = Some(value)).is_some(),
            "submodules" => flag(value).map(|value| self.submodules = Some(value)).is_some(),
            "mtime" => {
                self.is_as_old_as_commit = value == "commit";
                matches!(value, "commit" | "checkout")
            }
            // How the commit is got is decided by what the other side can do.
            "fetch-by-commit" => flag(value).is_some(),
            _ => false,
        }
    }

    /// Refuses what git could take for an option or for several names.
    fn check(&self) -> Result<(), RemoteSourceError> {
        let wrong = |what, value: &str| Err(RemoteSourceError::Part { what, value: value.to_owned() });
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        let host = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        if host.is_empty() || host.starts_with('-') || host.contains("@-") || self.remote.contains(is_odd) {
            return wrong("remote", &without_credentials(&self.remote));
        }
        let is_special =
            |letter| is_odd(letter) || matches!(letter, '*' | '?' | '[' | '\\' | '^' | '~' | ':' | '+');
        if self.reference.starts_with('-')
            || self.reference.contains(is_special)
            || self.reference.contains("..")
        {
            return wrong("reference", &self.reference);
        }
        if self.subdirectory.contains('\0') {
            return wrong("directory", &self.subdirectory);
        }
        let is_hexadecimal = self.checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hexadecimal || self.checksum.len() > 64 {
            return wrong("checksum", &self.checksum);
        }
        Ok(())
    }
}

/// A switch; it is on when it is only named.
fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// `%2f` and the like as the bytes they stand for.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let is_code = digits.is_some_and(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.filter(|_| first == b'%' && is_code).and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed_git(text: &str) -> GitSource {
        match RemoteSource::parse_context(text) {
            Ok(Some(RemoteSource::Git(source))) => source,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn repositories_are_told_from_files_of_the_web() {
        for text in [
            "https://h/a.git",
            "http://h/a.git#main:dir",
            "git://h/a",
            "ssh://git@h/a",
            "git@h:a/b",
            "github.com/a/b",
            "file:///a",
        ] {
            parsed_git(text);
        }
        for text in ["https://h/a.tar.gz", "http://h/", "https://h/a.git/x", "https://h/x?a=.git"] {
            assert!(matches!(RemoteSource::parse(text), Ok(Some(RemoteSource::Http(_)))), "{text}");
        }
        for text in ["a", "./a.git", "/a/b.git", "dir/git@h:x", "github.com/a", "C://x", "@h:x", ""] {
            assert_eq!(RemoteSource::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn the_parts_of_a_repository_are_found() {
        let source = parsed_git("https://h/a.git#v1:docs/x");
        assert_eq!((source.reference.as_str(), source.subdirectory.as_str()), ("v1", "docs/x"));
        let source = parsed_git(
            "https://h/a.git?branch=main&subdir=x%2Fy&keep-git-dir=1&submodules=false&commit=ABC0",
        );
        assert_eq!((source.reference.as_str(), source.subdirectory.as_str()), ("refs/heads/main", "x/y"));
        assert_eq!((source.keep_git_dir, source.submodules), (Some(true), Some(false)));
        assert_eq!((source.remote.as_str(), source.checksum.as_str()), ("https://h/a.git", "abc0"));
        assert_eq!(parsed_git("https://h/a.git?tag=v1").reference, "refs/tags/v1");
        assert_eq!(parsed_git("github.com/a/b").remote, "https://github.com/a/b");
    }

    #[test]
    fn what_git_would_misunderstand_is_refused() {
        for text in [
            "https://h/a.git#--upload-pack=x",
            "https://h/a.git#a b",
            "https://h/a.git#+x",
            "ssh://-oProxyCommand=x/a",
            "ssh://git@-oProxyCommand=x/a",
            "https://h/a.git?nonsense=1",
            "https://h/a.git?branch=a&tag=b",
            "https://h/a.git?checksum=--x",
            "https://h/a.git?mtime=never",
        ] {
            assert!(RemoteSource::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_the_last_name_of_its_address() {
        for (address, name) in [
            ("http://h/a/b.txt?x=/c", "b.txt"),
            ("http://h/..%2f..%2fe", "e"),
            ("http://h/%2e%2e", "__unnamed__"),
            ("http://h", "__unnamed__"),
            ("http://h/", "__unnamed__"),
            ("http://h/a%20b%", "a b%"),
        ] {
            assert_eq!(HttpSource { address: address.to_owned() }.file_name(), name, "{address}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://u:p@h/a@b"), "https://xxxxx@h/a@b");
        assert_eq!(without_credentials("https://h/a@b"), "https://h/a@b");
        assert_eq!(without_credentials("git@h:a"), "git@h:a");
        assert_eq!(parsed_git("https://t@h/a.git#r:d").remote, "https://t@h/a.git");
    }

    proptest! {
        #[test]
        fn a_name_is_one_component(address in "http://[ -~]{0,60}") {
            let name = HttpSource { address }.file_name();
            prop_assert!(!name.is_empty() && !name.contains('/') && name != "." && name != "..");
        }

        #[test]
        fn no_text_makes_it_fall_over(text in ".{0,80}") {
            if let Ok(Some(RemoteSource::Git(source))) = RemoteSource::parse_context(&text) {
                prop_assert!(!source.reference.starts_with('-'));
            }
        }
    }

    #[test]
    fn a_path_within_a_repository_has_an_address() {
        let below = |address: &str| below(address, "app/x").unwrap_or_default();
        assert_eq!(below("https://host/a.git"), "https://host/a.git#:app/x");
        assert_eq!(below("https://host/a.git#v1"), "https://host/a.git#v1:app/x");
        assert_eq!(below("https://host/a.git#v1:sub"), "https://host/a.git#v1:sub/app/x");
        assert_eq!(below("https://host/a.git?ref=v1&subdir=s"), "https://host/a.git?ref=v1&subdir=s/app/x");
        assert_eq!(below("https://host/a.tar"), "");
    }
}
