//! Steps of one stage that go on at the same time: copies that do not look at what lies below them, and the digests of
//! files that later copies will take.

use super::StageRun;
use super::copy::Announced;
use crate::dockerfile::mount::Mount;
use crate::dockerfile::{Instruction, Kind};
use crate::solve::{Site, SolveError};
use crate::worker::{CopyStep, Origin, Worker};
use std::panic::resume_unwind;

/// How many copies go on at once.
const AT_ONCE: usize = 4;

/// How many copies are looked at while a command runs.
const AHEAD: usize = 8;

impl StageRun<'_> {
    /// The instructions that can be done together with this one, it included; it comes first. Nothing if it is not one
    /// of those.
    pub(super) fn companions<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        first: &Instruction,
    ) -> Result<Vec<Instruction>, SolveError<W::Error>> {
        let mut together = Vec::new();
        if !is_independent(first) {
            return Ok(together);
        }
        together.push(first.clone());
        while together.len() < AT_ONCE && self.rest.front().is_some_and(|next| is_independent(next)) {
            let Some((next, mounts)) = self.next()? else { break };
            let stages = self.stages_of(&next, &mounts)?;
            if !is_independent(&next) || stages.iter().any(|stage| site.finished(*stage).is_none()) {
                self.next = Some((next, mounts));
                break;
            }
            together.push(next);
        }
        Ok(together)
    }

    /// Does copies at the same time; their layers come in the order in which they are written.
    pub(super) fn copy_together<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instructions: &[Instruction],
    ) -> Result<(), SolveError<W::Error>> {
        let mut transfers = Vec::new();
        for instruction in instructions {
            let step = self.copy_step(site, instruction)?;
            transfers.push(self.announced(site, instruction, step));
        }
        let is_uncached = self.plan.is_uncached(self.index);
        let changes: Vec<_> = std::thread::scope(|scope| {
            let begin = |transfer| scope.spawn(move || Announced::done(transfer, site, is_uncached));
            let running: Vec<_> = transfers.iter().map(begin).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        for (transfer, change) in transfers.into_iter().zip(changes) {
            self.add_change(&change?, transfer.into_history());
        }
        Ok(())
    }

    /// The copies of a user's files that come before the next command of this stage.
    pub(super) fn copies_ahead(&self) -> Vec<CopyStep> {
        let is_wanted = |kind: &Kind| matches!(kind, Kind::Copy(copy) if copy.from.is_none());
        let mut before_next = self.rest.iter().take_while(|next| !matches!(next.kind, Kind::Run(_)));
        let mut steps = Vec::new();
        if !before_next.any(|next| is_wanted(&next.kind)) {
            return steps;
        }
        let mut ahead = self.clone();
        while steps.len() < AHEAD {
            let Ok(Some((instruction, _))) = ahead.next::<()>() else { break };
            match &instruction.kind {
                Kind::Copy(copy) if copy.from.is_none() => {
                    let mut step = ahead.transfer(&copy.transfer, Origin::Context);
                    step.with_parents = copy.parents;
                    steps.push(step);
                }
                Kind::Workdir(word) => {
                    ahead.image.config.working_dir = ahead.image.config.absolute(&word.value)
                }
                // That one looks ahead itself.
                Kind::Run(_) => break,
                // What other places have is not asked for before it is needed.
                Kind::Copy(_) | Kind::Add(_) => {}
                _ => drop(ahead.metadata::<()>(&instruction)),
            }
        }
        steps
    }

    /// Whether an instruction with its mounts may be done with others.
    pub(super) fn apply_with_companions<W: Worker>(
        &mut self,
        site: &Site<'_, W>,
        instruction: &Instruction,
        mounts: &[Mount],
    ) -> Result<(), SolveError<W::Error>> {
        let together = self.companions(site, instruction)?;
        match together.len() {
            0 | 1 => self.apply(site, instruction, mounts),
            _ => self.copy_together(site, &together),
        }
    }
}

/// Whether a copy is the same whatever lies below it.
fn is_independent(instruction: &Instruction) -> bool {
    let transfer = match &instruction.kind {
        Kind::Copy(copy) => &copy.transfer,
        Kind::Add(add) => &add.transfer,
        _ => return false,
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    transfer.link
        && transfer.chmod.is_none()
        && transfer.chown.as_ref().is_none_or(|owner| is_number(&owner.value))
}
