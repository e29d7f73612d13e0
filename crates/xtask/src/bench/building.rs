//! Builds that are timed: many small steps, one large one, what is known already, and stages that need not wait.

use super::peer::{Peer, timed};
use super::scenario::{ask, settle};
use super::workshop::Workshop;
use crate::failure::Failure;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is built is called.
pub(super) const NAME: &str = "bench-built";

/// A command that keeps one processor busy for a while. Those of several stages are told apart by their numbers: what is the
/// same on the same base is done once.
fn work(number: usize) -> String {
    format!("RUN : {number}; n=0; while [ $n -lt 400000 ]; do n=$((n+1)); done\n")
}

/// Thirty commands, none of them known.
pub(super) fn commands(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context = made(workshop, "commands", |directory| dockerfile(directory, &thirty()));
    built(peer, context, &["--no-cache"])
}

/// Thirty commands, all of them known.
pub(super) fn known_commands(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context = made(workshop, "commands", |directory| dockerfile(directory, &thirty()));
    known(peer, context)
}

/// A large context in which one file has changed.
pub(super) fn changed_copy(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context = made(workshop, "copy", |directory| {
        files(&directory.join("files"), 5_000, 40_000)?;
        dockerfile(directory, "COPY files /files\nRUN true\n")
    });
    let context = context.and_then(|directory| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut content = vec![0; 40_000];
        fill(&mut content, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) | 1);
        let changed = directory.join("files/0/0");
        fs::write(&changed, content).map_err(Failure::file(changed))?;
        settle().map(|()| directory)
    });
    built(peer, context, &[])
}

/// A context of very many files, all of them known.
pub(super) fn known_context(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context = made(workshop, "context", |directory| {
        files(&directory.join("files"), 60_000, 100)?;
        dockerfile(directory, "COPY files /files\nRUN true\n")
    });
    known(peer, context)
}

/// Four stages that do not need each other.
pub(super) fn stages(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context = made(workshop, "stages", |directory| {
        let stage = |number| format!("FROM busybox AS s{number}\n{}RUN echo > /made\n", work(number));
        let stages: String = (0..4).map(stage).collect();
        let copies: String =
            (0..4).map(|number| format!("COPY --from=s{number} /made /{number}\n")).collect();
        dockerfile(directory, &format!("{stages}FROM busybox\n{copies}"))
    });
    built(peer, context, &["--no-cache"])
}

/// The same work in one stage.
pub(super) fn one_stage(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let context =
        made(workshop, "stage", |directory| dockerfile(directory, &(0..4).map(work).collect::<String>()));
    built(peer, context, &["--no-cache"])
}

fn thirty() -> String {
    (0..30).map(|number| format!("RUN echo {number}\n")).collect()
}

/// A context, made when it is asked for first.
fn made(
    workshop: &Workshop,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<PathBuf, Failure> {
    let directory = workshop.path(&format!("build-{name}"));
    if !directory.exists() {
        fs::create_dir_all(&directory).map_err(Failure::file(&directory))?;
        make(&directory)?;
        settle()?;
    }
    Ok(directory)
}

fn dockerfile(directory: &Path, steps: &str) -> Result<(), Failure> {
    let path = directory.join("Dockerfile");
    fs::write(&path, format!("FROM busybox\n{steps}")).map_err(Failure::file(path))
}

/// So many files of this size with contents that no compressor shortens, a hundred in each directory.
fn files(directory: &Path, count: usize, size: usize) -> Result<(), Failure> {
    let mut content = vec![0; size];
    for number in 0..count {
        let parent = directory.join((number / 100).to_string());
        if number % 100 == 0 {
            fs::create_dir_all(&parent).map_err(Failure::file(&parent))?;
        }
        fill(&mut content, number as u64 + 1);
        let path = parent.join(number.to_string());
        fs::write(&path, &content).map_err(Failure::file(path))?;
    }
    Ok(())
}

fn fill(content: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for word in content.chunks_exact_mut(8) {
        // xorshift64: quick, and random enough for this.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

fn built(
    peer: &Peer,
    context: Result<PathBuf, Failure>,
    flags: &[&str],
) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["build", "-q", "--network", "none", "-t", NAME])?;
    Some(context.and_then(|context| timed(command.args(flags).arg(context))))
}

fn known(peer: &Peer, context: Result<PathBuf, Failure>) -> Option<Result<Duration, Failure>> {
    let context = match context {
        Ok(context) => context,
        Err(failure) => return Some(Err(failure)),
    };
    let place = context.display().to_string();
    let first =
        peer.is_engine().then(|| ask(peer, &["build", "-q", "--network", "none", "-t", NAME, &place]))?;
    match first {
        Ok(()) => built(peer, Ok(context), &[]),
        Err(failure) => Some(Err(failure)),
    }
}
