//! `cargo xtask bench`: times the same work on this engine and on every peer that is installed, and prints a table.
//!
//! In each round every peer does each piece of work once, so that a machine that drifts treats all alike. The first
//! round warms up and is not counted. Nothing is asserted: the numbers are for people.

mod building;
mod peer;
mod registry;
mod scenario;
mod workshop;

use crate::build::{self, Profile};
use crate::failure::Failure;
use crate::packages;
use peer::Peer;
use scenario::Scenario;
use std::fmt::Write as _;
use std::time::Duration;
use workshop::Workshop;

/// How many rounds are counted unless told.
const ROUNDS_DEFAULT: usize = 9;

/// How many times fewer rounds there are of work that takes long.
const LONG_DIVISOR: usize = 3;

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    only: Option<Vec<String>>,
    rounds: Option<usize>,
    docker: Option<String>,
}

/// Measures and prints the table as Markdown.
pub(crate) fn run(words: &[&str]) -> Result<(), Failure> {
    let options = parse(words)?;
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Root { what: "bench" });
    }
    packages::install(&[
        ("busybox-static", "/bin/busybox"),
        ("docker-registry", "/usr/bin/docker-registry"),
        ("skopeo", "/usr/bin/skopeo"),
        ("wget", "/usr/bin/wget"),
    ])?;
    let mica = build::mica(Profile::Release)?;
    let workshop = Workshop::new()?;
    let peers = Peer::all(&mica, &workshop, options.docker.as_deref());
    let peers: Vec<Peer> = peers.into_iter().filter(is_ready).collect();
    let heading: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
    println!("| work | {} |", heading.join(" | "));
    println!("|---|{}", "---|".repeat(peers.len()));
    let wanted = |scenario: &&Scenario| {
        options.only.as_ref().is_none_or(|only| only.iter().any(|name| name == scenario.name))
    };
    for scenario in scenario::ALL.iter().filter(wanted) {
        let rounds = options.rounds.unwrap_or(ROUNDS_DEFAULT);
        let rounds = if scenario.is_long { rounds.div_ceil(LONG_DIVISOR) } else { rounds };
        println!("{}", row(scenario, &measure(scenario, &peers, &workshop, rounds)));
    }
    for peer in peers.iter().filter(|peer| peer.is_engine()) {
        drop(scenario::ask(peer, &["rmi", "-f", "large"]));
        drop(scenario::ask(peer, &["rmi", "-f", building::NAME]));
        drop(scenario::ask(peer, &["rmi", "-f", "busybox"]));
    }
    // Podman keeps its storage directory mounted on itself.
    drop(build::capture(std::process::Command::new("umount").arg(workshop.path("podman-root/overlay"))));
    Ok(())
}

fn parse(words: &[&str]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let wrong = |text: String| Failure::Usage { text };
    for pair in words.chunks(2) {
        match pair {
            ["--only", names] => {
                let names: Vec<String> = names.split(',').map(str::to_owned).collect();
                if let Some(unknown) =
                    names.iter().find(|name| scenario::ALL.iter().all(|known| known.name != **name))
                {
                    let known: Vec<&str> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
                    return Err(wrong(format!(
                        "no work is called `{unknown}`; there are {}",
                        known.join(", ")
                    )));
                }
                options.only = Some(names);
            }
            ["--rounds", count] => {
                let count = count.parse().map_err(|_| wrong(format!("`{count}` is no number of rounds")))?;
                options.rounds = Some(count);
            }
            ["--docker", socket] => options.docker = Some((*socket).to_owned()),
            _ => {
                return Err(wrong(
                    "usage: cargo xtask bench [--only A,B] [--rounds N] [--docker SOCKET]".into(),
                ));
            }
        }
    }
    Ok(options)
}

/// Whether a peer can take part: an engine needs the busybox image.
fn is_ready(peer: &Peer) -> bool {
    if !peer.is_engine() {
        return true;
    }
    let loaded = e2e::fixture::busybox_archive()
        .map_err(Failure::file("busybox.tar"))
        .and_then(|archive| scenario::ask(peer, &["load", "-q", "-i", &archive.display().to_string()]));
    if let Err(failure) = &loaded {
        eprintln!("{} does not take part: {failure}", peer.name);
    }
    loaded.is_ok()
}

/// The times of each peer, in the order of the peers; empty for who cannot do it.
fn measure(scenario: &Scenario, peers: &[Peer], workshop: &Workshop, rounds: usize) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); peers.len()];
    let mut taking_part: Vec<(&Peer, &mut Vec<Duration>)> = peers.iter().zip(&mut times).collect();
    for round in 0..=rounds {
        taking_part.retain_mut(|(peer, times)| match (scenario.action)(peer, workshop) {
            Some(Ok(took)) => {
                if round > 0 {
                    times.push(took);
                }
                true
            }
            Some(Err(failure)) => {
                eprintln!("{} {}: {failure}", scenario.name, peer.name);
                // Whatever it got done must not stand in the way of the next scenario.
                drop(scenario::ask(peer, &["rm", "-f", "bench"]));
                false
            }
            None => false,
        });
    }
    times
}

/// One row: medians in milliseconds, and how many times ours each peer's is.
fn row(scenario: &Scenario, times: &[Vec<Duration>]) -> String {
    let mut text = format!("| {}: {} |", scenario.name, scenario.about);
    let ours = times.first().and_then(|times| median(times));
    for (at, times) in times.iter().enumerate() {
        let _ = match (median(times), ours) {
            (None, _) => write!(text, " |"),
            (Some(time), Some(ours)) if at > 0 => write!(text, " {time:.1} ms ({:.1}x) |", time / ours),
            (Some(time), _) => write!(text, " {time:.1} ms |"),
        };
    }
    text
}

fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map(|time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood() {
        let options = parse(&["--only", "run,exec", "--rounds", "3", "--docker", "/run/d.sock"]).unwrap();
        assert_eq!(options.only.unwrap(), ["run", "exec"]);
        assert_eq!((options.rounds, options.docker.as_deref()), (Some(3), Some("/run/d.sock")));
        assert!(parse(&["--only", "nothing"]).is_err());
        assert!(parse(&["--rounds"]).is_err());
    }

    #[test]
    fn rows_show_medians_and_ratios() {
        let times = |all: &[u64]| all.iter().map(|time| Duration::from_millis(*time)).collect::<Vec<_>>();
        let text = row(&scenario::ALL[0], &[times(&[9, 2, 3]), times(&[]), times(&[6])]);
        assert!(text.ends_with("| 3.0 ms | | 6.0 ms (2.0x) |"), "{text}");
    }
}
