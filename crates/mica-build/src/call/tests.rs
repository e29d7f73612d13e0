//! What is told of a file that has one of everything.

use super::*;
use crate::dockerfile::{Inputs, parse};

const SOURCE: &str = "\
# VERSION the version
ARG VERSION=1
ARG UNUSED=2
ARG BASE=image:$VERSION

# base is where it begins
FROM $BASE AS base
# GOFLAGS for the compiler
ARG GOFLAGS
RUN --mount=type=secret,id=token,required --mount=type=cache,target=/cache --mount=type=ssh make

FROM scratch AS other
ARG OTHER=3

# release is it
FROM --platform=$BUILDPLATFORM base AS release
ARG VERSION
COPY --from=base /x /x
RUN --mount=type=secret,target=/run/secrets/token true
";

fn collected() -> (Vec<Target>, Outline) {
    let file = parse(SOURCE).unwrap();
    let inputs = Inputs { given: [("GOFLAGS".to_owned(), "-v".to_owned())].into(), ..Inputs::default() };
    let globals = Globals::new(&file, &inputs).unwrap();
    (targets(&file), outline(&file, &globals, 2).unwrap())
}

#[test]
fn targets_have_descriptions_and_a_default() {
    let (targets, _) = collected();
    let expected = "\
TARGET              DESCRIPTION
base                is where it begins
other
release (default)   is it
";
    assert_eq!(text::targets(&targets), expected);
    let document = json::targets(&targets);
    assert_eq!(document["targets"][2]["platform"], "$BUILDPLATFORM");
    assert_eq!(document["targets"][2]["default"], true);
    assert_eq!(document["targets"][1].get("default"), None);
    assert_eq!(document["targets"][0]["location"]["ranges"][0]["start"]["line"], 7);
}

#[test]
fn outlines_tell_what_the_target_and_its_stages_take() {
    let (_, outline) = collected();
    let expected = "\
TARGET:        release
DESCRIPTION:   is it

BUILD ARG   VALUE     DESCRIPTION
VERSION     1         the version
BASE        image:1
GOFLAGS     -v        for the compiler

SECRET   REQUIRED
token    true

SSH       REQUIRED
default

";
    assert_eq!(text::outline(&outline), expected);
    let document = json::outline(&outline);
    assert_eq!(document["args"].as_array().map(Vec::len), Some(3));
    assert_eq!(document["cache"][0]["ID"], "/cache");
    assert_eq!(document["secrets"][0]["required"], true);
}

#[test]
fn checks_are_told_with_their_lines() {
    let source = "FROM scratch AS Base\n";
    let file = parse(source).unwrap();
    let inputs = Inputs::default();
    let surroundings = crate::lint::Surroundings {
        inputs: &inputs,
        base: &|_| None,
        ignore: &crate::ignore::IgnoreRules::default(),
    };
    let findings = crate::lint::check(&file, &surroundings, &file.check());
    let expected = "\
Check complete, 1 warning has been found!

WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
Stage name 'Base' should be lowercase
Dockerfile:1
--------------------
   1 | >>> FROM scratch AS Base
     |                     ^^^^
--------------------
";
    assert_eq!(text::check("Dockerfile", source, &findings, None), expected);
    assert_eq!(json::check("Dockerfile", &findings, None)["warnings"][0]["ruleName"], "StageNameCasing");
    assert_eq!(
        text::summary(&findings, &["x".to_owned(), "y".to_owned()]),
        "2 warnings found:\n - StageNameCasing: Stage name 'Base' should be lowercase (line 1)\n \
         - One or more build-args [x y] were not consumed\n"
    );
    assert_eq!(text::check("Dockerfile", source, &[], None), "Check complete, no warnings found.\n");
    let error = parse("FROM").unwrap_err();
    assert!(
        text::check("Dockerfile", "FROM", &[], Some(&error))
            .starts_with("ERROR: dockerfile parse error on line 1: FROM")
    );
    assert!(json::check("Dockerfile", &[], Some(&error))["buildError"]["message"].is_string());
}
