//! What can be asked of a repository: its manifests, blobs and tags, of its mirrors and of itself.

use crate::blob::BlobReader;
use crate::endpoint::{Capabilities, endpoints};
use crate::error::{Error, Result};
use crate::session::{Session, join};
use crate::settings::Settings;
use crate::tls::SystemRoots;
use crate::wire::Order;
use mica_model::{Digest, Reference, RegistryAccess};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use ureq::http::HeaderMap;

/// The longest manifest, in bytes; the registries' own limit.
const MANIFEST_SIZE_MAX: u64 = 4 << 20;
/// The most tags that are taken from one repository.
const TAG_COUNT_MAX: usize = 100_000;
/// The most pages of tags that are read.
const PAGE_COUNT_MAX: usize = 1000;

/// What we can read, best first, as `Accept` wants it.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, */*";

/// The registries of the world, as the machine's configuration sees them.
#[derive(Debug, Clone)]
pub struct Registries {
    pub(crate) settings: Arc<Settings>,
    pub(crate) roots: Arc<SystemRoots>,
}

/// What is going to be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Content comes from it.
    Pull,
    /// Content goes there.
    Push,
}

/// One repository.
#[derive(Debug)]
pub struct Repository<'a> {
    sessions: Vec<Session<'a>>,
    path: String,
    name: String,
    /// Whether mirrors are not asked any more.
    are_mirrors_left: AtomicBool,
}

/// A manifest as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the registry says it is, without parameters; may be empty.
    pub media_type: String,
}

impl Registries {
    /// The registries, as `settings` says that they are reached.
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), roots: Arc::default() }
    }

    /// The same, but `authority` may be spoken to without TLS or with a certificate of anybody.
    pub fn trusting(&self, authority: &str) -> Self {
        let mut settings = Settings::clone(&self.settings);
        settings.insecure.push(authority.to_owned());
        Self { settings: Arc::new(settings), roots: Arc::clone(&self.roots) }
    }

    pub(crate) const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(crate) const fn roots(&self) -> &Arc<SystemRoots> {
        &self.roots
    }

    /// The repository that `reference` is in.
    ///
    /// # Errors
    /// A file about the registry cannot be used.
    pub fn repository<'a>(
        &self,
        reference: &Reference,
        purpose: Purpose,
        access: &'a RegistryAccess<'a>,
    ) -> Result<Repository<'a>> {
        let actions = match purpose {
            Purpose::Pull => "pull",
            Purpose::Push => "pull,push",
        };
        let scopes = vec![format!("repository:{}:{actions}", reference.path())];
        self.repository_with_scopes(reference, purpose, access, &scopes)
    }

    /// The same, with rights to mount from other repositories of the registry.
    ///
    /// # Errors
    /// A file about the registry cannot be used.
    pub fn repository_mounting<'a>(
        &self,
        reference: &Reference,
        sources: &[String],
        access: &'a RegistryAccess<'a>,
    ) -> Result<Repository<'a>> {
        let mut scopes = vec![format!("repository:{}:pull,push", reference.path())];
        scopes.extend(sources.iter().map(|path| format!("repository:{path}:pull")));
        self.repository_with_scopes(reference, Purpose::Push, access, &scopes)
    }

    fn repository_with_scopes<'a>(
        &self,
        reference: &Reference,
        purpose: Purpose,
        access: &'a RegistryAccess<'a>,
        scopes: &[String],
    ) -> Result<Repository<'a>> {
        let sessions = endpoints(reference.domain(), &self.settings)?
            .into_iter()
            .filter(|endpoint| match purpose {
                Purpose::Pull => endpoint.capabilities.pull || endpoint.capabilities.resolve,
                Purpose::Push => endpoint.capabilities.push,
            })
            .map(|endpoint| Session::new(endpoint, &self.settings, &self.roots, access, scopes.to_vec()))
            .collect();
        Ok(Repository {
            sessions,
            path: reference.path().to_owned(),
            name: reference.familiar_name(),
            are_mirrors_left: AtomicBool::new(false),
        })
    }
}

impl<'a> Repository<'a> {
    /// As people write it: `team/app`, `registry.example/team/app`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest that a tag means now, if the registry tells.
    ///
    /// # Errors
    /// As [`Repository::manifest`].
    pub fn resolve(&self, tag: &str) -> Result<Option<Digest>> {
        let answer = self.first(
            |capabilities| capabilities.resolve,
            |session| session.call(|| self.order(session, "HEAD", tag)),
        )?;
        let header = answer.headers().get("docker-content-digest");
        Ok(header.and_then(|value| value.to_str().ok()?.parse().ok()))
    }

    /// A manifest by tag or digest. It is not compared with the digest.
    ///
    /// # Errors
    /// Nobody has it, or it is no manifest that could be read.
    pub fn manifest(&self, tag_or_digest: &str) -> Result<FetchedManifest> {
        let is_digest = tag_or_digest.contains(':');
        self.first(
            |capabilities| if is_digest { capabilities.pull } else { capabilities.resolve },
            |session| {
                let what = format!("the manifest of {} at {}", self.name, session.endpoint.authority);
                let order = || self.order(session, "GET", tag_or_digest);
                let (head, bytes) = session.document(order, MANIFEST_SIZE_MAX, &what)?;
                Ok(FetchedManifest { bytes, media_type: media_type(&head.headers) })
            },
        )
    }

    fn order(&self, session: &Session<'a>, method: &'static str, tag_or_digest: &str) -> Order<'static> {
        let path = session.path(&format!("/{}/manifests/{tag_or_digest}", self.path));
        Order::new(method, path).header("accept", MANIFEST_TYPES)
    }

    /// Starts to read a blob of `size` bytes at `offset`, of a mirror as long as it has it. It is not
    /// compared with its digest.
    ///
    /// # Errors
    /// Nobody has it, or it has another size.
    pub fn blob(&self, digest: Digest, size: u64, offset: u64) -> Result<BlobReader<'_>> {
        let sessions = self.suitable(|capabilities| capabilities.pull).collect();
        BlobReader::open(sessions, format!("/{}/blobs/{digest}", self.path), size, offset)
    }

    /// Asks nobody but the registry itself from now on, since what a mirror sent was wrong. Tells
    /// whether there are mirrors.
    pub fn leave_mirrors(&self) -> bool {
        self.are_mirrors_left.store(true, Ordering::Relaxed);
        self.sessions.len() > 1
    }

    /// All tags, as the registry orders them.
    ///
    /// # Errors
    /// There is no such repository, or the list cannot be read.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.first(|capabilities| capabilities.resolve, |session| self.tags_of(session))
    }

    fn tags_of(&self, session: &Session<'a>) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut address = session.path(&format!("/{}/tags/list", self.path));
        for _ in 0..PAGE_COUNT_MAX {
            let order = || Order::new("GET", address.clone());
            let (head, bytes) = session.document(order, MANIFEST_SIZE_MAX, "the list of tags")?;
            let next = next_address(&head.headers, &address);
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| Error::protocol(&address, format!("malformed list of tags: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > TAG_COUNT_MAX {
                return Err(Error::TooLarge {
                    what: "the list of tags".to_owned(),
                    limit: TAG_COUNT_MAX as u64,
                });
            }
            match next {
                Some(next) => address = next,
                None => return Ok(tags),
            }
        }
        Err(Error::protocol(&address, "the list of tags has no end"))
    }

    fn suitable<'s>(
        &'s self,
        suits: impl Fn(&Capabilities) -> bool,
    ) -> impl Iterator<Item = &'s Session<'a>> {
        let is_alone = self.are_mirrors_left.load(Ordering::Relaxed);
        self.sessions.iter().filter(move |session| {
            suits(&session.endpoint.capabilities) && (session.endpoint.is_origin || !is_alone)
        })
    }

    /// Asks one endpoint after the other; the registry's own failure is the one to tell.
    fn first<'s, T>(
        &'s self,
        suits: impl Fn(&Capabilities) -> bool,
        ask: impl Fn(&'s Session<'a>) -> Result<T>,
    ) -> Result<T> {
        let mut outcome = None;
        for session in self.suitable(suits) {
            match ask(session) {
                Ok(answer) => return Ok(answer),
                Err(error) => outcome = Some(error),
            }
        }
        Err(outcome.unwrap_or_else(|| Error::protocol(&self.name, "no configured host can do this")))
    }

    /// The endpoint that content is sent to.
    pub(crate) fn origin(&self) -> Result<&Session<'a>> {
        self.sessions.last().ok_or_else(|| Error::protocol(&self.name, "no configured host can do this"))
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let header = headers.get("content-type").and_then(|value| value.to_str().ok());
    header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

/// Where a list goes on: `Link: <address>; rel="next"`. Only ever at the same endpoint, whatever host
/// is written there.
pub(crate) fn next_address(headers: &HeaderMap, address: &str) -> Option<String> {
    let link = headers.get("link")?.to_str().ok()?;
    let (next, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| path_of(&join(&format!("https://x{address}"), next)))
}

fn path_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').map_or_else(|| "/".to_owned(), |place| rest[place..].to_owned())
}
