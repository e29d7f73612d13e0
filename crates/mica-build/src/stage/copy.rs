//! `COPY` and `ADD`.

use super::{StageRun, Step};
use crate::cache;
use crate::dockerfile::instruction::{Add, Copy, Transfer};
use crate::dockerfile::{Instruction, Word};
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
        self.transfer_step(site, instruction, &step)
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
        self.transfer_step(site, instruction, &step)
    }

    fn transfer_step<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        step: &CopyStep,
    ) -> Result<(), SolveError<W::Error>> {
        let root = self.image.root.clone();
        let shown = instruction.text.clone();
        let mut keys = Vec::new();
        let by_layers = cache::of_copy_by_layers(&root, step);
        let is_known = match by_layers.filter(|_| !self.plan.is_uncached(self.index)) {
            Some(key) => {
                let failed =
                    |source| SolveError::Step { name: shown.clone(), span: Some(instruction.span), source };
                site.worker.find(&key).map_err(failed)?.is_some()
            }
            None => false,
        };
        keys.extend(by_layers);
        if !is_known {
            let digest = site.worker.digest_sources(step);
            let failed =
                |source| SolveError::Step { name: shown.clone(), span: Some(instruction.span), source };
            keys.push(cache::of_copy(&root, step, &digest.map_err(failed)?));
        }
        let created_by = format!("{shown} # buildkit");
        let text = Step { instruction, shown, created_by };
        self.change(site, text, &keys, |number| site.worker.copy(&root, step, number))
    }

    fn transfer(&self, transfer: &Transfer, origin: Origin) -> CopyStep {
        let text = |word: &Word| word.value.clone();
        let written = text(&transfer.destination);
        let last = written.rsplit('/').next().unwrap_or_default();
        let count = transfer.sources.len() + transfer.files.len();
        let files = transfer.files.iter().map(|file| (text(&file.name), file.content.value.clone()));
        CopyStep {
            origin,
            sources: transfer.sources.iter().map(text).collect(),
            files: files.collect(),
            destination: self.config().absolute(&written),
            is_directory: matches!(last, "" | "." | "..") || count > 1,
            owner: transfer.chown.as_ref().map(text),
            mode: transfer.chmod.as_ref().map(text),
            excludes: transfer.excludes.iter().map(text).collect(),
            with_parents: false,
            is_linked: transfer.link,
            add: None,
        }
    }
}
