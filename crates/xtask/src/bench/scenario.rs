//! The work that is timed: one function per scenario, each doing its own preparing and clearing away.

use super::building;
use super::peer::{Kind, Peer, timed, words};
use super::registry;
use super::workshop::Workshop;
use crate::build;
use crate::failure::Failure;
use std::process::Command;
use std::time::Duration;

/// A kind of work.
pub(super) struct Scenario {
    /// What `--only` and the table call it.
    pub name: &'static str,
    /// The work in words.
    pub about: &'static str,
    /// Whether one round takes seconds, so that there are fewer.
    pub is_long: bool,
    /// Does it once; nothing when the peer cannot be asked for it.
    pub action: fn(&Peer, &Workshop) -> Option<Result<Duration, Failure>>,
}

/// How many containers are listed by `ps`.
const LISTED: usize = 200;

/// All scenarios, in the order of the table.
pub(super) const ALL: &[Scenario] = &[
    Scenario { name: "run", about: "`run --rm --network none busybox true`", is_long: false, action: run },
    Scenario { name: "create", about: "`create`", is_long: false, action: create },
    Scenario { name: "rm", about: "`rm` of a created container", is_long: false, action: remove },
    Scenario {
        name: "rm-f",
        about: "`rm -f` of a running container",
        is_long: false,
        action: remove_running,
    },
    Scenario { name: "stop", about: "`stop` of a willing process", is_long: false, action: stop },
    Scenario { name: "exec", about: "`exec c true`", is_long: false, action: exec },
    Scenario { name: "ps", about: "`ps -a` with 200 containers", is_long: true, action: list },
    Scenario { name: "images", about: "`images`", is_long: false, action: images },
    Scenario { name: "load", about: "`load` of 640 MB in 60000 files; `tar x`", is_long: true, action: load },
    Scenario { name: "save", about: "`save` of it; `cat`", is_long: true, action: save },
    Scenario {
        name: "pull",
        about: "`pull` of 640 MB in 60000 files and eight layers; `wget | gzip -dc | tar x` of two at a time",
        is_long: true,
        action: registry::pull,
    },
    Scenario {
        name: "pull-known",
        about: "the same with everything present",
        is_long: true,
        action: registry::pull_known,
    },
    Scenario {
        name: "push",
        about: "`push` of it, all layers compressed",
        is_long: true,
        action: registry::push,
    },
    Scenario {
        name: "build",
        about: "`build --no-cache` of 30 `RUN echo`",
        is_long: true,
        action: building::commands,
    },
    Scenario {
        name: "build-known",
        about: "the same, all known",
        is_long: false,
        action: building::known_commands,
    },
    Scenario {
        name: "build-copy",
        about: "`COPY` of 5,000 files, 200 MB, one of them changed, and `RUN true`",
        is_long: true,
        action: building::changed_copy,
    },
    Scenario {
        name: "build-context",
        about: "a context of 60,000 files, all known",
        is_long: true,
        action: building::known_context,
    },
    Scenario {
        name: "build-stages",
        about: "four stages of equal work",
        is_long: true,
        action: building::stages,
    },
    Scenario {
        name: "build-stage",
        about: "the same work in one stage",
        is_long: true,
        action: building::one_stage,
    },
];

/// The options of every container: without a network, so that all do the same.
const DETACHED: [&str; 5] = ["run", "-d", "--network", "none", "--name"];

/// A process that ends when it is asked to.
const WILLING: [&str; 4] = ["busybox", "sh", "-c", "trap 'exit 0' TERM; : > /ready; sleep 1000 & wait"];

fn run(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    match &peer.kind {
        Kind::Engine { .. } => peer
            .engine(&["run", "--rm", "--network", "none", "busybox", "true"])
            .map(|mut command| timed(&mut command)),
        Kind::Bundle { prefix } => Some(
            workshop
                .bundle(peer.name)
                .and_then(|bundle| timed(words(prefix).arg("run").arg("--bundle").arg(bundle).arg("bench"))),
        ),
        Kind::Bubblewrap => {
            let root = workshop.path("bundle/rootfs");
            let mut command = Command::new("bwrap");
            command
                .arg("--unshare-all")
                .arg("--bind")
                .arg(root)
                .args(["/", "--proc", "/proc", "--dev", "/dev", "true"]);
            Some(timed(&mut command))
        }
        Kind::Plain => None,
    }
}

fn create(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["create", "--network", "none", "--name", "bench", "busybox", "true"])?;
    Some(timed(&mut command).and_then(|took| ask(peer, &["rm", "bench"]).map(|()| took)))
}

fn remove(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["rm", "bench"])?;
    let made = ask(peer, &["create", "--network", "none", "--name", "bench", "busybox", "true"]);
    Some(made.and_then(|()| timed(&mut command)))
}

fn remove_running(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["rm", "-f", "bench"])?;
    // Podman asks before it kills, so only a willing process compares alike.
    Some(start_willing(peer).and_then(|()| timed(&mut command)))
}

fn stop(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["stop", "bench"])?;
    let took = start_willing(peer).and_then(|()| timed(&mut command));
    Some(took.and_then(|took| ask(peer, &["rm", "bench"]).map(|()| took)))
}

fn exec(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["exec", "bench", "true"])?;
    let took = start(peer, &["busybox", "sleep", "1000"]).and_then(|()| timed(&mut command));
    Some(took.and_then(|took| ask(peer, &["rm", "-f", "bench"]).map(|()| took)))
}

fn list(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    let mut command = peer.engine(&["ps", "-a"])?;
    let names: Vec<String> = (0..LISTED).map(|number| format!("bench{number}")).collect();
    let made = names
        .iter()
        .try_for_each(|name| ask(peer, &["create", "--network", "none", "--name", name, "busybox", "true"]));
    let took = made.and_then(|()| timed(&mut command));
    let mut all = vec!["rm"];
    all.extend(names.iter().map(String::as_str));
    Some(took.and_then(|took| ask(peer, &all).map(|()| took)))
}

fn images(peer: &Peer, _: &Workshop) -> Option<Result<Duration, Failure>> {
    peer.engine(&["images"]).map(|mut command| timed(&mut command))
}

fn load(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let (archive, layer) = match workshop.large() {
        Ok(paths) => paths,
        Err(failure) => return Some(Err(failure)),
    };
    if let Kind::Plain = peer.kind {
        let target = workshop.path("plain");
        let made = std::fs::create_dir_all(&target).map_err(Failure::file(&target));
        let took =
            made.and_then(|()| timed(Command::new("tar").arg("-xf").arg(layer).arg("-C").arg(&target)));
        drop(std::fs::remove_dir_all(&target));
        return Some(took);
    }
    let mut command = peer.engine(&["load", "-q", "-i"])?;
    // The first round has nothing to remove.
    drop(ask(peer, &["rmi", "large"]));
    Some(settle().and_then(|()| timed(command.arg(archive))))
}

fn save(peer: &Peer, workshop: &Workshop) -> Option<Result<Duration, Failure>> {
    let (archive, _) = match workshop.large() {
        Ok(paths) => paths,
        Err(failure) => return Some(Err(failure)),
    };
    let target = workshop.path("saved.tar");
    let took = match peer.kind {
        Kind::Plain => {
            let quoted = format!("cat '{}' > '{}'", archive.display(), target.display());
            settle().and_then(|()| timed(Command::new("sh").args(["-c", &quoted])))
        }
        _ => {
            let mut command = peer.engine(&["save", "-o"])?;
            let loaded = if ask(peer, &["image", "inspect", "large"]).is_ok() {
                Ok(())
            } else {
                ask(peer, &["load", "-q", "-i", &archive.display().to_string()])
            };
            loaded.and_then(|()| settle()).and_then(|()| timed(command.arg(&target).arg("large")))
        }
    };
    drop(std::fs::remove_file(&target));
    Some(took)
}

/// Waits until the disk has written what earlier work left, so that nobody pays for another.
pub(super) fn settle() -> Result<(), Failure> {
    build::capture(&mut Command::new("sync")).map(drop)
}

/// Starts the container `bench`.
fn start(peer: &Peer, process: &[&str]) -> Result<(), Failure> {
    let mut arguments = DETACHED.to_vec();
    arguments.push("bench");
    arguments.extend(process);
    ask(peer, &arguments)
}

/// Starts the container `bench` with a process that ends when asked, and waits until it would.
fn start_willing(peer: &Peer) -> Result<(), Failure> {
    start(peer, &WILLING)?;
    ask(peer, &["exec", "bench", "sh", "-c", "until [ -e /ready ]; do usleep 1000; done"])
}

/// Has an engine do something that is not timed.
pub(super) fn ask(peer: &Peer, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = peer
        .engine(arguments)
        .ok_or_else(|| Failure::Usage { text: format!("{} is no engine", peer.name) })?;
    build::capture(&mut command).map(drop)
}
