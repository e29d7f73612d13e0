//! `cargo xtask test`: every check and every test, one after the other, with one closing line.

mod tally;

pub(crate) use tally::Tally;

use crate::build::{self, Profile};
use crate::failure::Failure;
use crate::{deny, packages, parity, tidy, vm};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A part of the test run.
struct Step {
    /// What `--only` calls it.
    name: &'static str,
    /// Whether it starts containers or virtual machines.
    needs_root: bool,
    /// What it needs from the distribution.
    packages: &'static [packages::Package],
    /// Does it. A failure here is a step that could not be done at all.
    action: fn() -> Result<Tally, Failure>,
}

/// All parts, the quick ones first.
const STEPS: &[Step] = &[
    Step { name: "fmt", needs_root: false, packages: packages::BUILD, action: format },
    Step { name: "tidy", needs_root: false, packages: packages::BUILD, action: || check(tidy::run(&[])) },
    Step { name: "deny", needs_root: false, packages: packages::BUILD, action: || check(deny::run()) },
    Step { name: "clippy", needs_root: false, packages: packages::BUILD, action: clippy },
    Step { name: "unit", needs_root: false, packages: packages::BUILD, action: unit },
    Step {
        name: "parity",
        needs_root: false,
        packages: packages::BUILD,
        action: || check(parity::run(&["--check"])),
    },
    Step { name: "root", needs_root: true, packages: packages::CONTAINERS, action: root },
    Step { name: "e2e", needs_root: true, packages: packages::CONTAINERS, action: behaviour },
    Step { name: "vm", needs_root: true, packages: packages::MACHINE, action: vm::run },
];

/// Runs the chosen steps, all unless told.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let chosen = chosen(options)?;
    if let Some(step) = chosen.iter().find(|step| step.needs_root && !rustix::process::geteuid().is_root()) {
        return Err(Failure::Root { what: step.name });
    }
    let mut wanted: Vec<packages::Package> = chosen.iter().flat_map(|step| step.packages).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    packages::install(&wanted)?;
    let mut sum = Tally::default();
    for step in chosen {
        println!("==> {}", step.name);
        let begun = Instant::now();
        let tally = (step.action)().unwrap_or_else(|failure| {
            println!("{}: {failure}", step.name);
            Tally::one(false)
        });
        println!("<== {}: {tally} ({:.1} s)", step.name, begun.elapsed().as_secs_f64());
        sum += tally;
    }
    println!("\n{sum}");
    if sum.failed == 0 {
        Ok(())
    } else {
        Err(Failure::Checks { count: sum.failed, what: "checks or tests failed" })
    }
}

fn chosen(options: &[&str]) -> Result<Vec<&'static Step>, Failure> {
    let names: Vec<&str> = match options {
        [] => return Ok(STEPS.iter().collect()),
        ["--only", names] => names.split(',').collect(),
        _ => return Err(Failure::Usage { text: "usage: cargo xtask test [--only STEP,STEP…]".into() }),
    };
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Failure::Usage {
            text: format!("no step is called `{unknown}`; there are {}", known.join(", ")),
        });
    }
    Ok(STEPS.iter().filter(|step| names.contains(&step.name)).collect())
}

/// Makes everything that tests are fed with, unless it is there.
pub(crate) fn fixtures() -> Result<(), Failure> {
    packages::install(packages::CONTAINERS)?;
    let made = |path: PathBuf| println!("{}", path.display());
    let directory = e2e::fixture::directory();
    e2e::fixture::busybox_archive().map(made).map_err(Failure::file(directory.join("busybox.tar")))?;
    e2e::fixture::debian_root().map(made).map_err(Failure::file(directory.join("debian.tar")))
}

/// A chore as a single check.
fn check(outcome: Result<(), Failure>) -> Result<Tally, Failure> {
    outcome.map(|()| Tally::one(true))
}

fn format() -> Result<Tally, Failure> {
    check(build::run(build::cargo().args(["fmt", "--all", "--check"])))
}

fn clippy() -> Result<Tally, Failure> {
    check(build::run(build::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])))
}

fn unit() -> Result<Tally, Failure> {
    cargo_test(build::cargo().args(["test", "--quiet", "--workspace", "--no-fail-fast"]))
}

/// The tests of the crates that need root.
fn root() -> Result<Tally, Failure> {
    fixtures()?;
    let binary = build::mica(Profile::Dev)?;
    let mut command = build::cargo();
    command.args([
        "test",
        "--quiet",
        "--workspace",
        "--exclude",
        "e2e",
        "--no-fail-fast",
        "--",
        "--ignored",
        "privileged_",
    ]);
    cargo_test(command.env("MICA_BIN", binary))
}

/// The tests of the whole binary, and afterwards the question whether any of them left a cgroup behind.
fn behaviour() -> Result<Tally, Failure> {
    fixtures()?;
    let binary = build::mica(Profile::Dev)?;
    let before = cgroups();
    let mut command = build::cargo();
    command.args(["test", "--quiet", "--package", "e2e", "--no-fail-fast", "--", "--ignored", "privileged_"]);
    let mut tally = cargo_test(command.env("MICA_BIN", binary))?;
    let forgotten: Vec<_> = cgroups().into_iter().filter(|group| !before.contains(group)).collect();
    for group in &forgotten {
        println!("cgroup left behind: {}", group.display());
    }
    tally += Tally::one(forgotten.is_empty());
    Ok(tally)
}

/// The cgroups of all containers on this machine.
fn cgroups() -> Vec<PathBuf> {
    let entries =
        |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let top = PathBuf::from("/sys/fs/cgroup");
    let parents = std::iter::once(top.clone()).chain(entries(top));
    parents.flat_map(|parent| entries(parent.join("mica"))).filter(|path| path.is_dir()).collect()
}

/// Runs a `cargo test`, shows what it says and counts its closing lines.
fn cargo_test(command: &mut Command) -> Result<Tally, Failure> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|source| build::start(command, source))?;
    let mut tally = Tally::default();
    for line in child.stdout.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let Ok(line) = line else { break };
        tally += Tally::of_line(&line);
        // A closed standard output is no reason to stop the tests.
        drop(writeln!(std::io::stdout(), "{line}"));
    }
    let status = child.wait().map_err(|source| build::start(command, source))?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or a test program died before it could count.
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_order() {
        let names: Vec<&str> =
            chosen(&["--only", "e2e,unit"]).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(names, ["unit", "e2e"]);
        assert!(chosen(&["--only", "nothing"]).is_err());
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
    }
}
