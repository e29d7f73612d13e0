//! Credential helpers: the programs `docker-credential-NAME` that the user's `config.json` names.

use mica_model::Credential;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// What helpers call the name that stands for a token.
const TOKEN_NAME: &str = "<token>";
/// How helpers begin to say that they know nothing.
const UNKNOWN: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// The credential that a helper has for `key`.
///
/// # Errors
/// The helper cannot be run, or failed.
pub fn get(name: &str, key: &str) -> io::Result<Option<Credential>> {
    let answer = match ask(name, "get", key.as_bytes()) {
        Err(error) if error.to_string().contains(UNKNOWN) => return Ok(None),
        other => other?,
    };
    let message: Message = serde_json::from_slice(&answer)?;
    Ok(Some(match message.username.as_str() {
        TOKEN_NAME => Credential::IdentityToken(message.secret),
        _ => Credential::Basic { username: message.username, password: message.secret },
    }))
}

/// Hands a credential to a helper.
///
/// # Errors
/// The helper cannot be run, or failed.
pub fn store(name: &str, key: &str, credential: &Credential) -> io::Result<()> {
    let (username, secret) = match credential {
        Credential::Basic { username, password } => (username.clone(), password.clone()),
        Credential::IdentityToken(token) | Credential::BearerToken(token) => {
            (TOKEN_NAME.to_owned(), token.clone())
        }
    };
    let message = Message { server_url: key.to_owned(), username, secret };
    ask(name, "store", &serde_json::to_vec(&message)?).map(drop)
}

/// Has a helper forget a credential.
///
/// # Errors
/// The helper cannot be run, or failed.
pub fn erase(name: &str, key: &str) -> io::Result<()> {
    ask(name, "erase", key.as_bytes()).map(drop)
}

fn ask(name: &str, verb: &str, input: &[u8]) -> io::Result<Vec<u8>> {
    let program = format!("docker-credential-{name}");
    // The name comes from a file: it is not to lead to a program elsewhere.
    if name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of a helper is not a path"));
    }
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read is seen by what it answers.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words: String = String::from_utf8_lossy(&output.stdout).trim().chars().take(300).collect();
    Err(io::Error::other(format!("{program}: {words}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_is_not_there_is_an_error_and_a_path_too() {
        assert!(get("surely-not-installed", "x").is_err());
        assert!(get("../../bin/true", "x").unwrap_err().to_string().contains("path"));
    }
}
