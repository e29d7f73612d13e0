//! `COPY` and `ADD`.

use super::{StageRun, Step, settle};
use crate::cache;
use crate::dockerfile::instruction::Transfer;
use crate::dockerfile::{Instruction, Kind, Word};
use crate::image::{Config, Root};
use crate::solve::{Site, SolveError};
use crate::worker::{AddStep, Change, CopyStep, Origin, StepNumber, Worker};

impl StageRun<'_> {
    /// `COPY` or `ADD`.
    pub(super) fn copy<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
    ) -> Result<(), SolveError<W::Error>> {
        let step = self.copy_step(site, instruction)?;
        let announced = self.announced(site, instruction, step);
        self.finish_copy(site, announced)
    }

    /// What such an instruction asks for.
    pub(super) fn copy_step<W: Worker>(
        &self,
        site: &Site<'_, W>,
        instruction: &Instruction,
    ) -> Result<CopyStep, SolveError<W::Error>> {
        let (written, add, from) = match &instruction.kind {
            Kind::Add(add) => (&add.transfer, Some(add), None),
            Kind::Copy(copy) => (&copy.transfer, None, copy.from.as_ref()),
            other => return Err(SolveError::unexpected(other.name(), instruction.span)),
        };
        let origin = match from {
            None => Origin::Context,
            Some(name) => self.origin(site, (&name.value, instruction))?,
        };
        let mut step = self.transfer(written, origin);
        step.with_parents = matches!(&instruction.kind, Kind::Copy(copy) if copy.parents);
        step.add = add.map(|add| AddStep {
            checksum: add.checksum.as_ref().map(|word| word.value.clone()),
            keep_git_dir: add.keep_git_dir.unwrap_or(false),
            unpack: add.unpack,
        });
        Ok(step)
    }

    /// Tells that a copy begins.
    pub(super) fn announced<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        step: CopyStep,
    ) -> Announced {
        let (shown, created_by) = (instruction.text.clone(), created_by(&step));
        let number = self.announce(site, &shown);
        let text = Step { span: instruction.span, shown, created_by };
        Announced { number, text, root: self.image.root.clone(), step }
    }

    fn finish_copy<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        announced: Announced,
    ) -> Result<(), SolveError<W::Error>> {
        let change = announced.done(site, self.plan.is_uncached(self.index))?;
        self.add_change(&change, announced.into_history());
        Ok(())
    }

    /// The files of a named context are the first layer.
    pub(super) fn begin_with_files<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        name: &str,
    ) -> Result<(), SolveError<W::Error>> {
        self.image.config = Config::of_nothing();
        let step = CopyStep {
            origin: Origin::Named(name.to_owned()),
            sources: vec!["/".to_owned()],
            files: Vec::new(),
            destination: "/".to_owned(),
            destination_as_written: "/".to_owned(),
            is_directory: true,
            owner: None,
            mode: None,
            excludes: Vec::new(),
            with_parents: false,
            is_linked: false,
            add: None,
        };
        let span = self.plan.file.stages[self.index].span;
        let shown = format!("FROM {name}");
        let number = self.announce(site, &shown);
        let text = Step { span, shown, created_by: format!("[context {name}] load from client") };
        self.finish_copy(site, Announced { number, text, root: self.image.root.clone(), step })
    }

    pub(super) fn transfer(&self, transfer: &Transfer, origin: Origin) -> CopyStep {
        let text = |word: &Word| word.value.clone();
        let written = text(&transfer.destination);
        let last = written.rsplit('/').next().unwrap_or_default();
        let files = transfer.files.iter().map(|file| (text(&file.name), file.content.value.clone()));
        CopyStep {
            origin,
            sources: transfer.sources.iter().map(text).collect(),
            files: files.collect(),
            destination: self.config().absolute(&written),
            destination_as_written: written.clone(),
            is_directory: matches!(last, "" | "." | ".."),
            owner: transfer.chown.as_ref().map(text),
            mode: transfer.chmod.as_ref().map(text),
            excludes: transfer.excludes.iter().map(text).collect(),
            with_parents: false,
            is_linked: transfer.link,
            add: None,
        }
    }
}

/// A copy that was told of.
pub(super) struct Announced {
    number: StepNumber,
    text: Step,
    /// What it goes onto.
    root: Root,
    step: CopyStep,
}

impl Announced {
    /// Finds it done, or does it.
    pub(super) fn done<W: Worker>(
        &self,
        site: &Site<'_, W>,
        is_uncached: bool,
    ) -> Result<Change, SolveError<W::Error>> {
        let Self { number, text, root, step } = self;
        let failed = |source| site.failed(*number, (text.shown.clone(), text.span), source);
        let by_layers = cache::of_copy_by_layers(root, step);
        let is_known = match by_layers.filter(|_| !is_uncached) {
            Some(key) => site.worker.find(&key).map_err(failed)?.is_some(),
            None => false,
        };
        let mut keys: Vec<_> = by_layers.into_iter().collect();
        if !is_known {
            let digest = site.worker.digest_sources(step).map_err(failed)?;
            keys.push(cache::of_copy(root, step, &digest));
        }
        settle(site, (*number, text), (is_uncached, &keys), |number| site.worker.copy(root, step, number))
    }

    pub(super) fn into_history(self) -> String {
        self.text.created_by
    }
}

/// What histories say of a copy: what decides about the files, with the values of all variables.
fn created_by(step: &CopyStep) -> String {
    let mut said = if step.add.is_some() { "ADD" } else { "COPY" }.to_owned();
    let flags = [("--chown=", &step.owner), ("--chmod=", &step.mode)];
    let flags = flags.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?.as_str())));
    let parents = step.with_parents.then_some(("--parents", ""));
    let sources = step.sources.iter().map(|source| ("", source.as_str()));
    let files = step.files.iter().map(|(name, _)| ("<<", name.as_str()));
    let destination = ("", step.destination_as_written.as_str());
    for (before, word) in parents.into_iter().chain(flags).chain(sources).chain(files).chain([destination]) {
        said.push(' ');
        said.push_str(before);
        said.push_str(word);
    }
    said + " # buildkit"
}
