//! What can be told of a Dockerfile without building it: `--call targets`, `--call outline` and `--check`.
//!
//! The functions here collect; [`text`] and [`json`] write it down as docker does.

pub mod json;
pub mod text;

use crate::dockerfile::instruction::{Instruction, Kind};
use crate::dockerfile::mount::MountKind;
use crate::dockerfile::{Dockerfile, Environment, Globals, ParseError, Span, Word};
use std::collections::BTreeSet;

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name; empty when it has none.
    pub name: String,
    /// The comment above it that begins with its name.
    pub description: String,
    /// Whether it is built when none is asked for.
    pub is_default: bool,
    /// What it starts from, as written.
    pub base: String,
    /// Its platform, as written.
    pub platform: String,
    /// Its `FROM` line.
    pub span: Span,
}

/// What a build of a target takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The name of the target.
    pub name: String,
    /// The comment above it that begins with its name.
    pub description: String,
    /// The arguments, in the order of the file.
    pub arguments: Vec<OutlineArgument>,
    /// The secrets.
    pub secrets: Vec<OutlineMount>,
    /// The ssh agents.
    pub agents: Vec<OutlineMount>,
    /// The caches.
    pub caches: Vec<OutlineMount>,
}

/// An argument of an outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// The comment above it that begins with its name.
    pub description: String,
    /// Its value as things are.
    pub value: Option<String>,
    /// The instruction.
    pub span: Span,
}

/// A secret, an agent or a cache of an outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether the build fails without it.
    pub is_required: bool,
    /// The instruction that uses it first.
    pub span: Span,
}

/// The stages of a file, in order.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(number, stage): (usize, &crate::dockerfile::Stage)| Target {
        name: stage.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        description: stage
            .name
            .as_ref()
            .map(|name| description(&name.value, &stage.comments))
            .unwrap_or_default(),
        is_default: number == last,
        base: stage.base.value.clone(),
        platform: stage.platform.as_ref().map(|platform| platform.value.clone()).unwrap_or_default(),
        span: stage.span,
    };
    file.stages.iter().enumerate().map(target).collect()
}

/// What a build of a stage takes, it and what it needs.
///
/// # Errors
/// When a word on the way cannot be expanded.
pub fn outline(file: &Dockerfile, globals: &Globals, target: usize) -> Result<Outline, ParseError> {
    let mut outline = Outline::default();
    if let Some(entry) = targets(file).into_iter().nth(target) {
        (outline.name, outline.description) = (entry.name, entry.description);
    }
    let mut asked = BTreeSet::new();
    for number in file.reachable(target, globals)? {
        let Some(stage) = file.stages.get(number) else { continue };
        for word in std::iter::once(&stage.base).chain(&stage.platform) {
            let expansion = globals.expand(word)?;
            asked.extend(expansion.used.into_iter().chain(expansion.undefined));
        }
        let mut scope = globals.stage(Environment::default());
        for instruction in &stage.instructions {
            let expanded = scope.expand(instruction)?;
            match &instruction.kind {
                Kind::Arg(_) => outline.add_arguments((instruction, &expanded), globals, &mut asked),
                Kind::Run(run) => outline.add_mounts(scope.mounts(run)?, instruction.span),
                _ => {}
            }
        }
    }
    outline.add_globals(file, globals, &asked);
    outline.arguments.sort_by_key(|argument| argument.span.start);
    for mounts in [&mut outline.secrets, &mut outline.agents, &mut outline.caches] {
        mounts.sort_by_key(|mount| mount.span.start);
    }
    Ok(outline)
}

impl Outline {
    fn add(&mut self, argument: OutlineArgument) {
        if !self.arguments.iter().any(|known| known.name == argument.name) {
            self.arguments.push(argument);
        }
    }

    /// Those of a stage; one without a default asks for the global one.
    fn add_arguments(
        &mut self,
        (written, expanded): (&Instruction, &Instruction),
        globals: &Globals,
        asked: &mut BTreeSet<String>,
    ) {
        let (Kind::Arg(written_arguments), Kind::Arg(arguments)) = (&written.kind, &expanded.kind) else {
            return;
        };
        for (before, argument) in written_arguments.iter().zip(arguments) {
            let name = &argument.name.value;
            asked.insert(name.clone());
            let is_inherited =
                before.default.is_none() && argument.default.is_some() && !globals.is_given(name);
            if !is_inherited {
                self.add(OutlineArgument {
                    name: name.clone(),
                    description: description(name, &written.comments),
                    value: argument.default.as_ref().map(|value| value.value.clone()),
                    span: written.span,
                });
            }
        }
    }

    fn add_globals(&mut self, file: &Dockerfile, globals: &Globals, asked: &BTreeSet<String>) {
        let mut asked = asked.clone();
        // From the last to the first: a default may ask for what stands above it.
        for instruction in file.global_arguments.iter().rev() {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for argument in arguments.iter().rev() {
                let name = &argument.name.value;
                if !asked.contains(name) {
                    continue;
                }
                if let Some(Ok(expansion)) = argument.default.as_ref().map(|default| globals.expand(default))
                {
                    asked.extend(expansion.used);
                }
                self.add(OutlineArgument {
                    name: name.clone(),
                    description: description(name, &instruction.comments),
                    value: globals.variables().value_of(name).map(str::to_owned),
                    span: instruction.span,
                });
            }
        }
    }

    fn add_mounts(&mut self, mounts: Vec<crate::dockerfile::mount::Mount>, span: Span) {
        for mount in mounts {
            let name = |path: &Option<String>| path.as_deref()?.rsplit('/').next().map(str::to_owned);
            let (list, id) = match mount.kind {
                MountKind::Secret => {
                    (&mut self.secrets, mount.id.clone().or(mount.source).or(name(&mount.target)))
                }
                MountKind::Ssh => (&mut self.agents, Some(mount.id.unwrap_or_else(|| "default".to_owned()))),
                MountKind::Cache => (&mut self.caches, mount.id.or(mount.target)),
                MountKind::Bind | MountKind::Tmpfs => continue,
            };
            let id = id.unwrap_or_default();
            match list.iter_mut().find(|known| known.id == id) {
                Some(known) => known.is_required |= mount.required,
                None => list.push(OutlineMount { id, is_required: mount.required, span }),
            }
        }
    }
}

/// The rest of the comment line that begins with a name.
fn description(name: &str, comments: &[Word]) -> String {
    let line = |comment: &Word| comment.value.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    comments.iter().find_map(line).unwrap_or_default()
}

#[cfg(test)]
mod tests;
