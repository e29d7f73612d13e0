//! `RUN --mount=…`: the written flag, and the mount that it means once its variables are known.

use super::error::did_you_mean;
use super::flag;
use super::position::Word;
use super::suggestion;
use mica_model::size;

/// A `--mount` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// Its value: fields `key=value` between commas, with variables in them.
    pub value: Word,
}

/// A mount of a `RUN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// `type`.
    pub kind: MountKind,
    /// `from`: a stage, a named context or an image; nothing means the context of the build (bind) or an empty
    /// directory (cache).
    pub from: Option<String>,
    /// `source`: a path in what it is from; for a secret, its id.
    pub source: Option<String>,
    /// `target`: where it is seen; relative to the working directory.
    pub target: Option<String>,
    /// Whether writing is refused. What is written to a bind mount is never kept.
    pub read_only: bool,
    /// `id` of a cache, a secret or an agent.
    pub id: Option<String>,
    /// `sharing` of a cache.
    pub sharing: CacheSharing,
    /// `size` of a tmpfs in bytes.
    pub size_bytes: Option<u64>,
    /// `required`: whether a secret or an agent that was not handed over is an error.
    pub required: bool,
    /// `env`: the variable that a secret is put into.
    pub variable: Option<String>,
    /// `mode` of a cache, a secret or a socket.
    pub mode: Option<u32>,
    /// `uid` of the same.
    pub user_id: Option<u32>,
    /// `gid` of the same.
    pub group_id: Option<u32>,
}

/// The kinds of mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// The socket of an ssh agent.
    Ssh,
}

/// How builds share a cache at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CacheSharing {
    /// All write to the same.
    #[default]
    Shared,
    /// Whoever comes second gets a new one.
    Private,
    /// Whoever comes second waits.
    Locked,
}

/// What can be wrong with a mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountProblem {
    /// A quote that is not closed.
    #[error("invalid mount {text:?}: a quote is not closed")]
    Quote {
        /// The whole value.
        text: String,
    },
    /// A field without a value.
    #[error("invalid field '{field}' must be a key=value pair")]
    NoValue {
        /// The field.
        field: String,
    },
    /// A key that no mount or not this kind of mount knows.
    #[error("unexpected key '{key}' for mount type '{kind}'{}", did_you_mean(*.suggestion))]
    UnexpectedKey {
        /// The key.
        key: String,
        /// The kind of mount.
        kind: &'static str,
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// A value that the key does not take.
    #[error("invalid value for {key}: {value}{}", did_you_mean(*.suggestion))]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What may have been meant.
        suggestion: Option<&'static str>,
    },
    /// Neither a source, nor a target, nor an id.
    #[error("invalid secret mount. one of source, target required")]
    SecretWithoutName,
    /// A source and an id.
    #[error("both source and id can't be set")]
    SecretWithTwoNames,
    /// No place to mount at.
    #[error("invalid mount: a {kind} mount needs a target")]
    NoTarget {
        /// The kind of mount.
        kind: &'static str,
    },
}

const KINDS: &[(&str, MountKind)] = &[
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARINGS: &[(&str, CacheSharing)] =
    &[("shared", CacheSharing::Shared), ("private", CacheSharing::Private), ("locked", CacheSharing::Locked)];

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl MountKind {
    /// Its name in a Dockerfile.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

impl MountFlag {
    /// The mount, when its variables are replaced by `expand`.
    ///
    /// # Errors
    /// What `expand` says, or what is wrong with the mount.
    pub fn resolve<E: From<MountProblem>>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, E> {
        let mut fields = Vec::new();
        for field in fields_of(&self.value.value)? {
            fields.push(match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            });
        }
        Ok(Mount::from_fields(&fields)?)
    }

    /// Checks what can be checked before the variables are known.
    pub(super) fn check(&self) -> Result<(), MountProblem> {
        let fields = fields_of(&self.value.value)?;
        if fields.iter().any(|field| field.contains('$')) {
            return Ok(());
        }
        self.resolve(|text| Ok(text.to_owned())).map(|_: Mount| ())
    }

    /// What it is from, as written: planners need it before any variable has a value.
    pub fn from_as_written(&self) -> Option<String> {
        let fields = fields_of(&self.value.value).ok()?;
        let mut from = fields
            .iter()
            .filter_map(|field| field.split_once('='))
            .filter(|(key, _)| key.eq_ignore_ascii_case("from"));
        from.next_back().map(|(_, value)| value.to_owned())
    }
}

impl Mount {
    fn from_fields(fields: &[(String, Option<String>)]) -> Result<Self, MountProblem> {
        let mut mount = Self::default();
        // The kind first: what other keys mean depends on it, and their order is free.
        for (_, value) in fields.iter().filter(|(key, _)| key == "type") {
            mount.kind = one_of("type", value.as_deref().unwrap_or_default(), KINDS)?;
        }
        mount.read_only = !matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
        for (key, value) in fields.iter().filter(|(key, _)| key != "type") {
            mount.set(key, value.as_deref())?;
        }
        mount.complete()
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), MountProblem> {
        let Some(value) = value else { return self.set_bare(key) };
        let owned = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match key {
            "from" if matches!(self.kind, MountKind::Bind | MountKind::Cache) => self.from = owned(),
            "source" | "src" => self.source = owned(),
            "target" | "dst" | "destination" => self.target = owned(),
            "readonly" | "ro" => self.read_only = truth("readonly", value)?,
            "readwrite" | "rw" => self.read_only = !truth("readwrite", value)?,
            "required" if self.is_handed_over() => self.required = truth("required", value)?,
            "size" if self.kind == MountKind::Tmpfs => self.size_bytes = Some(bytes(value)?),
            "id" => self.id = owned(),
            "sharing" if self.kind == MountKind::Cache => {
                self.sharing = one_of("sharing", &value.to_lowercase(), SHARINGS)?;
            }
            "mode" if self.has_owner() => self.mode = Some(number("mode", value, 8)?),
            "uid" if self.has_owner() => self.user_id = Some(number("uid", value, 10)?),
            "gid" if self.has_owner() => self.group_id = Some(number("gid", value, 10)?),
            "env" if self.kind == MountKind::Secret => self.variable = owned(),
            _ => return Err(self.unexpected(key)),
        }
        Ok(())
    }

    /// A key without `=`.
    fn set_bare(&mut self, key: &str) -> Result<(), MountProblem> {
        match key {
            "readonly" | "ro" => self.read_only = true,
            "readwrite" | "rw" => self.read_only = false,
            "required" if self.is_handed_over() => self.required = true,
            "required" => return Err(self.unexpected(key)),
            _ => return Err(MountProblem::NoValue { field: key.to_owned() }),
        }
        Ok(())
    }

    /// Checks what needs all keys.
    fn complete(self) -> Result<Self, MountProblem> {
        let kind = self.kind;
        if kind == MountKind::Secret && self.source.is_none() && self.target.is_none() && self.id.is_none() {
            return Err(MountProblem::SecretWithoutName);
        }
        if kind == MountKind::Secret && self.source.is_some() && self.id.is_some() {
            return Err(MountProblem::SecretWithTwoNames);
        }
        if matches!(kind, MountKind::Bind | MountKind::Cache | MountKind::Tmpfs) && self.target.is_none() {
            return Err(MountProblem::NoTarget { kind: kind.name() });
        }
        Ok(self)
    }

    const fn is_handed_over(&self) -> bool {
        matches!(self.kind, MountKind::Secret | MountKind::Ssh)
    }

    const fn has_owner(&self) -> bool {
        matches!(self.kind, MountKind::Secret | MountKind::Ssh | MountKind::Cache)
    }

    fn unexpected(&self, key: &str) -> MountProblem {
        let suggestion = suggestion::nearest(key, KEYS);
        MountProblem::UnexpectedKey { key: key.to_owned(), kind: self.kind.name(), suggestion }
    }
}

fn one_of<T: Copy>(key: &'static str, value: &str, known: &[(&'static str, T)]) -> Result<T, MountProblem> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    known.iter().find(|(name, _)| *name == value).map(|(_, kind)| *kind).ok_or_else(|| MountProblem::Value {
        key,
        value: value.to_owned(),
        suggestion: suggestion::nearest(value, &names),
    })
}

fn truth(key: &'static str, value: &str) -> Result<bool, MountProblem> {
    flag::boolean(value).ok_or_else(|| invalid(key, value))
}

fn number(key: &'static str, value: &str, radix: u32) -> Result<u32, MountProblem> {
    u32::from_str_radix(value, radix).map_err(|_| invalid(key, value))
}

fn bytes(value: &str) -> Result<u64, MountProblem> {
    size::parse_binary(value)
        .ok()
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| invalid("size", value))
}

fn invalid(key: &'static str, value: &str) -> MountProblem {
    MountProblem::Value { key, value: value.to_owned(), suggestion: None }
}

/// The fields between commas; one that begins with `"` may hold commas, and `""` for a quote.
fn fields_of(text: &str) -> Result<Vec<String>, MountProblem> {
    let open = || MountProblem::Quote { text: text.to_owned() };
    let mut fields = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let Some(field) = fields.last_mut() else { break };
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(letter),
        }
    }
    if quoted { Err(open()) } else { Ok(fields) }
}
