//! Each rule finds what it is about, and nothing else.

use super::*;
use crate::dockerfile::{PlatformArguments, parse};

fn findings_with(source: &str, ignore: &str, given: &[(&str, &str)]) -> Vec<Finding> {
    let platform =
        PlatformArguments { os: "linux".into(), architecture: "amd64".into(), ..Default::default() };
    let inputs = Inputs {
        given: given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        build_platform: platform.clone(),
        target_platform: platform,
        target: None,
    };
    let base = |name: &str| match name {
        "missing" => None,
        "foreign" => Some(BaseImage { platform: "linux/arm64".into(), ..BaseImage::default() }),
        _ => Some(BaseImage {
            environment: Environment::from_texts(["base=1"]),
            platform: "linux/amd64".into(),
            has_shell: false,
        }),
    };
    let ignore = IgnoreRules::parse(ignore).unwrap();
    let surroundings = Surroundings { inputs: &inputs, base: &base, ignore: &ignore };
    let file = parse(source).unwrap();
    let options = options(&file, &inputs).unwrap();
    check(&file, &surroundings, &options)
}

/// Expects the names of the rules, each with its line and column.
fn check_rules(source: &str, expected: &[(&str, u32, u32)]) {
    let found: Vec<_> = findings_with(source, "secret*\n!secret.pub\n", &[])
        .into_iter()
        .map(|finding| (finding.rule.name(), finding.span.start.line, finding.span.start.column))
        .collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn a_tidy_file_has_no_findings() {
    check_rules(
        "# syntax=docker/dockerfile:1\nARG v=1\nFROM alpine:$v AS build\nARG v\nWORKDIR /src\nWORKDIR sub\nCOPY . .\n\
         ENV x=$v y=$base PUBLIC_KEY=1 KEYBOARD=2\nEXPOSE 80/tcp\nRUN make $undefined\nCMD [\"x\"]\n\
         FROM build\nWORKDIR more\nCOPY --from=build /secret /x secret.pub ./\nUSER $x$PATH",
        &[],
    );
}

#[test]
fn names_and_words_are_cased_alike() {
    check_rules("FROM a AS Build", &[("StageNameCasing", 1, 11)]);
    check_rules("FROM a as b", &[("FromAsCasing", 1, 8)]);
    check_rules("FROM a\nrun x\nRUN y", &[("ConsistentInstructionCasing", 2, 1)]);
    check_rules("from a\nrun x\nRun y", &[("ConsistentInstructionCasing", 3, 1)]);
    check_rules("FROM a AS b\nFROM a AS b", &[("DuplicateStageName", 2, 11)]);
    check_rules("FROM a AS context", &[("ReservedStageName", 1, 11)]);
}

#[test]
fn old_forms_are_told() {
    check_rules("FROM a\nRUN x \\\n\n y", &[("NoEmptyContinuation", 3, 1)]);
    check_rules("FROM a\nMAINTAINER me", &[("MaintainerDeprecated", 2, 1)]);
    check_rules(
        "FROM a\nENV x y\nLABEL x y",
        &[("LegacyKeyValueFormat", 2, 1), ("LegacyKeyValueFormat", 3, 1)],
    );
    check_rules("FROM a\nCMD x\nSHELL [\"s\"]\nENTRYPOINT x", &[("JSONArgsRecommended", 2, 1)]);
    check_rules("FROM a\nCMD []\nCMD []\nFROM a\nCMD []", &[("MultipleInstructionsDisallowed", 2, 1)]);
    check_rules("FROM a\nEXPOSE 1:2 80/TCP", &[("ExposeProtoCasing", 2, 12), ("ExposeInvalidFormat", 2, 8)]);
}

#[test]
fn variables_are_defined_before_their_use() {
    check_rules("ARG ver\nFROM a$vers", &[("UndefinedArgInFrom", 2, 6)]);
    check_rules("FROM a\nENV name=1\nUSER $nmae", &[("UndefinedVar", 3, 6)]);
    assert!(
        findings_with("FROM a\nENV name=1\nUSER $nmae", "", &[])[0]
            .message
            .ends_with("(did you mean $name?)")
    );
    // Nothing is known of what a missing image sets.
    check_rules("FROM missing\nUSER $x", &[]);
    check_rules("ARG v\nFROM ${v}", &[("InvalidDefaultArgInFrom", 2, 6)]);
    check_rules("ARG v\nFROM a:${v:-1}", &[]);
    check_rules("FROM a\nWORKDIR x", &[("WorkdirRelativePath", 2, 9)]);
}

#[test]
fn secrets_do_not_belong_into_variables() {
    check_rules(
        "FROM a\nARG API_KEY token=1\nENV x=1 DB_PASSWORD=2 TOKEN_FILE=/x",
        &[("SecretsUsedInArgOrEnv", 2, 5), ("SecretsUsedInArgOrEnv", 2, 13), ("SecretsUsedInArgOrEnv", 3, 9)],
    );
}

#[test]
fn platforms_are_left_to_the_build() {
    check_rules("FROM --platform=$TARGETPLATFORM a", &[("RedundantTargetPlatform", 1, 17)]);
    check_rules("FROM --platform=linux/arm64 a", &[("FromPlatformFlagConstDisallowed", 1, 17)]);
    check_rules("FROM --platform=linux/arm64 a AS build_arm64", &[]);
    check_rules("FROM foreign", &[("InvalidBaseImagePlatform", 1, 6)]);
}

#[test]
fn copies_of_what_is_ignored_are_told() {
    check_rules(
        "FROM a\nCOPY ./secret.txt secret.pub /\nADD https://x/secret secret /",
        &[("CopyIgnoredFile", 2, 6), ("CopyIgnoredFile", 3, 22)],
    );
}

#[test]
fn descriptions_are_looked_at_when_asked_for() {
    let source = "# check=experimental=all\n# not a description\nFROM a AS b\n# x describes x\nARG x\n# far\n\nARG y\n";
    check_rules(source, &[("InvalidDefinitionDescription", 2, 1)]);
    check_rules("# words\nFROM a AS b", &[]);
}

#[test]
fn rules_are_skipped_by_the_file_or_the_build() {
    check_rules("# check=skip=StageNameCasing\nFROM a as B", &[("FromAsCasing", 2, 8)]);
    check_rules("# check=skip=all\nFROM a as B", &[]);
    let given = [("BUILDKIT_DOCKERFILE_CHECK", "skip=FromAsCasing")];
    assert_eq!(findings_with("# check=skip=all\nFROM a as B", "", &given).len(), 1);
}

#[test]
fn every_rule_has_a_name_and_a_page() {
    assert_eq!(Rule::all().count(), 22);
    let page =
        |rule: Rule| rule.url().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    assert_eq!(page(Rule::JSONArgsRecommended), "json-args-recommended");
    assert_eq!(page(Rule::UndefinedArgInFrom), "undefined-arg-in-from");
    assert!(Rule::all().all(|rule| !rule.name().is_empty() && !rule.description().is_empty()));
}
