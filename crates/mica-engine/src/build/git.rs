//! Git repositories, by way of the program `git` of this machine, as docker's builder has them, too.
//!
//! It runs with the user's own configuration, because that is where credentials, proxies and keys are, but without
//! hooks and templates, never asks anything, and takes nothing that comes from a Dockerfile for an option.

use super::crew::{Crew, given_up};
use crate::error::{Error, Result};
use mica_model::GitSource;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

/// Variables by which a git that runs us would make ours work on its own repository.
const FOREIGN_VARIABLES: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_TEMPLATE_DIR",
];

/// The most of what git says that is shown, in characters.
const WORDS_MAX: usize = 2000;

/// What a source means at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// Its digest in hexadecimal digits.
    pub(super) id: String,
    /// The full reference that means it, if it was asked for by one.
    reference: Option<String>,
}

/// Asks a repository what a reference means.
pub(super) fn resolve(crew: &Crew, source: &GitSource) -> Result<Commit> {
    match is_commit(&source.reference) {
        true => Ok(Commit { id: source.reference.to_ascii_lowercase(), reference: None }),
        false => ask(crew, source),
    }
}

/// Refuses a commit that is not the one that was promised.
pub(super) fn verify(commit: &Commit, checksum: &str) -> Result<()> {
    if commit.id.starts_with(checksum) {
        return Ok(());
    }
    Err(Error::invalid(format!("expected checksum to match {checksum}, got {}", commit.id)))
}

fn ask(crew: &Crew, source: &GitSource) -> Result<Commit> {
    let wanted = if source.reference.is_empty() { "HEAD" } else { &source.reference };
    let peeled = format!("{wanted}^{{}}");
    let mut command = git();
    command.args(["ls-remote", "--quiet", "--", &source.remote, wanted, &peeled]);
    let answer = run(crew, &mut command, "ls-remote")?;
    let lines = String::from_utf8_lossy(&answer.stdout);
    choose(&lines, wanted).ok_or_else(|| {
        let repository = mica_model::remote_source::without_credentials(&source.remote);
        Error::invalid(format!("repository {repository} does not contain ref {wanted}"))
    })
}

/// Which of the lines of `ls-remote` is meant: the full name, a branch before a tag, and of a tag what it points to.
fn choose(lines: &str, wanted: &str) -> Option<Commit> {
    let found = |name: &str| {
        let mut commits = lines.lines().filter_map(|line| line.split_once('\t'));
        let id = commits.find(|(id, known)| *known == name && is_commit(id))?.0.to_owned();
        let reference = Some(name.trim_end_matches("^{}").to_owned());
        Some(Commit { id, reference })
    };
    let names = [
        wanted.to_owned(),
        format!("refs/{wanted}"),
        format!("refs/heads/{wanted}"),
        format!("refs/tags/{wanted}"),
    ];
    let names = if wanted == "HEAD" || wanted.starts_with("refs/") { &names[..1] } else { &names[1..] };
    names.iter().find_map(|name| found(&format!("{name}^{{}}")).or_else(|| found(name)))
}

/// Whether this is the whole digest of a commit.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Brings a commit into an empty directory, with `.git`.
pub(super) fn check_out(crew: &Crew, source: &GitSource, commit: &Commit, directory: &Path) -> Result<()> {
    let at = || {
        let mut command = git();
        command.arg("-C").arg(directory);
        command
    };
    let format = if commit.id.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    run(crew, at().args(["init", "--quiet", "--template=", format]), "init")?;
    run(crew, at().args(["config", "remote.origin.url", &source.remote]), "config")?;
    let wanted = commit.reference.as_deref().unwrap_or(&commit.id);
    let fetch = |depth: &[&str], wanted: &[&str]| {
        let mut command = at();
        command.args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--update-head-ok"]);
        run(crew, command.args(depth).args(["--", "origin"]).args(wanted), "fetch")
    };
    let everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
    // Not every server gives a part of the history, or a commit by its digest.
    let came = fetch(&["--depth=1"], &[wanted]).or_else(|_| fetch(&[], &[wanted]));
    came.or_else(|error| if commit.reference.is_none() { fetch(&[], &everything) } else { Err(error) })?;
    run(crew, at().args(["checkout", "--quiet", "--force", "--detach", &commit.id]), "checkout")?;
    if source.submodules != Some(false)
        && directory.join(".gitmodules").symlink_metadata().is_ok_and(|file| file.is_file())
    {
        let update = |depth: &[&str]| {
            let mut command = at();
            command.args(["submodule", "--quiet", "update", "--init", "--recursive"]);
            run(crew, command.args(depth), "submodule update")
        };
        update(&["--depth=1"]).or_else(|_| update(&[]))?;
    }
    Ok(())
}

/// When the commit that is checked out was made, in seconds since the epoch.
pub(super) fn commit_seconds(crew: &Crew, directory: &Path) -> Result<i64> {
    let mut command = git();
    let shown = run(crew, command.arg("-C").arg(directory).args(["log", "-1", "--format=%ct"]), "log")?;
    let text = String::from_utf8_lossy(&shown.stdout);
    text.trim().parse().map_err(|_| Error::invalid(format!("git log: {text:?} is no time")))
}

fn git() -> Command {
    let mut command = Command::new("git");
    for name in FOREIGN_VARIABLES {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    for setting in
        ["core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "gc.auto=0"]
    {
        command.args(["-c", setting]);
    }
    command
}

/// Reads a stream, so that a full pipe holds nobody up.
fn gather(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before it broke off is what there is.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Runs it to its end, or until another step has failed.
fn run(crew: &Crew, command: &mut Command, action: &'static str) -> Result<Output> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::NoProgram { program: "git", purpose: "sources from git repositories" }
        }
        _ => Error::Io { action: "run", path: "git".into(), source },
    };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let helper = crew.helper(&child);
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let status = child.wait().map_err(failed)?;
    drop(helper);
    if crew.is_cancelled() {
        // What it has started itself may hold on to its output for a while.
        return Err(given_up());
    }
    let whole = |part: JoinHandle<Vec<u8>>| part.join().unwrap_or_default();
    let output = Output { status, stdout: whole(stdout), stderr: whole(stderr) };
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let shown = words.trim().chars().filter(|letter| *letter == '\n' || !letter.is_control());
    Err(Error::Git { action, words: shown.take(WORDS_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_comes_before_a_tag_and_a_tag_means_what_it_points_to() {
        let id = |letter: &str| letter.repeat(40);
        let lines = format!(
            "{}\tHEAD\n{}\trefs/heads/v1\n{}\trefs/heads/x/v1\n{}\trefs/tags/v1\n{}\trefs/tags/v1^{{}}\n{}\trefs/tags/v2\n",
            id("a"),
            id("b"),
            id("c"),
            id("d"),
            id("e"),
            id("f")
        );
        let chosen = |wanted: &str| choose(&lines, wanted).map(|commit| commit.id);
        assert_eq!(chosen("HEAD"), Some(id("a")));
        assert_eq!(chosen("v1"), Some(id("b")));
        assert_eq!(chosen("tags/v1"), Some(id("e")));
        assert_eq!(chosen("refs/tags/v1"), Some(id("e")));
        assert_eq!(chosen("v2"), Some(id("f")));
        assert_eq!(chosen("v3"), None);
    }
}
