//! Requests to one endpoint with what surrounds them: who asks, where a redirect leads, what is tried
//! again and when that ends.
//!
//! A credential goes to the endpoint whose name the user gave, and to a giver of tokens in the same
//! domain; never to where a redirect leads.

use crate::challenge::{self, Bearer, Challenge};
use crate::endpoint::Endpoint;
use crate::error::{Error, Refusal, Result, harmless, shown, without_query};
use crate::pace::read_at_pace;
use crate::settings::{Settings, host_of};
use crate::tls::SystemRoots;
use crate::token;
use crate::wire::{Answer, Order, Wire, io_error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_model::{Credential, RegistryAccess};
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::http;

/// How often a request is tried before its failure is told.
const ATTEMPTS: u32 = 5;
/// The same for a mirror, after which there is somebody else to ask.
const MIRROR_ATTEMPTS: u32 = 2;
/// The first pause between two attempts; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that a registry can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How many redirects are followed.
const REDIRECTS_MAX: u8 = 5;
/// The longest text of a refusal that is read, in bytes.
const REFUSAL_SIZE_MAX: u64 = 64 << 10;
/// Over how long the words of a refusal may not come at a crawl.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);

/// A conversation with one endpoint about some repositories.
pub(crate) struct Session<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) wire: Wire,
    access: &'a RegistryAccess<'a>,
    settings: Arc<Settings>,
    /// What tokens are asked for: `repository:team/app:pull`.
    scopes: Vec<String>,
    permit: Mutex<Permit>,
    /// Whether the credential is to be compared, and the token that came in its place.
    login: Option<Mutex<Option<String>>>,
}

/// How often something is still tried, and after which pause.
#[derive(Debug)]
pub(crate) struct Patience {
    attempts_left: u32,
    pause: Duration,
}

impl Patience {
    /// Takes one attempt away; whether there was one.
    pub(crate) const fn take(&mut self) -> bool {
        self.attempts_left = self.attempts_left.saturating_sub(1);
        self.attempts_left > 0
    }
}

/// How requests are signed.
#[derive(Debug, Clone, Default)]
struct Permit {
    /// Counts up whenever it changes, so that of many requests that are refused at once only one
    /// asks for a new token.
    generation: u64,
    header: Option<String>,
    until: Option<Instant>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("endpoint", &self.endpoint.authority).finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        endpoint: Endpoint,
        settings: &Arc<Settings>,
        roots: &Arc<SystemRoots>,
        access: &'a RegistryAccess<'a>,
        scopes: Vec<String>,
    ) -> Self {
        let wire = Wire::new(&endpoint, settings, roots, &access.proxies);
        let permit = Mutex::new(Permit::default());
        Self { endpoint, wire, access, settings: Arc::clone(settings), scopes, permit, login: None }
    }

    /// The same for somebody who logs in: the credential has to be compared.
    pub(crate) fn for_login(mut self) -> Self {
        self.login = Some(Mutex::default());
        self
    }

    /// What the giver of tokens gave in place of the credential that was compared.
    pub(crate) fn identity_token(&self) -> Option<String> {
        self.login.as_ref().and_then(|login| login.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// How long nothing may come from the other side.
    pub(crate) fn idle(&self) -> Duration {
        self.settings.idle
    }

    /// Fetches a document of at most `limit` bytes; a connection that breaks in the midst is made again.
    pub(crate) fn document<'o>(
        &self,
        mut make: impl FnMut() -> Order<'o>,
        limit: u64,
        what: &str,
    ) -> Result<(http::response::Parts, Vec<u8>)> {
        let attempts = if self.endpoint.is_origin { ATTEMPTS } else { MIRROR_ATTEMPTS };
        let mut pause = PAUSE;
        for attempt in 1.. {
            let (parts, body) = self.call(&mut make)?.into_parts();
            match read_bounded(body, limit, what, self.settings.idle) {
                Err(Error::Transport { source, .. }) if source.is_passing() && attempt < attempts => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                outcome => return Ok((parts, outcome?)),
            }
        }
        Err(Error::protocol(what, "no attempt was made"))
    }

    /// The address of something below the endpoint's prefix, without scheme and host.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.endpoint.prefix)
    }

    /// Sends an order until it is answered, refused for good or has failed too often. The answer has a
    /// status below 400.
    pub(crate) fn call<'o>(&self, mut make: impl FnMut() -> Order<'o>) -> Result<Answer> {
        let mut patience = self.patience();
        loop {
            if let Some(answer) = self.attempt(&mut make(), &mut patience)? {
                return Ok(answer);
            }
        }
    }

    /// As much patience as the endpoint deserves.
    pub(crate) const fn patience(&self) -> Patience {
        let attempts_left = if self.endpoint.is_origin { ATTEMPTS } else { MIRROR_ATTEMPTS };
        Patience { attempts_left, pause: PAUSE }
    }

    /// Sends an order once; `None` after a failure that may pass, when it is time to try again.
    pub(crate) fn attempt(&self, order: &mut Order<'_>, patience: &mut Patience) -> Result<Option<Answer>> {
        let outcome = self.once(order);
        let wait = match &outcome {
            Err(Error::Transport { source, .. }) if source.is_passing() => patience.pause,
            Ok(answer) if is_passing(answer.status().as_u16()) => match asked_pause(answer) {
                Some(asked) if asked > PAUSE_MAX => return Err(refused(order, outcome?)),
                Some(asked) => asked.max(patience.pause),
                None => patience.pause,
            },
            _ => return self.settled(order, outcome?).map(Some),
        };
        if !patience.take() {
            return self.settled(order, outcome?).map(Some);
        }
        std::thread::sleep(wait.min(PAUSE_MAX));
        patience.pause *= 2;
        Ok(None)
    }

    fn settled(&self, order: &Order<'_>, answer: Answer) -> Result<Answer> {
        match answer.status().as_u16() {
            401 => Err(self.unauthorized(order, answer)),
            400.. => Err(refused(order, answer)),
            _ => Ok(answer),
        }
    }

    fn unauthorized(&self, order: &Order<'_>, answer: Answer) -> Error {
        let words = match refused(order, answer) {
            Error::Refused { refusal, .. } if !refusal.message.is_empty() => refusal.to_string(),
            _ => "unauthorized: authentication required".to_owned(),
        };
        Error::Unauthorized { registry: self.endpoint.key.clone(), reason: words }
    }

    /// One attempt, with a new permit where the first is refused, and with redirects followed.
    fn once(&self, order: &mut Order<'_>) -> Result<Answer> {
        let path = order.address.clone();
        let (generation, mut answer) = self.signed(order)?;
        if answer.status() == 401 && self.renew(&answer, generation)? {
            order.address = path;
            answer = self.signed(order)?.1;
        }
        let is_safe = matches!(order.method, "GET" | "HEAD");
        for _ in 0..REDIRECTS_MAX {
            let target = match answer.status().as_u16() {
                301 | 302 | 303 | 307 | 308 if is_safe => self.target(order, &answer)?,
                _ => return Ok(answer),
            };
            // Nothing but what is asked for: neither credentials nor the user's headers.
            order.address = target;
            answer = if self.wire.is_own(&order.address) {
                self.signed(order)?.1
            } else {
                self.wire.send(order, &[])?
            };
        }
        Err(Error::protocol(&order.address, "too many redirects"))
    }

    fn target(&self, order: &Order<'_>, answer: &Answer) -> Result<String> {
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Error::protocol(&order.address, "a redirect to nowhere"))?;
        let target = join(&order.address, location);
        if order.address.starts_with("https://") && !target.starts_with("https://") {
            return Err(Error::protocol(&order.address, "refusing a redirect that leaves TLS"));
        }
        Ok(target)
    }

    /// Sends to the endpoint with the present permit; tells which that was.
    fn signed(&self, order: &mut Order<'_>) -> Result<(u64, Answer)> {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut extra = self.endpoint.headers.clone();
        if self.endpoint.is_origin {
            extra.extend(self.access.headers.iter().cloned());
        }
        let is_fresh = permit.until.is_none_or(|until| Instant::now() < until);
        extra.extend(permit.header.filter(|_| is_fresh).map(|header| ("authorization".to_owned(), header)));
        let answer = if order.address.starts_with('/') {
            self.wire.send_to_endpoint(order, &extra)?
        } else if self.wire.is_own(&order.address) {
            self.wire.send(order, &extra)?
        } else {
            self.wire.send(order, &[])?
        };
        Ok((permit.generation, answer))
    }

    /// Gets a permit as the refusal asks for; `false` if there is none to be had.
    fn renew(&self, answer: &Answer, generation: u64) -> Result<bool> {
        let headers: Vec<&str> = answer
            .headers()
            .get_all("www-authenticate")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let challenges = challenge::parse(&headers);
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if permit.generation != generation {
            return Ok(true);
        }
        let credential = self.access.keyring.credential(&self.endpoint.key);
        for challenge in challenges {
            let renewed = match (challenge, &credential) {
                (Challenge::Basic, Some(Credential::Basic { username, password })) => {
                    let pair = STANDARD.encode(format!("{username}:{password}"));
                    Some((format!("Basic {pair}"), None))
                }
                (Challenge::Basic, _) => None,
                (Challenge::Bearer(_), Some(Credential::BearerToken(token))) => {
                    Some((format!("Bearer {token}"), None))
                }
                (Challenge::Bearer(bearer), credential) => Some(self.token(&bearer, credential.as_ref())?),
            };
            if let Some((header, until)) = renewed {
                *permit = Permit { generation: generation + 1, header: Some(header), until };
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn token(&self, bearer: &Bearer, credential: Option<&Credential>) -> Result<(String, Option<Instant>)> {
        let is_trusted = self.may_see_credentials(&bearer.realm);
        if self.login.is_some() && !is_trusted {
            return Err(Error::ForeignRealm {
                registry: self.endpoint.key.clone(),
                realm: harmless(without_query(&bearer.realm)),
            });
        }
        let credential = credential.filter(|_| is_trusted);
        let token = token::fetch(&self.wire, bearer, &self.scopes, (credential, self.login.is_some()))?;
        if let Some(login) = self.login.as_ref().filter(|_| !token.identity.is_empty()) {
            *login.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.identity);
        }
        Ok((format!("Bearer {}", token.text), token.until))
    }

    /// A giver of tokens that the registry names gets the user's password only if it belongs to the
    /// registry's own domain, or to one that the configuration names.
    fn may_see_credentials(&self, realm: &str) -> bool {
        let Some((scheme, rest)) = realm.split_once("://") else { return false };
        if scheme != "https" && !(scheme == "http" && self.wire.is_plain()) {
            return false;
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (own, other) = (host_of(&self.endpoint.authority), host_of(authority));
        is_same_domain(own, other)
            || self.settings.token_hosts.iter().any(|host| host == authority || host == other)
    }
}

/// Whether two hosts are the same or belong to one domain that somebody has registered: not those of two customers of
/// `co.uk` or of a hoster.
fn is_same_domain(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    if one == other {
        return true;
    }
    let is_number = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    let domain = |host: &str| psl::domain_str(host.trim_end_matches('.')).map(str::to_owned);
    !is_number(&one) && !is_number(&other) && domain(&one).is_some() && domain(&one) == domain(&other)
}

/// Whether a status may be another one the next time.
const fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn asked_pause(answer: &Answer) -> Option<Duration> {
    let value = answer.headers().get("retry-after")?.to_str().ok()?;
    Some(value.trim().parse().map_or(PAUSE_MAX, Duration::from_secs))
}

/// An address that may be relative to another one.
pub(crate) fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let path = without_query(rest).rsplit_once('/').map_or(authority, |(directory, _)| directory);
    format!("{scheme}://{path}/{location}")
}

/// Reads the body of an answer whole, unless it is too long or comes at a crawl.
pub(crate) fn read_bounded(body: ureq::Body, limit: u64, what: &str, idle: Duration) -> Result<Vec<u8>> {
    let bytes = read_at_pace(body.into_reader(), limit + 1, idle).map_err(|error| Error::Transport {
        method: "GET",
        address: what.to_owned(),
        source: io_error(&error),
    })?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { what: what.to_owned(), limit });
    }
    Ok(bytes)
}

#[derive(Debug, Deserialize)]
struct Refusals {
    #[serde(default)]
    errors: Vec<RefusalItem>,
    #[serde(default)]
    details: String,
}

#[derive(Debug, Deserialize)]
struct RefusalItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says with a status of 400 and more.
pub(crate) fn refused(order: &Order<'_>, answer: Answer) -> Error {
    let status = answer.status().as_u16();
    // What cannot be read in a moment is not worth waiting for: the status says the most of it.
    let body = answer.into_body().into_reader();
    let bytes = read_at_pace(body, REFUSAL_SIZE_MAX, REFUSAL_PATIENCE).unwrap_or_default();
    let refusals =
        serde_json::from_slice(&bytes).unwrap_or(Refusals { errors: Vec::new(), details: String::new() });
    let first = refusals.errors.into_iter().next();
    let (code, message) = first.map_or((String::new(), refusals.details), |item| (item.code, item.message));
    Error::Refused {
        method: order.method,
        address: shown(&order.address),
        refusal: Refusal { status, code: harmless(&code), message: harmless(&message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_domain_is_trusted() {
        for (one, other) in [
            ("registry-1.docker.io", "auth.docker.io"),
            ("h", "H"),
            ("registry.gitlab.com", "gitlab.com"),
            ("r.a.co.uk", "login.a.co.uk."),
            ("r.corp.internal", "git.corp.internal"),
        ] {
            assert!(is_same_domain(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1", "127.0.0.2"),
            ("a.io", "b.io"),
            ("localhost", "evil.localhost"),
            ("x.a.io", "a.io.evil.com"),
            ("a.co.uk", "b.co.uk"),
            ("co.uk", "a.co.uk"),
            ("a.github.io", "b.github.io"),
            ("one.s3.amazonaws.com", "two.s3.amazonaws.com"),
            ("docker.io", "io"),
        ] {
            assert!(!is_same_domain(one, other), "{one} {other}");
        }
    }

    #[test]
    fn locations_may_be_relative() {
        let base = "https://h:5000/v2/a/blobs/uploads/x?y=1";
        assert_eq!(join(base, "/z?q"), "https://h:5000/z?q");
        assert_eq!(join(base, "z"), "https://h:5000/v2/a/blobs/uploads/z");
        assert_eq!(join(base, "//o/z"), "https://o/z");
        assert_eq!(join(base, "http://o/z"), "http://o/z");
    }
}
