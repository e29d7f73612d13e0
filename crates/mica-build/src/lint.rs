//! The linter: what is allowed in a Dockerfile and better not done. The rules, their names and words are docker's.

mod form;
mod rule;
#[cfg(test)]
mod tests;
mod values;

use crate::dockerfile::{CheckOptions, Dockerfile, Environment, Inputs, Position, Span, Word};
use crate::ignore::IgnoreRules;
pub use rule::Rule;
use std::collections::BTreeMap;
use std::fmt;

/// Something that a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What was found, in docker's words.
    pub message: String,
    /// The instruction.
    pub instruction: Span,
    /// The word or line in it.
    pub span: Span,
}

/// What the linter needs to know beside the file.
pub struct Surroundings<'a> {
    /// The arguments and platforms of the build.
    pub inputs: &'a Inputs,
    /// What is known of a base image, by its name after expansion; nothing when it is not there.
    pub base: &'a dyn Fn(&str) -> Option<BaseImage>,
    /// The ignore file of the context.
    pub ignore: &'a IgnoreRules,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Surroundings").field("inputs", self.inputs).finish_non_exhaustive()
    }
}

/// What is known of a base image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseImage {
    /// Its environment.
    pub environment: Environment,
    /// Its platform, such as `linux/amd64`.
    pub platform: String,
    /// Whether it brings a shell of its own (`SHELL`).
    pub has_shell: bool,
}

/// Looks at a file with all rules that the options leave, in the order of the lines.
pub fn check(file: &Dockerfile, surroundings: &Surroundings<'_>, options: &CheckOptions) -> Vec<Finding> {
    let mut findings = form::check(file);
    findings.extend(values::check(file, surroundings));
    let above = options_above(file);
    findings.retain(|finding| {
        let own = above.get(&finding.instruction.start);
        finding.rule.is_used(options) && own.is_none_or(|own| !own.skip.contains(finding.rule.name()))
    });
    findings.sort_by_key(|finding| (finding.instruction.start, finding.rule, finding.span.start));
    findings.dedup();
    findings
}

/// What a comment `# check=` directly above an instruction says for it alone.
fn options_above(file: &Dockerfile) -> BTreeMap<Position, CheckOptions> {
    let stages = file.stages.iter().flat_map(|stage| {
        let inner = stage.instructions.iter().map(|one| (one.span.start, &one.comments));
        std::iter::once((stage.span.start, &stage.comments)).chain(inner)
    });
    let outer = file.global_arguments.iter().map(|one| (one.span.start, &one.comments));
    // The directive of the file is no comment.
    let directive = file.directives.check.as_ref().map(|check| check.span.start.line);
    let said = |comments: &Vec<Word>| {
        let own = comments.iter().filter(|comment| Some(comment.span.start.line) != directive);
        let mut options = own.filter_map(|comment| {
            let (name, value) = comment.value.split_once('=')?;
            name.trim().eq_ignore_ascii_case("check").then(|| value.trim().to_owned())
        });
        // One that makes no sense is a comment like any other.
        CheckOptions::parse(&options.next()?).ok()
    };
    stages.chain(outer).filter_map(|(start, comments)| Some((start, said(comments)?))).collect()
}

/// The options of a file with those of the build argument `BUILDKIT_DOCKERFILE_CHECK`, which come before.
///
/// # Errors
/// When the argument is none.
pub fn options(file: &Dockerfile, inputs: &Inputs) -> Result<CheckOptions, crate::dockerfile::Problem> {
    match inputs.given.get("BUILDKIT_DOCKERFILE_CHECK") {
        Some(text) => CheckOptions::parse(text),
        None => Ok(file.check()),
    }
}
