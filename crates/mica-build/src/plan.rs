//! From a Dockerfile to a graph: which stage stands on which, and which ones the target needs.

use crate::dockerfile::{
    Dockerfile, Globals, Inputs, Instruction, ParseError, PlatformArguments, Span, Stage,
};
use std::collections::BTreeMap;

/// What a build is told besides the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The stage to build; the last one if absent.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--platform`: the platform of the result; that of this host if empty.
    pub platform: String,
    /// The platform of this host: `linux/amd64`.
    pub host_platform: String,
    /// Whether steps are shown with the platform, because there are several builds.
    pub shows_platform: bool,
    /// Does every step again.
    pub no_cache: bool,
    /// Does every step of these stages again.
    pub no_cache_stages: Vec<String>,
    /// `--build-context`: what names mean.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What else decides what a `RUN` does: the network, hosts and limits of the build, as a text.
    pub run_settings: String,
}

impl Options {
    /// What the variables of the file begin with.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            given: self.arguments.clone(),
            build_platform: platform(&self.host_platform),
            target_platform: platform(self.wanted_platform()),
            target: self.target.clone().filter(|target| !target.is_empty()),
        }
    }

    /// The platform of the result.
    pub(crate) fn wanted_platform(&self) -> &str {
        if self.platform.is_empty() { &self.host_platform } else { &self.platform }
    }
}

fn platform(name: &str) -> PlatformArguments {
    let mut parts = name.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    PlatformArguments { os: next(), architecture: next(), variant: next(), os_version: String::new() }
}

/// What the name of a further context means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// An image.
    Image(String),
    /// Files, which the worker knows.
    Files,
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image by name.
    Image(String),
    /// A named context of files.
    Files(String),
}

/// What `--from` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// An earlier stage.
    Stage(usize),
    /// A named context of files.
    Files(String),
    /// An image by name.
    Image(String),
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// No such stage.
    #[error("target stage {name:?} could not be found{}", suggestion.as_ref().map(|near| format!(" (did you mean {near}?)")).unwrap_or_default())]
    NoTarget {
        /// As it was given.
        name: String,
        /// A stage with nearly the same name.
        suggestion: Option<String>,
    },
    /// `--from` of a stage that does not come before.
    #[error("circular dependency detected on stage: {name}")]
    Circular {
        /// The stage.
        name: String,
    },
    /// `--from` of a stage that only comes later.
    #[error("cannot copy from stage {name:?}, it needs to be defined before current stage {current:?}")]
    Later {
        /// The stage.
        name: String,
        /// Its number.
        number: usize,
        /// The stage that wants it.
        current: String,
    },
    /// `--from` of a number that no stage has.
    #[error("invalid stage index {number}")]
    NoStage {
        /// The number.
        number: usize,
    },
    /// Words that cannot be expanded.
    #[error("{0}")]
    Language(crate::dockerfile::Problem),
    /// An instruction whose expanded words make no sense.
    #[error("{message}")]
    Instruction {
        /// In docker's words.
        message: String,
    },
}

/// A problem with its place.
pub(crate) type Placed = (PlanProblem, Option<Span>);

pub(crate) fn placed(error: ParseError) -> Placed {
    (PlanProblem::Language(error.problem), Some(error.span))
}

/// A planned stage.
#[derive(Debug)]
pub(crate) struct PlannedStage {
    pub(crate) base: Base,
    pub(crate) platform: Option<String>,
}

/// The graph.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) file: &'a Dockerfile,
    pub(crate) options: &'a Options,
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) target: usize,
    /// The values of the arguments before the first stage.
    pub(crate) globals: Globals,
}

impl<'a> Plan<'a> {
    /// Plans; nothing is read or run.
    pub(crate) fn new(file: &'a Dockerfile, options: &'a Options) -> Result<Self, Placed> {
        let globals = Globals::new(file, &options.inputs()).map_err(placed)?;
        let target = target(file, options).map_err(|problem| (problem, None))?;
        let mut plan = Self { file, options, stages: Vec::new(), target, globals };
        for (index, stage) in file.stages.iter().enumerate() {
            let planned = plan.stage(index, stage)?;
            plan.stages.push(planned);
        }
        match plan.circle() {
            Some((stage, span)) => Err((PlanProblem::Circular { name: plan.stage_name(stage) }, Some(span))),
            None => Ok(plan),
        }
    }

    /// The first stage from which stages are reached that need each other, by what is written, and where one of them
    /// speaks of a later one. Whether the target needs them does not matter.
    fn circle(&self) -> Option<(usize, Span)> {
        let count = self.file.stages.len();
        let needs: Vec<Vec<(usize, Span)>> = (0..count).map(|index| self.mentions(index)).collect();
        let mut is_sound = vec![false; count];
        for first in 0..count {
            // A stage on the path with how many of its needs were looked at; not by recursion, for files have many.
            let mut path = vec![(first, 0)];
            let mut is_on_path = vec![false; count];
            is_on_path[first] = true;
            while let Some((stage, looked_at)) = path.last_mut() {
                let stage = *stage;
                let Some(&(next, _)) = needs[stage].get(*looked_at).filter(|_| !is_sound[stage]) else {
                    (is_on_path[stage], is_sound[stage]) = (false, true);
                    path.pop();
                    continue;
                };
                *looked_at += 1;
                if is_on_path[next] {
                    let steps = path.iter().map(|(stage, looked_at)| (*stage, needs[*stage][looked_at - 1]));
                    let mut forward = steps.filter(|(stage, (next, _))| next >= stage);
                    return forward.next_back().map(|(_, (_, span))| (first, span));
                }
                if !is_sound[next] {
                    is_on_path[next] = true;
                    path.push((next, 0));
                }
            }
        }
        None
    }

    /// The stages that a stage speaks of, also those that come later, each with the instruction.
    fn mentions(&self, index: usize) -> Vec<(usize, Span)> {
        let stage = &self.file.stages[index];
        let mut mentioned = Vec::new();
        if let Base::Stage(base) = self.stages[index].base {
            mentioned.push((base, stage.span));
        }
        for name in self.globals.references(stage).unwrap_or_default() {
            let number = match self.from(&name.value, index) {
                Ok(From::Stage(number)) => number,
                Err(PlanProblem::Circular { .. }) => index,
                Err(PlanProblem::Later { number, .. }) => number,
                _ => continue,
            };
            let begins_before = |instruction: &&Instruction| instruction.span.start <= name.span.start;
            let within = stage.instructions.iter().rev().find(begins_before);
            mentioned.push((number, within.map_or(name.span, |instruction| instruction.span)));
        }
        mentioned
    }

    /// The name of a stage, or the one that it gets by its number.
    fn stage_name(&self, index: usize) -> String {
        let name = self.file.stages[index].name.as_ref().map(|name| name.value.clone());
        name.unwrap_or_else(|| format!("stage-{index}"))
    }

    fn stage(&self, index: usize, stage: &Stage) -> Result<PlannedStage, Placed> {
        let name = self.globals.base(stage).map_err(placed)?;
        let platform = self.globals.platform(stage).map_err(placed)?.filter(|text| !text.is_empty());
        let base = match (self.options.contexts.get(&name), self.stage_named(&name, index)) {
            (Some(NamedContext::Image(image)), _) => Base::Image(image.clone()),
            (Some(NamedContext::Files), _) => Base::Files(name),
            (None, Some(stage)) => Base::Stage(stage),
            (None, None) if name == "scratch" => Base::Scratch,
            (None, None) => Base::Image(name),
        };
        Ok(PlannedStage { base, platform })
    }

    /// The last stage of a name among those before `before`.
    fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let is_it =
            |stage: &Stage| stage.name.as_ref().is_some_and(|known| known.value.eq_ignore_ascii_case(name));
        self.file.stages[..before].iter().rposition(is_it)
    }

    /// What `--from` means in stage `current`.
    pub(crate) fn from(&self, name: &str, current: usize) -> Result<From, PlanProblem> {
        match self.options.contexts.get(name) {
            Some(NamedContext::Image(image)) => return Ok(From::Image(image.clone())),
            Some(NamedContext::Files) => return Ok(From::Files(name.to_owned())),
            None => {}
        }
        if let Some(stage) = self.stage_named(name, current) {
            return Ok(From::Stage(stage));
        }
        let number = name.parse::<usize>().ok();
        match self.stage_named(name, self.file.stages.len()).or(number) {
            None => Ok(From::Image(name.to_owned())),
            Some(number) if number < current => Ok(From::Stage(number)),
            Some(number) if number == current => {
                Err(PlanProblem::Circular { name: self.stage_name(current) })
            }
            Some(number) if number >= self.file.stages.len() => Err(PlanProblem::NoStage { number }),
            Some(number) => {
                let current = self.stage_name(current);
                Err(PlanProblem::Later { name: name.to_owned(), number, current })
            }
        }
    }

    /// The stages that a stage certainly needs, by what is written.
    pub(crate) fn needs(&self, index: usize) -> Vec<usize> {
        let mut needed = Vec::new();
        if let Base::Stage(base) = self.stages[index].base {
            needed.push(base);
        }
        // What cannot be told yet is asked for when the instruction's turn comes.
        for name in self.globals.references(&self.file.stages[index]).unwrap_or_default() {
            if let Ok(From::Stage(stage)) = self.from(&name.value, index) {
                needed.push(stage);
            }
        }
        needed
    }

    /// What is shown of a stage before the numbers of its steps.
    pub(crate) fn label(&self, index: usize) -> String {
        let platform = match self.options.shows_platform {
            true => format!("{} ", self.options.wanted_platform()),
            false => String::new(),
        };
        match &self.file.stages[index].name_as_written {
            _ if self.file.stages.len() == 1 => platform,
            Some(name) => format!("{platform}{name} "),
            None => format!("{platform}stage-{index} "),
        }
    }

    /// Whether a stage is to be done again.
    pub(crate) fn is_uncached(&self, index: usize) -> bool {
        let name = self.file.stages[index].name.as_ref().map_or("", |name| &name.value);
        let number = index.to_string();
        let is_named = |wanted: &String| wanted.eq_ignore_ascii_case(name) || *wanted == number;
        self.options.no_cache || self.options.no_cache_stages.iter().any(is_named)
    }
}

/// The stage that is to be built.
///
/// # Errors
/// When there is none of that name.
pub fn target(file: &Dockerfile, options: &Options) -> Result<usize, PlanProblem> {
    let last = file.stages.len().saturating_sub(1);
    let Some(wanted) = options.target.as_deref().filter(|wanted| !wanted.is_empty()) else { return Ok(last) };
    let names = || file.stages.iter().map(|stage| stage.name.as_ref().map_or("", |name| &name.value));
    if let Some(found) =
        names().collect::<Vec<_>>().iter().rposition(|name| name.eq_ignore_ascii_case(wanted))
    {
        return Ok(found);
    }
    match wanted.parse::<usize>() {
        Ok(number) if number <= last => Ok(number),
        _ => {
            let near = |name: &&str| name.len().abs_diff(wanted.len()) <= 2 && is_near(name, wanted);
            let suggestion = names().find(near).map(str::to_owned);
            Err(PlanProblem::NoTarget { name: wanted.to_owned(), suggestion })
        }
    }
}

/// Whether two names differ in so little that one was meant for the other.
fn is_near(one: &str, other: &str) -> bool {
    let same_start = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let same_end = one.chars().rev().zip(other.chars().rev()).take_while(|(a, b)| a == b).count();
    let longest = one.chars().count().max(other.chars().count());
    same_start + same_end + 2 >= longest && longest > 2
}
