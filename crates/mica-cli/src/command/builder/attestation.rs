//! `--attest`, `--provenance` and `--sbom`: a build of ours attests nothing, so that only "none" is a true answer.

use crate::args::Matches;
use crate::report::Failure;

/// Refuses a `--provenance` or `--sbom` that asks for something.
pub(super) fn check_shorthands(matches: &Matches) -> Result<(), Failure> {
    for kind in ["provenance", "sbom"] {
        if let Some(typed) = matches.text(kind).filter(|typed| !is_off(typed)) {
            return Err(refused(kind, &typed));
        }
    }
    Ok(())
}

/// Refuses whatever asks for an attestation.
pub(super) fn check(matches: &Matches) -> Result<(), Failure> {
    check_shorthands(matches)?;
    for typed in matches.list("attest") {
        let fields: Vec<(&str, &str)> =
            typed.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
        let kind = fields.iter().find(|(name, _)| *name == "type").map(|(_, kind)| *kind);
        match kind {
            Some("provenance" | "sbom") => {}
            Some(other) => {
                return Err(Failure::refused(format!("attestation type {other} not supported")));
            }
            None => return Err(Failure::refused(format!("attestation type not specified: {typed:?}"))),
        }
        if !fields.iter().any(|(name, value)| *name == "disabled" && is_true(value)) {
            return Err(refused("attest", &typed));
        }
    }
    Ok(())
}

/// Whether a value of `--provenance` or `--sbom` turns it off.
fn is_off(typed: &str) -> bool {
    let is_false = matches!(typed, "false" | "0" | "f" | "F" | "FALSE" | "False");
    is_false || typed.split(',').any(|field| field.strip_prefix("disabled=").is_some_and(is_true))
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True")
}

fn refused(flag: &str, typed: &str) -> Failure {
    Failure::refused(format!(
        "--{flag}={typed}: mica makes no attestations; --provenance=false and --sbom=false are accepted, and \
         what a build was made of is told by buildx history inspect"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_turns_it_off_is_accepted() {
        for off in ["false", "0", "mode=max,disabled=true"] {
            assert!(is_off(off), "{off}");
        }
        for on in ["", "true", "mode=min", "mode=max,disabled=false"] {
            assert!(!is_off(on), "{on}");
        }
    }
}
