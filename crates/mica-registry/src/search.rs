//! What a registry has to offer: the search of version 1 of the protocol, which the hub still answers, else the
//! catalog of version 2.

use crate::endpoint::{DOCKER_DOMAIN, Endpoint, endpoints};
use crate::error::{Error, Result};
use crate::repository::{Registries, next_address};
use crate::session::Session;
use crate::token::encode;
use crate::wire::Order;
use mica_model::RegistryAccess;
use serde::Deserialize;

/// Who answers searches in the hub.
const DOCKER_INDEX: &str = "index.docker.io";
/// The longest answer, in bytes.
const ANSWER_SIZE_MAX: u64 = 4 << 20;
/// The most pages of a catalog that are looked through, and names on each.
const PAGES_MAX: usize = 100;
const PAGE_SIZE: usize = 1000;

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Its name, without the registry.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many like it.
    pub star_count: i64,
    /// Whether the hub's own people look after it.
    pub is_official: bool,
}

impl Registries {
    /// At most `limit` repositories of the registry `domain` that have to do with `term`.
    ///
    /// # Errors
    /// It does not answer, or offers neither a search nor a catalog.
    pub fn search(
        &self,
        domain: &str,
        term: &str,
        limit: usize,
        access: &RegistryAccess<'_>,
    ) -> Result<Vec<FoundRepository>> {
        let Some(mut endpoint) = endpoints(domain, &self.settings)?.pop() else {
            return Err(Error::protocol(domain, "no configured host can do this"));
        };
        if domain == DOCKER_DOMAIN {
            DOCKER_INDEX.clone_into(&mut endpoint.authority);
        }
        let session = self.session(endpoint, access);
        match by_search(&session, term, limit) {
            Ok(Some(found)) => Ok(found),
            // The hub has no catalog; neither is there one where nobody answers.
            outcome if domain == DOCKER_DOMAIN => Ok(outcome?.unwrap_or_default()),
            Ok(None) => by_catalog(&session, term, limit),
            Err(error) if error.is_missing() => by_catalog(&session, term, limit),
            Err(error) => Err(error),
        }
    }

    fn session<'a>(&self, endpoint: Endpoint, access: &'a RegistryAccess<'a>) -> Session<'a> {
        // The registry says itself what a token for this is to be called.
        Session::new(endpoint, &self.settings, &self.roots, access, Vec::new())
    }
}

/// `None` if what comes is no answer to a search, such as a page for people.
fn by_search(session: &Session<'_>, term: &str, limit: usize) -> Result<Option<Vec<FoundRepository>>> {
    #[derive(Deserialize)]
    struct Answer {
        results: Option<Vec<FoundRepository>>,
    }
    let address = format!("/v1/search?q={}&n={limit}", encode(term));
    let order = || Order::new("GET", address.clone()).header("accept", "application/json");
    let (_, bytes) = session.document(order, ANSWER_SIZE_MAX, "the answer to a search")?;
    let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
    Ok(answer.map(|answer| answer.results.unwrap_or_default().into_iter().take(limit).collect()))
}

fn by_catalog(session: &Session<'_>, term: &str, limit: usize) -> Result<Vec<FoundRepository>> {
    #[derive(Deserialize)]
    struct Page {
        repositories: Option<Vec<String>>,
    }
    let none = || Error::NoSearch { registry: session.endpoint.authority.clone() };
    let mut found = Vec::new();
    let mut address = session.path(&format!("/_catalog?n={PAGE_SIZE}"));
    for _ in 0..PAGES_MAX {
        let order = || Order::new("GET", address.clone());
        let (head, bytes) = match session.document(order, ANSWER_SIZE_MAX, "the catalog") {
            Err(error) if error.is_missing() => return Err(none()),
            other => other?,
        };
        let page: Page = serde_json::from_slice(&bytes).map_err(|_| none())?;
        let names = page.repositories.unwrap_or_default().into_iter().filter(|name| name.contains(term));
        found.extend(names.map(|name| FoundRepository { name, ..FoundRepository::default() }));
        match next_address(&head.headers, &address) {
            Some(next) if found.len() < limit => address = next,
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}
