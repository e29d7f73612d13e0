//! The rules that need the values of variables, the base images or the ignore file.

use super::form::add;
use super::{BaseImage, Finding, Rule, Surroundings};
use crate::dockerfile::instruction::{CommandLine, Instruction, Kind, Stage, Transfer};
use crate::dockerfile::{Dockerfile, Environment, Globals, Inherited, Inputs, Scope, Span, nearest_word};
use crate::ignore;
use crate::image::PATH_DEFAULT;
use mica_model::Reference;
use std::collections::BTreeMap;

/// Looks at a file. A file whose words cannot be expanded is looked at up to there: building it tells what is wrong.
pub(super) fn check(file: &Dockerfile, surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Ok(globals) = Globals::new(file, surroundings.inputs) else { return findings };
    let without_given = Inputs { given: BTreeMap::new(), ..surroundings.inputs.clone() };
    let defaults = Globals::new(file, &without_given);
    let mut stages: BTreeMap<String, Outcome> = BTreeMap::new();
    for (number, stage) in file.stages.iter().enumerate() {
        from(stage, &globals, &mut findings);
        if let Ok(defaults) = &defaults {
            default_base(stage, defaults, &stages, &mut findings);
        }
        let Ok(base) = globals.base(stage) else { continue };
        let start = Outcome::start(&base, stage, &stages, surroundings, &mut findings);
        let outcome = follow(stage, start, &globals, surroundings, &mut findings);
        if let Some(name) = &stage.name {
            stages.insert(name.value.clone(), outcome.clone());
        }
        stages.insert(number.to_string(), outcome);
    }
    findings
}

/// What a stage leaves to those that start from it.
#[derive(Debug, Clone, Default)]
struct Outcome {
    /// Nothing when the base image is unknown.
    environment: Option<Environment>,
    inherited: Inherited,
    has_workdir: bool,
    has_shell: bool,
}

impl Outcome {
    fn start(
        base: &str,
        stage: &Stage,
        stages: &BTreeMap<String, Self>,
        surroundings: &Surroundings<'_>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let from_nothing = || {
            let mut environment = Environment::default();
            environment.set("PATH", PATH_DEFAULT);
            environment
        };
        if let Some(earlier) = stages.get(&base.to_lowercase()) {
            return earlier.clone();
        }
        if base == "scratch" {
            return Self { environment: Some(from_nothing()), ..Self::default() };
        }
        let image = (surroundings.base)(base);
        if let (Some(image), None) = (&image, &stage.platform) {
            base_platform(base, image, stage, surroundings, findings);
        }
        let has_shell = image.as_ref().is_some_and(|image| image.has_shell);
        let environment = image.map(|image| image.environment).map(|mut environment| {
            if environment.value_of("PATH").is_none() {
                from_nothing().pairs().for_each(|(name, value)| environment.set(name, value));
            }
            environment
        });
        Self { environment, has_shell, ..Self::default() }
    }
}

fn base_platform(
    base: &str,
    image: &BaseImage,
    stage: &Stage,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) {
    let expected = surroundings.inputs.target_platform.name();
    let two = |platform: &str| platform.split('/').take(2).map(str::to_owned).collect::<Vec<_>>();
    if image.platform.is_empty() || expected.is_empty() || two(&image.platform) == two(&expected) {
        return;
    }
    let message = format!(
        "Base image {base} was pulled with platform {:?}, expected {expected:?} for current build",
        image.platform
    );
    add(findings, Rule::InvalidBaseImagePlatform, stage.span, stage.base.span, message);
}

/// Looks at the words of a `FROM`.
fn from(stage: &Stage, globals: &Globals, findings: &mut Vec<Finding>) {
    let known: Vec<&str> = globals.variables().pairs().map(|(name, _)| name).collect();
    for word in std::iter::once(&stage.base).chain(&stage.platform) {
        let Ok(expansion) = globals.expand(word) else { continue };
        for name in expansion.undefined.iter().filter(|name| !globals.is_declared(name)) {
            let hint =
                nearest_word(name, &known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let message = format!("FROM argument '{name}' is not declared{hint}");
            add(findings, Rule::UndefinedArgInFrom, stage.span, word.span, message);
        }
    }
    let Some(platform) = &stage.platform else { return };
    let Ok(expansion) = globals.expand(platform) else { return };
    if matches!(platform.value.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            platform.value
        );
        add(findings, Rule::RedundantTargetPlatform, stage.span, platform.span, message);
    }
    let is_constant = expansion.used.is_empty() && expansion.undefined.is_empty();
    let name = stage.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
    let tells = |part: Option<&str>| part.is_some_and(|part| name.contains(&part.to_lowercase()));
    let mut parts = platform.value.split('/');
    if is_constant && !tells(parts.next()) && !tells(parts.next()) {
        let message = format!("FROM --platform flag should not use constant value {:?}", expansion.text);
        add(findings, Rule::FromPlatformFlagConstDisallowed, stage.span, platform.span, message);
    }
}

/// A base must be a name without any given argument too.
fn default_base(
    stage: &Stage,
    defaults: &Globals,
    stages: &BTreeMap<String, Outcome>,
    findings: &mut Vec<Finding>,
) {
    let Ok(expansion) = defaults.expand(&stage.base) else { return };
    let base = expansion.text;
    let is_name = stages.contains_key(&base) || Reference::parse_normalized(&base).is_ok();
    if !is_name {
        let message =
            format!("Default value for ARG {} results in empty or invalid base image name", stage.base.value);
        add(findings, Rule::InvalidDefaultArgInFrom, stage.span, stage.base.span, message);
    }
}

/// Goes through the instructions of a stage.
fn follow(
    stage: &Stage,
    start: Outcome,
    globals: &Globals,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) -> Outcome {
    let is_known = start.environment.is_some();
    let mut scope = globals.stage_on(start.environment.unwrap_or_default(), start.inherited);
    let (mut has_workdir, mut has_shell) = (start.has_workdir, start.has_shell);
    for instruction in &stage.instructions {
        let Ok(expanded) = scope.expand(instruction) else { break };
        if let Kind::Run(run) = &instruction.kind
            && scope.mounts(run).is_err()
        {
            break;
        }
        let undefined = std::mem::take(&mut scope.undefined);
        if is_known {
            undefined_variables(undefined, instruction, &scope, findings);
        }
        match &expanded.kind {
            Kind::Workdir(path) => {
                if !has_workdir && !path.value.starts_with('/') {
                    let message = format!(
                        "Relative workdir {:?} can have unexpected results if the base image changes",
                        path.value
                    );
                    add(findings, Rule::WorkdirRelativePath, instruction.span, path.span, message);
                }
                has_workdir = true;
            }
            Kind::Shell(_) => has_shell = true,
            Kind::Cmd(CommandLine::Shell(_)) | Kind::Entrypoint(CommandLine::Shell(_)) if !has_shell => {
                let name = instruction.kind.name();
                let message = format!(
                    "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                );
                add(findings, Rule::JSONArgsRecommended, instruction.span, instruction.span, message);
            }
            Kind::Copy(copy) if copy.from.is_none() => {
                ignored(&copy.transfer, "Copy", instruction, surroundings, findings);
            }
            Kind::Add(addition) => ignored(&addition.transfer, "Add", instruction, surroundings, findings),
            Kind::Expose(ports) => {
                ports.iter().for_each(|port| exposed(&port.value, instruction.span, port.span, findings));
            }
            _ => {}
        }
    }
    let environment = is_known.then(|| scope.image_environment().clone());
    Outcome { environment, inherited: scope.inherited(), has_workdir, has_shell }
}

fn undefined_variables(
    undefined: Vec<(String, Span)>,
    instruction: &Instruction,
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
) {
    let known: Vec<&str> = scope.run_environment().pairs().map(|(name, _)| name).collect();
    for (name, span) in undefined {
        let hint =
            nearest_word(&name, &known).map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
        let message = format!("Usage of undefined variable '${name}'{hint}");
        add(findings, Rule::UndefinedVar, instruction.span, span, message);
    }
}

/// Sources that the ignore file leaves out.
fn ignored(
    transfer: &Transfer,
    verb: &str,
    instruction: &Instruction,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) {
    for source in transfer.sources.iter().filter(|source| !is_remote(&source.value)) {
        let cleaned = ignore::clean(&format!("/{}", source.value));
        let path = cleaned.trim_start_matches('/');
        if !path.is_empty() && surroundings.ignore.ignores(path) {
            let message =
                format!("Attempting to {verb} file {:?} that is excluded by .dockerignore", source.value);
            add(findings, Rule::CopyIgnoredFile, instruction.span, source.span, message);
        }
    }
}

fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

fn exposed(port: &str, instruction: Span, span: Span, findings: &mut Vec<Finding>) {
    if port.contains(':') {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
        );
        add(findings, Rule::ExposeInvalidFormat, instruction, span, message);
    }
    if port.split_once('/').is_some_and(|(_, protocol)| protocol != protocol.to_lowercase()) {
        let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        add(findings, Rule::ExposeProtoCasing, instruction, span, message);
    }
}
