//! A stage on its way: instruction by instruction, with the variables, the defaults and the files so far.

mod copy;
mod metadata;
mod run;
mod together;

use crate::dockerfile::mount::Mount;
use crate::dockerfile::{Environment, Inherited, Instruction, Kind, Scope, Span, parse_trigger};
use crate::image::{Config, History, Image};
use crate::plan::{Base, From, Plan, PlanProblem};
use crate::progress::News;
use crate::solve::{Site, SolveError};
use crate::worker::{Change, Origin, StepNumber, Worker};
use mica_model::Digest;
use std::borrow::Cow;
use std::collections::VecDeque;

/// How far a stage has come.
pub(crate) enum Standing {
    /// To its end.
    Finished(Box<Image>),
    /// It waits for this stage.
    Waiting(usize),
}

/// A stage that has begun.
#[derive(Clone)]
pub(crate) struct StageRun<'a> {
    pub(crate) index: usize,
    plan: &'a Plan<'a>,
    image: Image,
    scope: Scope<'a>,
    /// The next instruction with its variables replaced, and its mounts.
    next: Option<(Instruction, Vec<Mount>)>,
    rest: VecDeque<Cow<'a, Instruction>>,
    has_begun: bool,
    /// `CMD` was given in this stage, so that `ENTRYPOINT` leaves it alone.
    is_command_set: bool,
    done: usize,
    total: usize,
}

impl<'a> StageRun<'a> {
    pub(crate) fn new(plan: &'a Plan<'a>, index: usize) -> Self {
        let instructions = &plan.file.stages[index].instructions;
        let from = usize::from(plan.stages[index].base != Base::Scratch);
        Self {
            index,
            plan,
            image: Image::default(),
            scope: plan.globals.stage(Environment::default()),
            next: None,
            rest: instructions.iter().map(Cow::Borrowed).collect(),
            has_begun: false,
            is_command_set: false,
            done: 0,
            total: from + instructions.iter().filter(|one| makes_files(one)).count(),
        }
    }

    /// Goes on until the end or until a stage is needed that is not finished.
    pub(crate) fn go_on<W: Worker>(&mut self, site: &Site<'_, W>) -> Result<Standing, SolveError<W::Error>> {
        if !self.has_begun {
            if let Base::Stage(base) = self.plan.stages[self.index].base
                && site.finished(base).is_none()
            {
                return Ok(Standing::Waiting(base));
            }
            self.begin(site)?;
            self.has_begun = true;
        }
        while let Some((instruction, mounts)) = self.next()? {
            for stage in self.stages_of(&instruction, &mounts)? {
                if site.finished(stage).is_none() {
                    self.next = Some((instruction, mounts));
                    return Ok(Standing::Waiting(stage));
                }
            }
            self.apply_with_companions(site, &instruction, &mounts)?;
        }
        if self.index == self.plan.target {
            let labels = self.plan.options.labels.clone();
            self.image.config.labels.extend(labels);
        }
        self.image.inherited = self.scope.inherited();
        Ok(Standing::Finished(Box::new(std::mem::take(&mut self.image))))
    }

    /// The next instruction with its variables replaced.
    fn next<E>(&mut self) -> Result<Option<(Instruction, Vec<Mount>)>, SolveError<E>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let Some(written) = self.rest.pop_front() else { return Ok(None) };
        let instruction = self.scope.expand(&written).map_err(SolveError::language)?;
        let mounts = match &instruction.kind {
            Kind::Run(run) => self.scope.mounts(run).map_err(SolveError::language)?,
            _ => Vec::new(),
        };
        Ok(Some((instruction, mounts)))
    }

    /// `FROM`.
    fn begin<W: Worker>(&mut self, site: &Site<'_, W>) -> Result<(), SolveError<W::Error>> {
        let planned = &self.plan.stages[self.index];
        let span = self.plan.file.stages[self.index].span;
        match &planned.base {
            Base::Scratch => self.image.config = Config::of_nothing(),
            Base::Stage(base) => {
                self.image = site.finished(*base).map(|image| (*image).clone()).unwrap_or_default();
            }
            Base::Files(name) => self.begin_with_files(site, name)?,
            Base::Image(name) => {
                let shown = format!("FROM {}", site.shown_name(name));
                let number = self.announce(site, &shown);
                let platform = planned.platform.as_deref().or(Some(&self.plan.options.platform));
                let found = site.worker.image(name, platform.filter(|text| !text.is_empty()));
                match found {
                    Ok(image) => self.image = image,
                    Err(source) => return Err(site.failed(number, (shown, span), source)),
                }
                site.tell(number, News::Done);
                self.prepend_triggers(span)?;
            }
        }
        if let Base::Stage(_) = planned.base {
            self.done += 1;
            self.prepend_triggers(span)?;
        }
        self.image.config.ensure_path();
        let environment = Environment::from_texts(self.image.config.env.iter().map(String::as_str));
        let inherited = std::mem::take(&mut self.image.inherited);
        let inherited = if let Base::Stage(_) = planned.base { inherited } else { Inherited::default() };
        self.scope = self.plan.globals.stage_on(environment, inherited);
        Ok(())
    }

    /// What the base image wants done in images that begin with it.
    fn prepend_triggers<E>(&mut self, span: Span) -> Result<(), SolveError<E>> {
        for expression in std::mem::take(&mut self.image.config.on_build).iter().rev() {
            let mut trigger = parse_trigger(expression).map_err(|error| SolveError::Wrong {
                problem: PlanProblem::Instruction { message: error.problem.to_string() },
                span: Some(span),
            })?;
            // Its place is that of the `FROM` which brought it.
            trigger.span = span;
            self.total += usize::from(makes_files(&trigger));
            self.rest.push_front(Cow::Owned(trigger));
        }
        Ok(())
    }

    /// The stages that an instruction takes files from.
    fn stages_of<E>(&self, instruction: &Instruction, mounts: &[Mount]) -> Result<Vec<usize>, SolveError<E>> {
        let copied = match &instruction.kind {
            Kind::Copy(copy) => copy.from.as_ref().map(|word| word.value.as_str()),
            _ => None,
        };
        let mounted = mounts.iter().filter_map(|mount| mount.from.as_deref());
        let mut stages = Vec::new();
        for name in copied.into_iter().chain(mounted) {
            if let From::Stage(stage) = self.from(name, instruction)? {
                stages.push(stage);
            }
        }
        Ok(stages)
    }

    fn from<E>(&self, name: &str, instruction: &Instruction) -> Result<From, SolveError<E>> {
        self.plan
            .from(name, self.index)
            .map_err(|problem| SolveError::Wrong { problem, span: Some(instruction.span) })
    }

    /// What `--from` names, as something to take files from.
    fn origin<W: Worker>(
        &self,
        site: &Site<'_, W>,
        (name, instruction): (&str, &Instruction),
    ) -> Result<Origin, SolveError<W::Error>> {
        Ok(match self.from(name, instruction)? {
            From::Stage(stage) => {
                Origin::Root(site.finished(stage).map(|image| image.root.clone()).unwrap_or_default())
            }
            From::Files(name) => Origin::Named(name),
            From::Image(name) => match site.worker.image(&name, None) {
                Ok(image) => Origin::Root(image.root),
                Err(source) => {
                    let name = format!("--from={name}");
                    return Err(SolveError::Step { name, span: Some(instruction.span), source });
                }
            },
        })
    }

    fn apply<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        mounts: &[Mount],
    ) -> Result<(), SolveError<W::Error>> {
        match &instruction.kind {
            Kind::Run(run) => self.run(site, instruction, (run, mounts)),
            Kind::Copy(_) | Kind::Add(_) => self.copy(site, instruction),
            Kind::Workdir(word) => self.workdir(site, instruction, &word.value),
            _ => self.metadata(instruction),
        }
    }

    fn workdir<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        word: &str,
    ) -> Result<(), SolveError<W::Error>> {
        let path = self.image.config.absolute(word);
        let user = self.image.config.user.clone();
        let key = crate::cache::of_directory(&self.image.root, &path, &user);
        let root = self.image.root.clone();
        let step = Step {
            span: instruction.span,
            shown: format!("WORKDIR {word}"),
            created_by: format!("WORKDIR {path}"),
        };
        self.image.config.working_dir.clone_from(&path);
        if path == "/" {
            self.done += 1;
            self.push_history(step.created_by, None);
            return Ok(());
        }
        self.change(site, step, &[key], |_| site.worker.make_directory(&root, &path, &user))
    }

    /// Looks a step up by its keys or does it, and adds what it did.
    fn change<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        step: Step,
        keys: &[Digest],
        work: impl FnOnce(StepNumber) -> Result<Change, W::Error>,
    ) -> Result<(), SolveError<W::Error>> {
        let number = self.announce(site, &step.shown);
        let change = settle(site, (number, &step), (self.plan.is_uncached(self.index), keys), work)?;
        self.add_change(&change, step.created_by);
        Ok(())
    }

    fn add_change(&mut self, change: &Change, created_by: String) {
        self.image.root.layers.extend(change.layer);
        let created = change.layer.map(|_| change.created);
        self.push_history(created_by, created);
    }

    fn push_history(&mut self, created_by: String, created: Option<mica_model::Timestamp>) {
        let empty_layer = created.is_none();
        self.image.history.push(History { created, created_by, empty_layer, comment: None });
    }

    /// Tells that a step begins.
    fn announce<W: Worker>(&mut self, site: &Site<'_, W>, shown: &str) -> StepNumber {
        self.done += 1;
        let width = self.total.to_string().len();
        let label = self.plan.label(self.index);
        let (done, total) = (self.done, self.total.max(self.done));
        site.begin(&format!("[{label}{done:>width$}/{total}] {shown}"))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.image.config
    }
}

/// Looks a step that was told of up by its keys, or does it.
fn settle<W: Worker>(
    site: &Site<'_, W>,
    (number, step): (StepNumber, &Step),
    (is_uncached, keys): (bool, &[Digest]),
    work: impl FnOnce(StepNumber) -> Result<Change, W::Error>,
) -> Result<Change, SolveError<W::Error>> {
    let failed = |source| site.failed(number, (step.shown.clone(), step.span), source);
    for key in keys {
        let found = if is_uncached { site.worker.find_fresh(key) } else { site.worker.find(key) };
        if let Some(change) = found.map_err(failed)? {
            site.tell(number, News::Cached);
            return Ok(change);
        }
    }
    if site.is_cancelled() {
        site.tell(number, News::Failed(None));
        return Err(SolveError::Cancelled);
    }
    let change = work(number).map_err(failed)?;
    for key in keys {
        site.worker.keep(key, &change, &step.shown).map_err(failed)?;
    }
    site.tell(number, News::Done);
    Ok(change)
}

/// A step that changes files.
struct Step {
    /// Where it is written.
    span: Span,
    /// What progress shows.
    shown: String,
    /// What the history of the image says.
    created_by: String,
}

fn makes_files(instruction: &Instruction) -> bool {
    matches!(instruction.kind, Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_))
}
