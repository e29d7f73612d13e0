//! `WWW-Authenticate`: what a registry wants to know (RFC 9110 section 11.6.1).

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token that somebody else gives out.
    Bearer(Bearer),
}

/// Where a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scope: String,
    pub(crate) error: String,
}

/// The challenges of all such headers, those that are not understood left out.
pub(crate) fn parse(headers: &[&str]) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for header in headers {
        let mut rest = *header;
        while let Some((scheme, after)) = word(rest) {
            let (parameters, after) = parameters(after);
            rest = after;
            let value = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            if scheme.eq_ignore_ascii_case("basic") {
                challenges.push(Challenge::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer") {
                challenges.push(Challenge::Bearer(Bearer {
                    realm: value("realm"),
                    service: value("service"),
                    scope: value("scope"),
                    error: value("error"),
                }));
            }
        }
    }
    challenges
}

/// The next token and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
    let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    let end = text.find(|letter| !is_token(letter)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The `name=value` pairs up to the next scheme, and what follows them.
fn parameters(text: &str) -> (Vec<(&str, String)>, &str) {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = word(rest) {
        let Some(value) = after.trim_start().strip_prefix('=') else { break };
        let Some((value, after)) = parameter_value(value.trim_start()) else { break };
        pairs.push((name, value));
        rest = after;
    }
    (pairs, rest)
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[place + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#;
        let Challenge::Bearer(bearer) = &parse(&[hub])[0] else { panic!() };
        assert_eq!(bearer.realm, "https://auth.docker.io/token");
        assert_eq!(bearer.scope, "repository:library/x:pull,push");
        assert_eq!(parse(&["Basic realm=\"Registry\""]), [Challenge::Basic]);
        let both = parse(&["Negotiate, Basic realm=x, bearer realm = \"a\\\"b\" , error=invalid_token"]);
        assert_eq!(both.len(), 2);
        let Challenge::Bearer(bearer) = &both[1] else { panic!() };
        assert_eq!((bearer.realm.as_str(), bearer.error.as_str()), ("a\"b", "invalid_token"));
    }

    proptest! {
        #[test]
        fn never_panics_and_always_ends(text in ".{0,200}") {
            let _ = parse(&[&text]);
        }

        #[test]
        fn what_is_quoted_comes_back(realm in "[ -~]{0,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer service=s, realm=\"{quoted}\", scope=x");
            let challenges = parse(&[&header]);
            let expected = Bearer { realm, service: "s".into(), scope: "x".into(), error: String::new() };
            prop_assert_eq!(challenges, vec![Challenge::Bearer(expected)]);
        }
    }
}
