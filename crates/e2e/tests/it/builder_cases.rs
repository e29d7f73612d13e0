//! `mica build`: the language of Dockerfiles, case by case. What each is about tells its name in `crates/e2e/testdata`,
//! and which part of the language it proves `docs/parity/dockerfile.tsv`.

use e2e::{DockerfileCase, World};
use std::fmt::Write as _;

/// With `UPDATE_EXPECTED` in the environment, what comes out is written down instead of compared; `ONLY_CASE` is how the
/// names of those begin that are looked at.
#[test]
#[ignore = "needs root"]
fn privileged_every_case_builds_what_is_expected() {
    let world = World::with_busybox();
    let is_update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let only = std::env::var_os("ONLY_CASE").unwrap_or_default().to_string_lossy().into_owned();
    let mut wrong = String::new();
    let cases = DockerfileCase::all();
    assert!(cases.len() > 80, "{} cases", cases.len());
    for case in cases.iter().filter(|case| case.name.starts_with(&only)) {
        let outcome = case.outcome(&world);
        match outcome == case.expected() {
            true => {}
            false if is_update => case.expect(&outcome),
            false => drop(write!(
                wrong,
                "=== {}\n--- expected\n{}--- came out\n{outcome}",
                case.name,
                case.expected()
            )),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
