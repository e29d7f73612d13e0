//! One HTTP request and its answer: over TLS where that is due, through a proxy where one is set, and
//! never longer without a byte than the configured time.

use crate::dns;
use crate::endpoint::{Encryption, Endpoint, Trust};
use crate::error::{Error, Result, TransportError, shown};
use crate::settings::{Settings, host_of, is_loopback};
use crate::tls::{self, SystemRoots};
use mica_model::Proxies;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use ureq::config::Config;
use ureq::http;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Proxy};

/// An answer whose body was not read yet.
pub(crate) type Answer = http::Response<ureq::Body>;

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// The longest head of an answer, in bytes.
const HEAD_SIZE_MAX: usize = 64 << 10;

/// What is to be sent.
pub(crate) struct Order<'a> {
    pub(crate) method: &'static str,
    pub(crate) address: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Payload<'a>,
}

/// What follows the head of a request.
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
}

impl<'a> Order<'a> {
    pub(crate) const fn new(method: &'static str, address: String) -> Self {
        Self { method, address, headers: Vec::new(), body: Payload::None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Payload<'a>) -> Self {
        self.body = body;
        self
    }
}

/// The connections to one endpoint and to where it sends us.
#[derive(Debug)]
pub(crate) struct Wire {
    settings: Arc<Settings>,
    roots: Arc<SystemRoots>,
    proxies: Proxies,
    authority: String,
    trust: Trust,
    agents: Mutex<HashMap<AgentKey, Agent>>,
    /// Which scheme the endpoint has turned out to speak.
    scheme: Mutex<Option<&'static str>>,
    encryption: Encryption,
}

/// Which agent: whose certificates it believes, whether it speaks TLS, whether it avoids the proxy.
type AgentKey = (Belief, bool, bool);

/// Whose certificates are believed: the endpoint's own rule, or that of a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Belief {
    Own,
    Strict,
    Blind,
}

impl Wire {
    pub(crate) fn new(
        endpoint: &Endpoint,
        settings: &Arc<Settings>,
        roots: &Arc<SystemRoots>,
        proxies: &Proxies,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            roots: Arc::clone(roots),
            proxies: proxies.clone(),
            authority: endpoint.authority.clone(),
            trust: endpoint.trust.clone(),
            agents: Mutex::new(HashMap::new()),
            scheme: Mutex::new(None),
            encryption: endpoint.encryption,
        }
    }

    /// Sends an order to the endpoint; its address begins with a slash and gets a scheme and a host here.
    pub(crate) fn send_to_endpoint(
        &self,
        order: &mut Order<'_>,
        extra: &[(String, String)],
    ) -> Result<Answer> {
        let path = order.address.clone();
        let known = *self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let schemes: &[&'static str] = match (self.encryption, known) {
            (_, Some("https")) | (Encryption::Always, _) => &["https"],
            (_, Some(_)) | (Encryption::Never, _) => &["http"],
            (Encryption::IfPossible, None) => &["https", "http"],
        };
        let mut outcome = None;
        for scheme in schemes {
            order.address = format!("{scheme}://{}{path}", self.authority);
            let answer = self.send(order, extra);
            let may_speak_other = matches!(&answer, Err(Error::Transport { source, .. }) if !matches!(source, TransportError::Timeout { .. }));
            if answer.is_ok() {
                *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
            }
            outcome = Some(answer);
            if !may_speak_other {
                break;
            }
        }
        outcome.unwrap_or_else(|| Err(Error::protocol(&path, "no scheme is left")))
    }

    /// Sends an order to any address.
    pub(crate) fn send(&self, order: &mut Order<'_>, extra: &[(String, String)]) -> Result<Answer> {
        let strange = || Error::protocol(&order.address, "only plain http and https addresses are followed");
        let uri: http::Uri = order.address.parse().map_err(|_| strange())?;
        let scheme = uri.scheme_str().unwrap_or_default().to_owned();
        let authority = &uri.authority().map(ToString::to_string).unwrap_or_default();
        if !matches!(scheme.as_str(), "http" | "https") || authority.is_empty() || authority.contains('@') {
            return Err(strange());
        }
        if let Ok(address) = host_of(authority).parse()
            && authority != &self.authority
            && is_of_link(address)
        {
            return Err(transport(order, TransportError::Forbidden { address }));
        }
        let agent = self.agent(scheme == "https", authority)?;
        let mut request = http::Request::builder().method(order.method).uri(uri);
        for (name, value) in &order.headers {
            request = request.header(*name, value);
        }
        for (name, value) in extra {
            request = request.header(name, value);
        }
        let malformed = |_| Error::protocol(&order.address, "a header of the request is malformed");
        let sent = match order.body {
            Payload::None => agent.run(request.body(()).map_err(malformed)?),
            Payload::Bytes(bytes) => agent.run(request.body(bytes).map_err(malformed)?),
        };
        sent.map_err(|error| transport(order, transport_error(error, authority)))
    }

    /// Whether an address is of the endpoint itself, where its credentials may go.
    pub(crate) fn is_own(&self, address: &str) -> bool {
        let scheme = *self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let own = scheme.map(|scheme| format!("{scheme}://{}", self.authority));
        own.is_some_and(|own| {
            address.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        })
    }

    /// The whole address of something at the endpoint.
    pub(crate) fn absolute(&self, path: &str) -> String {
        if path.contains("://") {
            return path.to_owned();
        }
        let scheme = if self.is_plain() { "http" } else { "https" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Whether the endpoint is spoken to without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) == Some("http")
    }

    /// How long nothing may come from the other side.
    pub(crate) fn idle(&self) -> Duration {
        self.settings.idle
    }

    fn agent(&self, encrypted: bool, authority: &str) -> Result<Agent> {
        let belief = match authority == self.authority {
            true => Belief::Own,
            false if self.settings.is_insecure(authority) => Belief::Blind,
            false => Belief::Strict,
        };
        let is_direct = self.is_direct(authority);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (belief, encrypted, is_direct);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.make_agent(key)?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn make_agent(&self, (belief, encrypted, is_direct): AgentKey) -> Result<Agent> {
        let mut builder = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(HEAD_SIZE_MAX)
            .timeout_connect(Some(CONNECT_PATIENCE.min(self.settings.idle)))
            .timeout_recv_response(Some(self.settings.idle))
            .timeout_per_read(Some(self.settings.idle))
            .timeout_per_write(Some(self.settings.idle))
            .input_buffer_size(128 << 10)
            .output_buffer_size(64 << 10)
            .user_agent(self.settings.user_agent.as_str())
            .accept("")
            .accept_encoding("");
        let proxy = if encrypted { &self.proxies.https } else { &self.proxies.http };
        builder = builder.proxy(match proxy.as_str() {
            proxy if proxy.is_empty() || is_direct => None,
            proxy => {
                Some(Proxy::new(proxy).map_err(|_| Error::protocol("proxy", "its address is malformed"))?)
            }
        });
        if encrypted {
            let trust = match belief {
                Belief::Own => self.trust.clone(),
                other => Trust { is_blind: other == Belief::Blind, ..Trust::default() },
            };
            builder = builder.tls_config(tls::configuration(&trust, &self.roots)?);
        }
        Ok(Agent::with_parts(
            builder.build(),
            DefaultConnector::new(),
            Names { of_stranger: belief != Belief::Own },
        ))
    }

    /// Whether a host is reached without a proxy (as curl and Go read `NO_PROXY`).
    fn is_direct(&self, authority: &str) -> bool {
        let host = host_of(authority).trim_end_matches('.');
        is_loopback(host)
            || self.proxies.none.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
                let suffix = rule.trim_start_matches('*').trim_start_matches('.');
                rule == "*"
                    || rule.eq_ignore_ascii_case(authority)
                    || host.eq_ignore_ascii_case(suffix)
                    || host.to_ascii_lowercase().ends_with(&format!(".{}", suffix.to_ascii_lowercase()))
            })
    }
}

/// Our own way from names to addresses.
#[derive(Debug)]
struct Names {
    /// Whether the names are of hosts that the user did not name: the other side could have chosen them
    /// to have us ask what only this machine can reach.
    of_stranger: bool,
}

/// Whether an address has a meaning on the local link only, where clouds tell machines their secrets.
fn is_of_link(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA_V6,
    }
}

/// The address by which Amazon's machines ask for their secrets over IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &http::Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let found = dns::addresses(host).map_err(|_| ureq::Error::HostNotFound)?;
        if let Some(address) = found.iter().copied().find(|address| self.of_stranger && is_of_link(*address))
        {
            return Err(ureq::Error::Io(std::io::Error::other(TransportError::Forbidden { address })));
        }
        let mut addresses = self.empty();
        // As many as fit.
        for address in found.into_iter().take(8) {
            addresses.push((address, port).into());
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn transport(order: &Order<'_>, source: TransportError) -> Error {
    Error::Transport { method: order.method, address: shown(&order.address), source }
}

fn transport_error(error: ureq::Error, authority: &str) -> TransportError {
    match error {
        ureq::Error::HostNotFound => TransportError::Name { host: host_of(authority).to_owned() },
        ureq::Error::Timeout(_) => TransportError::Timeout { reason: "no answer in time".to_owned() },
        ureq::Error::Rustls(error) => TransportError::Tls { reason: error.to_string() },
        ureq::Error::Tls(error) => TransportError::Tls { reason: error.to_owned() },
        ureq::Error::Io(error) => io_error(&error),
        other => TransportError::Connection { reason: other.to_string() },
    }
}

/// An error of a connection in words.
pub(crate) fn io_error(error: &std::io::Error) -> TransportError {
    if let Some(inner) = error.get_ref() {
        match inner.downcast_ref::<TransportError>() {
            Some(TransportError::Forbidden { address }) => {
                return TransportError::Forbidden { address: *address };
            }
            Some(TransportError::Timeout { reason }) => {
                return TransportError::Timeout { reason: reason.clone() };
            }
            _ => {}
        }
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return TransportError::Tls { reason: error.to_string() };
        }
        if matches!(inner.downcast_ref::<ureq::Error>(), Some(ureq::Error::Timeout(_))) {
            return TransportError::Timeout { reason: "nothing came for too long".to_owned() };
        }
    }
    if error.kind() == std::io::ErrorKind::TimedOut {
        return TransportError::Timeout { reason: "nothing came for too long".to_owned() };
    }
    if error.kind() == std::io::ErrorKind::ConnectionRefused {
        return TransportError::Refused;
    }
    let text = error.to_string();
    TransportError::Connection { reason: text.split(" (os error").next().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_lead_to_the_local_link() {
        for bad in ["169.254.169.254", "fe80::1", "::ffff:169.254.1.1", "fd00:ec2::254"] {
            assert!(is_of_link(bad.parse().unwrap()), "{bad}");
        }
        for good in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "192.0.2.1"] {
            assert!(!is_of_link(good.parse().unwrap()), "{good}");
        }
    }
}
