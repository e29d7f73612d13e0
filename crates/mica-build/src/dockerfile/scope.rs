//! Which variables an instruction sees: the global arguments, those of its stage, and the environment.
//!
//! [`Globals`] is what a build begins with. Each stage that is built has a [`Scope`], which the instructions go through
//! in order: it replaces their variables and remembers what `ARG` and `ENV` set.

use super::environment::Environment;
use super::error::{ParseError, Problem};
use super::expand::{self, Expansion, ExpansionProblem};
use super::instruction::{Argument, Dockerfile, Instruction, Kind, Pairs, Run, Stage, Transfer};
use super::mount::Mount;
use super::position::{Span, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Arguments that every build may be given without an `ARG`: `RUN` sees them, histories and cache keys do not.
pub const PROXY_ARGUMENTS: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that speak to the builder and are not put into the environment of `RUN`.
const BUILDER_ARGUMENTS: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What variables may add to the words of a whole file. Values that are made of values would otherwise take memory
/// without end, each of them a small one.
const GROWTH_LIMIT_BYTES: usize = 64 << 20;

/// How much variables have added by now, in all stages; it makes no difference between files.
#[derive(Debug, Clone, Default)]
struct Growth(Arc<AtomicUsize>);

impl PartialEq for Growth {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Growth {}

impl Growth {
    fn add(&self, bytes: usize) -> Result<(), ExpansionProblem> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > GROWTH_LIMIT_BYTES {
            return Err(ExpansionProblem::AllTooLarge);
        }
        Ok(())
    }
}

/// A platform as the platform arguments tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformArguments {
    /// Such as `linux`.
    pub os: String,
    /// Only Windows has one.
    pub os_version: String,
    /// Such as `arm64`.
    pub architecture: String,
    /// Such as `v7`; empty when there is none.
    pub variant: String,
}

/// What a build begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// `--build-arg`, by name.
    pub given: BTreeMap<String, String>,
    /// Where it is built.
    pub build_platform: PlatformArguments,
    /// What it is built for.
    pub target_platform: PlatformArguments,
    /// The stage that is asked for; nothing means the last one.
    pub target: Option<String>,
}

/// The variables that `FROM` sees, and that stages ask for by an `ARG` of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globals {
    /// What was given.
    given: BTreeMap<String, String>,
    variables: Environment,
    declared: BTreeSet<String>,
    escape: char,
    growth: Growth,
    /// Variables in defaults of global arguments that nobody has set, each with its place.
    pub undefined: Vec<(String, Span)>,
}

impl PlatformArguments {
    /// Its name, such as `linux/arm/v7`.
    pub fn name(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/")
    }

    fn arguments(&self, prefix: &str) -> [(String, String); 5] {
        [
            (format!("{prefix}PLATFORM"), self.name()),
            (format!("{prefix}OS"), self.os.clone()),
            (format!("{prefix}OSVERSION"), self.os_version.clone()),
            (format!("{prefix}ARCH"), self.architecture.clone()),
            (format!("{prefix}VARIANT"), self.variant.clone()),
        ]
    }
}

impl Globals {
    /// The global variables of a file.
    ///
    /// # Errors
    /// When the default of an argument cannot be expanded.
    pub fn new(file: &Dockerfile, inputs: &Inputs) -> Result<Self, ParseError> {
        let mut variables = Environment::default();
        let target = inputs.target.clone().unwrap_or_else(|| "default".to_owned());
        let builtin = inputs.build_platform.arguments("BUILD").into_iter();
        let builtin = builtin.chain(inputs.target_platform.arguments("TARGET"));
        for (name, value) in builtin.chain([("TARGETSTAGE".to_owned(), target)]) {
            let value = inputs.given.get(&name).cloned().unwrap_or(value);
            variables.set(name, value);
        }
        let mut globals = Self {
            given: inputs.given.clone(),
            variables,
            declared: BTreeSet::new(),
            escape: file.directives.escape,
            growth: Growth::default(),
            undefined: Vec::new(),
        };
        for instruction in &file.global_arguments {
            if let Kind::Arg(arguments) = &instruction.kind {
                arguments.iter().try_for_each(|argument| globals.declare(argument))?;
            }
        }
        Ok(globals)
    }

    fn declare(&mut self, argument: &Argument) -> Result<(), ParseError> {
        let value = match (self.given.get(&argument.name.value), &argument.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => {
                let expansion = self.expand(default)?;
                self.undefined.extend(expansion.undefined.into_iter().map(|name| (name, default.span)));
                Some(expansion.text)
            }
            (None, None) => None,
        };
        self.declared.insert(argument.name.value.clone());
        if let Some(value) = value {
            self.variables.set(argument.name.value.clone(), value);
        }
        Ok(())
    }

    /// A word of a `FROM` with its variables replaced.
    ///
    /// # Errors
    /// When it cannot be expanded.
    pub fn expand(&self, word: &Word) -> Result<Expansion, ParseError> {
        expand::expand(&word.value, self.escape, &self.variables).map_err(at(word.span))
    }

    /// What a stage starts from.
    ///
    /// # Errors
    /// When it cannot be expanded or is empty.
    pub fn base(&self, stage: &Stage) -> Result<String, ParseError> {
        let base = self.expand(&stage.base)?.text;
        if base.is_empty() {
            let problem = Problem::BlankBase { base: stage.base.value.clone() };
            return Err(ParseError { problem, span: stage.base.span });
        }
        Ok(base)
    }

    /// The platform that a stage asks for.
    ///
    /// # Errors
    /// When it cannot be expanded.
    pub fn platform(&self, stage: &Stage) -> Result<Option<String>, ParseError> {
        stage.platform.as_ref().map(|platform| self.expand(platform).map(|found| found.text)).transpose()
    }

    /// The global variables and their values.
    pub const fn variables(&self) -> &Environment {
        &self.variables
    }

    /// Whether an `ARG` before the first `FROM` names this variable, with or without a value.
    pub fn is_declared(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// Whether the build was given a value for this variable.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The proxies among what was given.
    pub fn proxies(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = PROXY_ARGUMENTS.iter().filter_map(|name| Some((*name, self.given.get(*name)?.as_str())));
        given.filter(|(_, value)| !value.is_empty())
    }

    /// What was given and no `ARG` of the file asks for, as docker warns.
    pub fn unconsumed(&self, file: &Dockerfile) -> Vec<String> {
        let instructions = file.stages.iter().flat_map(|stage| &stage.instructions);
        let asked: BTreeSet<&str> = instructions
            .chain(&file.global_arguments)
            .filter_map(|instruction| match &instruction.kind {
                Kind::Arg(arguments) => Some(arguments),
                _ => None,
            })
            .flatten()
            .map(|argument| argument.name.value.as_str())
            .collect();
        let is_builtin = |name: &str| {
            PROXY_ARGUMENTS.contains(&name)
                || name.starts_with("BUILDKIT_")
                || name == "SOURCE_DATE_EPOCH"
                || self.variables.value_of(name).is_some()
        };
        let names = self.given.keys().filter(|name| !asked.contains(name.as_str()) && !is_builtin(name));
        names.cloned().collect()
    }

    /// The scope of a stage, whose base image has this environment.
    pub fn stage(&self, base: Environment) -> Scope<'_> {
        self.stage_on(base, Inherited::default())
    }

    /// The scope of a stage that stands on another stage of the file.
    pub fn stage_on(&self, base: Environment, inherited: Inherited) -> Scope<'_> {
        let mut visible = base.clone();
        for (name, value) in inherited.values {
            visible.set(name, value);
        }
        Scope { globals: self, visible, image: base, declared: inherited.declared, undefined: Vec::new() }
    }

    /// The stages, named contexts and images that the instructions of a stage take files from (`COPY --from`,
    /// `RUN --mount=from=`), in order, as far as the file alone tells: the environment of a base image is not seen.
    ///
    /// # Errors
    /// When an instruction of the stage cannot be expanded.
    pub fn references(&self, stage: &Stage) -> Result<Vec<Word>, ParseError> {
        let mut scope = self.stage(Environment::default());
        let mut found = Vec::new();
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Arg(_) | Kind::Env(_) => {
                    scope.expand(instruction)?;
                }
                kind => found.extend(scope.references(kind)?),
            }
        }
        Ok(found)
    }
}

/// The arguments of a stage, which those that stand on it see without asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// The names, in order.
    declared: Vec<String>,
    /// The values of those that the image itself does not have.
    values: Vec<(String, String)>,
}

/// The variables of a stage, from one instruction to the next.
#[derive(Debug, Clone)]
pub struct Scope<'globals> {
    globals: &'globals Globals,
    /// The environment of `RUN` and what words see.
    visible: Environment,
    /// The environment of the image.
    image: Environment,
    declared: Vec<String>,
    /// Variables that instructions asked for and nobody has set or declared, each with its place.
    pub undefined: Vec<(String, Span)>,
}

impl Scope<'_> {
    /// What `RUN` sees: the image's environment and the values of the arguments.
    pub const fn run_environment(&self) -> &Environment {
        &self.visible
    }

    /// What the image keeps.
    pub const fn image_environment(&self) -> &Environment {
        &self.image
    }

    /// What a stage that stands on this one sees of its arguments.
    pub fn inherited(&self) -> Inherited {
        let is_own = |name: &str, value: &str| self.image.value_of(name) != Some(value);
        let values = self.visible.pairs().filter(|(name, value)| is_own(name, value));
        Inherited {
            declared: self.declared.clone(),
            values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// Whether an `ARG` of the stage names this variable.
    pub fn is_declared(&self, name: &str) -> bool {
        self.declared.iter().any(|declared| declared == name)
    }

    /// The arguments that were declared so far, each once and with its value, in order.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.declared.iter().map(|name| (name.as_str(), self.visible.value_of(name)))
    }

    /// The instruction with its variables replaced by docker's rules for it; what `ARG` and `ENV` set is seen by the
    /// next one. An `ARG` has its value where its default was. Heredocs and words that are not expanded stay.
    ///
    /// # Errors
    /// When a word cannot be expanded, or a value is missing that must be there.
    pub fn expand(&mut self, instruction: &Instruction) -> Result<Instruction, ParseError> {
        let mut expanded = instruction.clone();
        match &mut expanded.kind {
            Kind::Arg(arguments) => arguments.iter_mut().try_for_each(|argument| self.argument(argument))?,
            Kind::Env(pairs) => {
                self.pairs(pairs)?;
                for pair in &pairs.pairs {
                    self.visible.set(pair.name.value.clone(), pair.value.value.clone());
                    self.image.set(pair.name.value.clone(), pair.value.value.clone());
                }
            }
            Kind::Label(pairs) => self.pairs(pairs)?,
            Kind::Add(add) => {
                self.transfer(&mut add.transfer)?;
                self.all(add.checksum.iter_mut())?;
            }
            Kind::Copy(copy) => {
                self.transfer(&mut copy.transfer)?;
                self.all(copy.from.iter_mut())?;
            }
            Kind::Expose(ports) => *ports = self.split(ports)?,
            Kind::Volume(words) => self.all(words.iter_mut())?,
            Kind::Stopsignal(word) | Kind::User(word) | Kind::Workdir(word) => self.word(word)?,
            Kind::Run(run) => self.all(run.devices.iter_mut())?,
            Kind::Cmd(_)
            | Kind::Entrypoint(_)
            | Kind::Healthcheck(_)
            | Kind::Maintainer(_)
            | Kind::Onbuild(_)
            | Kind::Shell(_) => {}
        }
        Ok(expanded)
    }

    /// The mounts of a `RUN`, their variables replaced.
    ///
    /// # Errors
    /// When a value cannot be expanded, or the mount is wrong.
    pub fn mounts(&mut self, run: &Run) -> Result<Vec<Mount>, ParseError> {
        let mut mounts = Vec::new();
        for flag in &run.mounts {
            let span = flag.value.span;
            let expand = |text: &str| -> Result<String, Problem> {
                let expansion = self.expansion(text, span)?;
                Ok(expansion.text)
            };
            mounts.push(flag.resolve(expand).map_err(|problem| ParseError { problem, span })?);
        }
        Ok(mounts)
    }

    fn argument(&mut self, argument: &mut Argument) -> Result<(), ParseError> {
        let name = &argument.name.value;
        let inherited = || self.globals.variables.value_of(name).map(str::to_owned);
        let given = self.globals.given.get(name);
        let value = match (given, &argument.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(
                self.expansion(&default.value, default.span)
                    .map_err(|problem| ParseError { problem, span: default.span })?
                    .text,
            ),
            (None, None) => inherited(),
        };
        if argument.default.is_none() || given.is_some() {
            let growth = value.as_ref().map_or(0, String::len);
            self.globals.growth.add(growth).map_err(at(argument.name.span))?;
        }
        if let Some(value) = &value
            && !BUILDER_ARGUMENTS.contains(&name.as_str())
        {
            self.visible.set(name.clone(), value.clone());
        }
        if !self.declared.contains(name) {
            self.declared.push(name.clone());
        }
        let span = argument.default.as_ref().map_or(argument.name.span, |default| default.span);
        argument.default = value.map(|value| Word::new(value, span));
        Ok(())
    }

    fn pairs(&mut self, pairs: &mut Pairs) -> Result<(), ParseError> {
        for pair in &mut pairs.pairs {
            self.word(&mut pair.name)?;
            self.word(&mut pair.value)?;
        }
        Ok(())
    }

    fn transfer(&mut self, transfer: &mut Transfer) -> Result<(), ParseError> {
        self.all(transfer.chown.iter_mut().chain(transfer.chmod.iter_mut()))?;
        self.all(transfer.sources.iter_mut().chain(transfer.excludes.iter_mut()))?;
        self.word(&mut transfer.destination)?;
        for file in transfer.files.iter_mut().filter(|file| file.expand) {
            let span = file.content.span;
            let expansion = expand::expand_content(&file.content.value, &self.visible).map_err(at(span))?;
            let growth = expansion.text.len().saturating_sub(file.content.value.len());
            self.globals.growth.add(growth).map_err(at(span))?;
            self.note(&expansion, span);
            file.content.value = expansion.text;
        }
        Ok(())
    }

    /// What the words of a `COPY` or the mounts of a `RUN` say that they are from.
    fn references(&mut self, kind: &Kind) -> Result<Vec<Word>, ParseError> {
        match kind {
            Kind::Copy(copy) => {
                let mut from: Vec<Word> = copy.from.iter().cloned().collect();
                self.all(from.iter_mut())?;
                Ok(from)
            }
            Kind::Run(run) => {
                let written =
                    run.mounts.iter().filter_map(|mount| Some((mount.from_as_written()?, mount.value.span)));
                let mut from: Vec<Word> = written.map(|(from, span)| Word::new(from, span)).collect();
                self.all(from.iter_mut())?;
                Ok(from)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn all<'word>(&mut self, words: impl Iterator<Item = &'word mut Word>) -> Result<(), ParseError> {
        for word in words {
            self.word(word)?;
        }
        Ok(())
    }

    fn word(&mut self, word: &mut Word) -> Result<(), ParseError> {
        let expansion = self
            .expansion(&word.value, word.span)
            .map_err(|problem| ParseError { problem, span: word.span })?;
        word.value = expansion.text;
        Ok(())
    }

    /// Words that one variable may make several of.
    fn split(&mut self, words: &[Word]) -> Result<Vec<Word>, ParseError> {
        let mut found = Vec::new();
        for word in words {
            let expansion = self
                .expansion(&word.value, word.span)
                .map_err(|problem| ParseError { problem, span: word.span })?;
            found.extend(expansion.words.into_iter().map(|text| Word::new(text, word.span)));
        }
        Ok(found)
    }

    fn expansion(&mut self, text: &str, span: Span) -> Result<Expansion, Problem> {
        let expansion = expand::expand(text, self.globals.escape, &self.visible)?;
        self.globals.growth.add(expansion.text.len().saturating_sub(text.len()))?;
        self.note(&expansion, span);
        Ok(expansion)
    }

    /// Remembers undefined variables; one that was declared without a value is meant to be empty.
    fn note(&mut self, expansion: &Expansion, span: Span) {
        for name in &expansion.undefined {
            if !self.declared.contains(name) && !BUILDER_ARGUMENTS.contains(&name.as_str()) {
                self.undefined.push((name.clone(), span));
            }
        }
    }
}

fn at(span: Span) -> impl Fn(ExpansionProblem) -> ParseError {
    move |problem| ParseError { problem: problem.into(), span }
}

#[cfg(test)]
mod tests;
