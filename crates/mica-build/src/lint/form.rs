//! The rules that look at how a file is written; no variable needs a value.

use super::{Finding, Rule};
use crate::dockerfile::instruction::{Instruction, Kind, Pairs, Stage};
use crate::dockerfile::{Dockerfile, Span, Word};
use std::collections::BTreeSet;

/// Names that mean something else than a stage.
const RESERVED: &[&str] = &["context", "scratch"];

/// What a name says of a secret, as a whole or between underscores.
const SECRET_WORDS: &[&str] =
    &["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// What a name says of something that is no secret after all.
const OPEN_WORDS: &[&str] = &["public", "file", "version"];

/// Looks at a file.
pub(super) fn check(file: &Dockerfile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for span in &file.empty_continuations {
        add(&mut findings, Rule::NoEmptyContinuation, *span, *span, "Empty continuation line".to_owned());
    }
    stage_names(file, &mut findings);
    casing(file, &mut findings);
    for instruction in &file.global_arguments {
        written(instruction, &mut findings);
    }
    for stage in &file.stages {
        if let Some(name) = &stage.name {
            description("build stage", &[&name.value], &stage.comments, stage.span, &mut findings);
        }
        stage.instructions.iter().for_each(|instruction| written(instruction, &mut findings));
        used_once(stage, &mut findings);
    }
    findings
}

pub(super) fn add(findings: &mut Vec<Finding>, rule: Rule, instruction: Span, span: Span, message: String) {
    findings.push(Finding { rule, message, instruction, span });
}

fn stage_names(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for stage in &file.stages {
        let (Some(name), Some(written)) = (&stage.name, &stage.name_as_written) else { continue };
        let mut found = |rule, message| add(findings, rule, stage.span, name.span, message);
        if *written != name.value {
            found(Rule::StageNameCasing, format!("Stage name '{written}' should be lowercase"));
        }
        if RESERVED.contains(&name.value.as_str()) {
            let message =
                format!("Stage name should not use the same name as reserved stage {:?}", name.value);
            found(Rule::ReservedStageName, message);
        }
        if !seen.insert(&name.value) {
            let message = format!("Duplicate stage name {:?}, stage names should be unique", name.value);
            found(Rule::DuplicateStageName, message);
        }
        if let Some(keyword) =
            stage.as_keyword.as_ref().filter(|keyword| !agree(&stage.keyword.value, &keyword.value))
        {
            let message =
                format!("'{}' and '{}' keywords' casing do not match", keyword.value, stage.keyword.value);
            add(findings, Rule::FromAsCasing, stage.span, keyword.span, message);
        }
    }
}

/// Whether `as` is written as `from` is; where `from` itself is mixed, another rule speaks.
fn agree(from: &str, keyword: &str) -> bool {
    match () {
        () if is_lower(from) => is_lower(keyword),
        () if is_upper(from) => is_upper(keyword),
        () => true,
    }
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

fn casing(file: &Dockerfile, findings: &mut Vec<Finding>) {
    let of_stage = |stage: &'_ Stage| {
        let instructions =
            stage.instructions.iter().map(|instruction| (instruction.keyword.clone(), instruction.span));
        std::iter::once((stage.keyword.clone(), stage.span)).chain(instructions).collect::<Vec<_>>()
    };
    let keywords: Vec<(Word, Span)> = file.stages.iter().flat_map(of_stage).collect();
    let count = |is: fn(&str) -> bool| keywords.iter().filter(|(keyword, _)| is(&keyword.value)).count();
    let majority_is_lower = count(is_lower) > count(is_upper);
    for (keyword, span) in &keywords {
        let (fits, majority) = match majority_is_lower {
            true => (is_lower(&keyword.value), "lowercase"),
            false => (is_upper(&keyword.value), "uppercase"),
        };
        if !fits {
            let message = format!(
                "Command '{}' should match the case of the command majority ({majority})",
                keyword.value
            );
            add(findings, Rule::ConsistentInstructionCasing, *span, keyword.span, message);
        }
    }
}

/// What one instruction is by itself.
fn written(instruction: &Instruction, findings: &mut Vec<Finding>) {
    let span = instruction.span;
    match &instruction.kind {
        Kind::Maintainer(_) => {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            add(findings, Rule::MaintainerDeprecated, span, instruction.keyword.span, message);
        }
        Kind::Env(pairs) => {
            legacy(pairs, "ENV", span, findings);
            pairs.pairs.iter().for_each(|pair| secret("ENV", &pair.name, span, findings));
        }
        Kind::Label(pairs) => legacy(pairs, "LABEL", span, findings),
        Kind::Arg(arguments) => {
            arguments.iter().for_each(|argument| secret("ARG", &argument.name, span, findings));
            let names: Vec<&str> = arguments.iter().map(|argument| argument.name.value.as_str()).collect();
            description("ARG", &names, &instruction.comments, span, findings);
        }
        _ => {}
    }
}

fn legacy(pairs: &Pairs, name: &str, span: Span, findings: &mut Vec<Finding>) {
    if pairs.is_legacy {
        let message =
            format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
        add(findings, Rule::LegacyKeyValueFormat, span, span, message);
    }
}

fn secret(instruction: &str, name: &Word, span: Span, findings: &mut Vec<Finding>) {
    // Docker's rule looks at the name as a whole, and between two underscores.
    let lower = name.value.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    if has(SECRET_WORDS) && !has(OPEN_WORDS) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {:?})", name.value);
        add(findings, Rule::SecretsUsedInArgOrEnv, span, name.span, message);
    }
}

/// A comment directly above a definition should describe it.
fn description(what: &str, names: &[&str], comments: &[Word], span: Span, findings: &mut Vec<Finding>) {
    let Some(comment) = comments.last().filter(|comment| !comment.value.is_empty()) else { return };
    let first = comment.value.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return;
    }
    let example = if let [only] = names { only } else { "<arg_key>" };
    let message = format!("Comment for {what} should follow the format: `# {example} <description>`");
    add(findings, Rule::InvalidDefinitionDescription, span, comment.span, message);
}

/// Instructions of which the last one counts; the earlier ones are told.
fn used_once(stage: &Stage, findings: &mut Vec<Finding>) {
    let mut earlier: [Option<&Instruction>; 3] = [None; 3];
    for instruction in &stage.instructions {
        let place = match &instruction.kind {
            Kind::Cmd(_) => 0,
            Kind::Entrypoint(_) => 1,
            Kind::Healthcheck(_) => 2,
            _ => continue,
        };
        let name = instruction.kind.name();
        if let Some(before) = earlier[place].replace(instruction) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            add(findings, Rule::MultipleInstructionsDisallowed, before.span, before.span, message);
        }
    }
}
