//! Tokens from whoever a registry names (distribution `spec/auth/token.md` and `oauth.md`).

use crate::challenge::Bearer;
use crate::error::{Error, Result, without_query};
use crate::session::{read_bounded, refused};
use crate::wire::{Order, Payload, Wire};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_model::Credential;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The longest answer with a token, in bytes.
const ANSWER_SIZE_MAX: u64 = 1 << 20;
/// How long a token lives when nothing is said.
const LIFE_DEFAULT: Duration = Duration::from_secs(60);
/// So much earlier than it ends a token is renewed.
const EARLIER: Duration = Duration::from_secs(5);
/// What we call ourselves to givers of tokens.
const CLIENT: &str = "mica";

/// A token, and when it is over.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) until: Option<Instant>,
    /// One that stands for the password from now on; empty if there is none.
    pub(crate) identity: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct TokenAnswer {
    token: String,
    access_token: String,
    refresh_token: String,
    expires_in: Option<u64>,
}

/// Asks for a token for `scopes`; `is_login` wants one for the time after, too.
pub(crate) fn fetch(
    wire: &Wire,
    bearer: &Bearer,
    scopes: &[String],
    (credential, is_login): (Option<&Credential>, bool),
) -> Result<Token> {
    match credential {
        Some(Credential::IdentityToken(token)) => {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            post(wire, bearer, scopes, &fields)
        }
        _ => get(wire, bearer, scopes, (credential, is_login)),
    }
}

fn get(
    wire: &Wire,
    bearer: &Bearer,
    scopes: &[String],
    (credential, is_login): (Option<&Credential>, bool),
) -> Result<Token> {
    let mut query = vec![format!("client_id={CLIENT}")];
    if let Some(Credential::Basic { username, .. }) = credential {
        query.push(format!("account={}", encode(username)));
        query.extend(is_login.then(|| "offline_token=true".to_owned()));
    }
    if !bearer.service.is_empty() {
        query.push(format!("service={}", encode(&bearer.service)));
    }
    query.extend(asked(bearer, scopes).iter().map(|scope| format!("scope={}", encode(scope))));
    let separator = if bearer.realm.contains('?') { '&' } else { '?' };
    let mut order = Order::new("GET", format!("{}{separator}{}", bearer.realm, query.join("&")));
    if let Some(Credential::Basic { username, password }) = credential {
        order = order
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))));
    }
    answer(wire, order)
}

fn post(wire: &Wire, bearer: &Bearer, scopes: &[String], fields: &[(&str, &str)]) -> Result<Token> {
    let scope = asked(bearer, scopes).join(" ");
    let common = [("service", bearer.service.as_str()), ("client_id", CLIENT), ("scope", scope.as_str())];
    let pairs = fields.iter().chain(&common).filter(|(_, value)| !value.is_empty());
    let body = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    let order = Order::new("POST", bearer.realm.clone())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Payload::Bytes(body.as_bytes()));
    answer(wire, order)
}

/// What we want, else what the registry says that we want.
fn asked(bearer: &Bearer, scopes: &[String]) -> Vec<String> {
    match (scopes, bearer.scope.as_str()) {
        ([], "") => Vec::new(),
        ([], scope) => scope.split(' ').map(str::to_owned).collect(),
        (scopes, _) => scopes.to_vec(),
    }
}

fn answer(wire: &Wire, mut order: Order<'_>) -> Result<Token> {
    let answer = wire.send(&mut order, &[])?;
    match answer.status().as_u16() {
        200..300 => {}
        // The address was given by the registry; it is not to send us on.
        300..400 => return Err(Error::protocol(&order.address, "tokens are not fetched by redirects")),
        _ => return Err(refused(&order, answer)),
    }
    let what = format!("the answer with a token of {}", without_query(&order.address));
    let bytes = read_bounded(answer.into_body(), ANSWER_SIZE_MAX, &what, wire.idle())?;
    let parsed: TokenAnswer = serde_json::from_slice(&bytes)
        .map_err(|_| Error::protocol(&order.address, "the answer holds no token"))?;
    let text = if parsed.token.is_empty() { parsed.access_token } else { parsed.token };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::protocol(&order.address, "the answer holds no usable token"));
    }
    let life = parsed.expires_in.map_or(LIFE_DEFAULT, Duration::from_secs).max(EARLIER * 2);
    let identity = parsed.refresh_token;
    if !identity.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::protocol(&order.address, "the answer holds no usable token"));
    }
    Ok(Token { text, until: Instant::now().checked_add(life - EARLIER), identity })
}

/// A text as part of a query (RFC 3986 section 2.3).
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(encode("repository:a/b:pull,push é"), "repository%3Aa%2Fb%3Apull%2Cpush%20%C3%A9");
    }

    #[test]
    fn our_own_scopes_come_before_those_of_the_registry() {
        let bearer = Bearer { scope: "a b".to_owned(), ..Bearer::default() };
        assert_eq!(asked(&bearer, &["c".to_owned()]), ["c"]);
        assert_eq!(asked(&bearer, &[]), ["a", "b"]);
        assert!(asked(&Bearer::default(), &[]).is_empty());
    }
}
