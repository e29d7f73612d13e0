//! `COPY` and `ADD`.

use super::{StageRun, Step};
use crate::cache;
use crate::dockerfile::instruction::{Add, Copy, Transfer};
use crate::dockerfile::{Instruction, Span, Word};
use crate::image::Config;
use crate::solve::{Site, SolveError};
use crate::worker::{AddStep, CopyStep, Origin, Worker};

impl StageRun<'_> {
    pub(super) fn copy<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        copy: &Copy,
    ) -> Result<(), SolveError<W::Error>> {
        let origin = match &copy.from {
            None => Origin::Context,
            Some(name) => self.origin(site, (&name.value, instruction))?,
        };
        let mut step = self.transfer(&copy.transfer, origin);
        step.with_parents = copy.parents;
        self.transfer_step(site, instruction.span, (instruction.text.clone(), created_by(&step)), &step)
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
        let created_by = format!("[context {name}] load from client");
        self.transfer_step(site, span, (format!("FROM {name}"), created_by), &step)
    }

    pub(super) fn add<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        add: &Add,
    ) -> Result<(), SolveError<W::Error>> {
        let mut step = self.transfer(&add.transfer, Origin::Context);
        let checksum = add.checksum.as_ref().map(|word| word.value.clone());
        let keep_git_dir = add.keep_git_dir.unwrap_or(false);
        step.add = Some(AddStep { checksum, keep_git_dir, unpack: add.unpack });
        self.transfer_step(site, instruction.span, (instruction.text.clone(), created_by(&step)), &step)
    }

    fn transfer_step<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        span: Span,
        (shown, created_by): (String, String),
        step: &CopyStep,
    ) -> Result<(), SolveError<W::Error>> {
        let root = self.image.root.clone();
        let mut keys = Vec::new();
        let by_layers = cache::of_copy_by_layers(&root, step);
        let is_known = match by_layers.filter(|_| !self.plan.is_uncached(self.index)) {
            Some(key) => {
                let failed = |source| SolveError::Step { name: shown.clone(), span: Some(span), source };
                site.worker.find(&key).map_err(failed)?.is_some()
            }
            None => false,
        };
        keys.extend(by_layers);
        if !is_known {
            let digest = site.worker.digest_sources(step);
            let failed = |source| SolveError::Step { name: shown.clone(), span: Some(span), source };
            keys.push(cache::of_copy(&root, step, &digest.map_err(failed)?));
        }
        let text = Step { span, shown, created_by };
        self.change(site, text, &keys, |number| site.worker.copy(&root, step, number))
    }

    fn transfer(&self, transfer: &Transfer, origin: Origin) -> CopyStep {
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
