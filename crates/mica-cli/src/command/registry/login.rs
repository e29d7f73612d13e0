//! `login`: keeps a credential for a registry, once the registry has said that it is right.

use super::registry;
use crate::args::{Matches, switch, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::credentials::{file, key_of, program};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::terminal::raw::hidden_line;
use mica_api::types::image::LoginRequest;
use mica_model::{Credential, Keyring};
use std::fs::File;
use std::io::Read;

/// The longest password that is read, in bytes.
const PASSWORD_SIZE_MAX: u64 = 64 << 10;

/// The exit code of shells for somebody who pressed Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["login"],
    summary: "Authenticate to a registry",
    operands: Operands::between(0, 1, &["[SERVER]"]),
    flags: || {
        vec![
            text("password", "string", "Password or Personal Access Token (PAT)").short('p'),
            switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
            text("username", "string", "Username").short('u'),
        ]
    },
    planned: &[],
    execute,
    examples: &[(
        "With a password out of a file",
        "login -u me --password-stdin registry.example < password",
    )],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let registry = registry(matches.operand(0));
    let keyring = context.keyring();
    let credential = match given(matches, context)? {
        Some(credential) => credential,
        None => match keyring.credential(&registry) {
            Some(known) if !matches.given("username") => {
                context.print_line("Authenticating with existing credentials...")?;
                known
            }
            _ => asked(matches, context)?,
        },
    };
    let access = context.registry_access(&keyring);
    let request = LoginRequest { registry: registry.clone(), credential, access };
    let credential = context.engine()?.registry_login(&request)?;
    let path = context.config.file_path();
    let kept = match keyring.file().helper_of(&registry) {
        Some(name) => program::store(name, &key_of(&registry), &credential),
        None => {
            context.say_error(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
                 Configure a credential helper to remove this warning.\n\n",
                path.display()
            ));
            file::change(&path, &registry, Some(&credential)).map(drop)
        }
    };
    kept.map_err(|source| Failure::File {
        action: "keep the credential in",
        path: path.display().to_string(),
        source,
    })?;
    context.print_line("Login Succeeded")?;
    Ok(SUCCESS)
}

/// The credential, if all of it was typed or piped.
fn given(matches: &Matches, context: &Context<'_>) -> Result<Option<Credential>, Failure> {
    let username = matches.text_or_empty("username");
    let password = matches.text_or_empty("password");
    if matches.on("password-stdin") {
        if matches.given("password") {
            return Err(Failure::refused("--password and --password-stdin are mutually exclusive"));
        }
        if username.is_empty() {
            return Err(Failure::refused("Must provide --username with --password-stdin"));
        }
        let mut text = String::new();
        let read = input(context)?.take(PASSWORD_SIZE_MAX).read_to_string(&mut text);
        read.map_err(input_failure)?;
        let password = text.trim_end_matches('\n').trim_end_matches('\r').to_owned();
        return complete(username, password).map(Some);
    }
    if matches.given("password") {
        context.warn("Using --password via the CLI is insecure. Use --password-stdin.");
        return complete(username, password).map(Some);
    }
    Ok(None)
}

fn complete(username: String, password: String) -> Result<Credential, Failure> {
    if username.is_empty() {
        return Err(Failure::refused("username is required"));
    }
    if password.is_empty() {
        return Err(Failure::refused("password is required"));
    }
    Ok(Credential::Basic { username, password })
}

/// The credential, asked of whoever sits at the terminal.
fn asked(matches: &Matches, context: &Context<'_>) -> Result<Credential, Failure> {
    if !context.terminals().input {
        return Err(Failure::refused("Cannot perform an interactive login from a non TTY device"));
    }
    let mut username = matches.text_or_empty("username");
    if username.is_empty() {
        context.print("Username: ")?;
        username = line(context)?;
    }
    let ask = || drop(context.print("Password: "));
    let password = hidden_line(context.input_descriptor(), ask).map_err(input_failure)?;
    context.print_line("")?;
    let Some(password) = password else { return Err(Failure::Reported { code: INTERRUPTED }) };
    complete(username, password)
}

/// A line, byte by byte: what follows belongs to the next question.
fn line(context: &Context<'_>) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut input = input(context)?;
    let mut byte = [0];
    while text.len() as u64 <= PASSWORD_SIZE_MAX && input.read(&mut byte).map_err(input_failure)? > 0 {
        if byte[0] == b'\n' {
            break;
        }
        text.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\r').to_owned())
}

fn input(context: &Context<'_>) -> Result<File, Failure> {
    context.input_descriptor().try_clone_to_owned().map(File::from).map_err(input_failure)
}

fn input_failure(source: std::io::Error) -> Failure {
    Failure::File { action: "read", path: "standard input".to_owned(), source }
}
