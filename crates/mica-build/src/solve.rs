//! Doing what a plan says: stages that do not need each other at the same time, and none that nobody needs.

use crate::dockerfile::{Dockerfile, ParseError, Span};
use crate::image::Image;
use crate::plan::{Options, Plan, PlanProblem, placed};
use crate::progress::{Listener, News};
use crate::stage::{StageRun, Standing};
use crate::worker::{StepNumber, Worker};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Why there is no image.
#[derive(Debug)]
pub enum SolveError<E> {
    /// The Dockerfile asks for what cannot be.
    Wrong {
        /// What is wrong.
        problem: PlanProblem,
        /// Where.
        span: Option<Span>,
    },
    /// A step failed.
    Step {
        /// What is shown of it.
        name: String,
        /// Where it is written.
        span: Option<Span>,
        /// Why.
        source: E,
    },
    /// Another step has failed.
    Cancelled,
}

impl<E> SolveError<E> {
    /// An instruction where it cannot be.
    pub(crate) fn unexpected(name: &str, span: Span) -> Self {
        let message = format!("{name} is not expected here");
        Self::Wrong { problem: PlanProblem::Instruction { message }, span: Some(span) }
    }

    pub(crate) fn language(error: ParseError) -> Self {
        let (problem, span) = placed(error);
        Self::Wrong { problem, span }
    }
}

/// What the parts of a build share.
pub(crate) struct Site<'a, W> {
    pub(crate) worker: &'a W,
    listener: Listener<'a>,
    first_number: u32,
    numbers: AtomicU32,
    finished: Mutex<Vec<Option<Arc<Image>>>>,
    is_cancelled: AtomicBool,
}

impl<W: Worker> Site<'_, W> {
    /// A stage, if it is finished.
    pub(crate) fn finished(&self, stage: usize) -> Option<Arc<Image>> {
        lock(&self.finished).get(stage).cloned().flatten()
    }

    pub(crate) fn begin(&self, name: &str) -> StepNumber {
        let number = self.first_number + self.numbers.fetch_add(1, Ordering::Relaxed);
        self.tell(number, News::Begin(name));
        number
    }

    pub(crate) fn tell(&self, number: StepNumber, news: News<'_>) {
        (self.listener)(number, news);
    }

    /// Tells of a failure and makes an error of it.
    pub(crate) fn failed(
        &self,
        number: StepNumber,
        (name, span): (String, Span),
        source: W::Error,
    ) -> SolveError<W::Error> {
        self.tell(number, News::Failed(None));
        SolveError::Step { name, span: Some(span), source }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// The whole name of an image, as progress shows it.
    pub(crate) fn shown_name(&self, name: &str) -> String {
        mica_model::Reference::parse_normalized(name)
            .map_or_else(|_| name.to_owned(), |reference| reference.with_default_tag().to_string())
    }
}

/// How many stages go on at once. Commands wait for the network and for each other more often than for a processor, so
/// it is all of them unless somebody has written a file of hundreds.
const MOST_AT_ONCE: usize = 64;

/// Which stages wait for what.
struct Board<'a, E> {
    ready: VecDeque<StageRun<'a>>,
    waiting: Vec<(usize, StageRun<'a>)>,
    /// Stages that were ever begun.
    begun: Vec<bool>,
    /// How many are being worked on.
    busy: usize,
    outcome: Option<Result<Arc<Image>, SolveError<E>>>,
}

/// Builds the target. Steps that are told about are numbered from `first_number`.
///
/// # Errors
/// The first failure; everything else is given up then.
pub fn solve<W: Worker>(
    (file, options): (&Dockerfile, &Options),
    worker: &W,
    listener: Listener<'_>,
    first_number: StepNumber,
) -> Result<Image, SolveError<W::Error>> {
    let plan = Plan::new(file, options).map_err(|(problem, span)| SolveError::Wrong { problem, span })?;
    let count = file.stages.len();
    let site = Site {
        worker,
        listener,
        first_number,
        numbers: AtomicU32::new(0),
        finished: Mutex::new(vec![None; count]),
        is_cancelled: AtomicBool::new(false),
    };
    let mut board = Board {
        ready: VecDeque::new(),
        waiting: Vec::new(),
        begun: vec![false; count],
        busy: 0,
        outcome: None,
    };
    board.want(&plan, plan.target);
    let threads = board.ready.len().clamp(1, MOST_AT_ONCE);
    let (board, bell) = (Mutex::new(board), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work(&plan, &site, &board, &bell));
        }
        work(&plan, &site, &board, &bell);
    });
    let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    match board.outcome {
        Some(Ok(image)) => Ok(Arc::unwrap_or_clone(image)),
        Some(Err(error)) => Err(error),
        None => Err(SolveError::Cancelled),
    }
}

/// Takes stages off the board until there is nothing left to do.
fn work<'a, W: Worker>(
    plan: &'a Plan<'a>,
    site: &Site<'_, W>,
    board: &Mutex<Board<'a, W::Error>>,
    bell: &Condvar,
) {
    let mut held = lock(board);
    loop {
        if held.outcome.is_some() {
            return;
        }
        let Some(mut stage) = held.ready.pop_front() else {
            if held.busy == 0 {
                return;
            }
            held = bell.wait(held).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        held.busy += 1;
        drop(held);
        let standing = stage.go_on(site);
        held = lock(board);
        held.busy -= 1;
        match standing {
            Ok(Standing::Finished(image)) => held.finish(plan, site, (stage.index, *image)),
            Ok(Standing::Waiting(other)) => held.wait_for(plan, site, (other, stage)),
            Err(error) => held.fail(site, error),
        }
        bell.notify_all();
    }
}

impl<'a, E: Send> Board<'a, E> {
    /// Begins a stage and those that it certainly needs, unless that was done.
    fn want(&mut self, plan: &'a Plan<'a>, stage: usize) {
        let mut wanted = vec![stage];
        while let Some(stage) = wanted.pop() {
            if !std::mem::replace(&mut self.begun[stage], true) {
                // Those that others wait for come first.
                self.ready.push_front(StageRun::new(plan, stage));
                wanted.extend(plan.needs(stage));
            }
        }
    }

    fn finish<W: Worker<Error = E>>(
        &mut self,
        plan: &Plan<'_>,
        site: &Site<'_, W>,
        (index, image): (usize, Image),
    ) {
        let image = Arc::new(image);
        lock(&site.finished)[index] = Some(Arc::clone(&image));
        let mut index_of_waiting = 0;
        while index_of_waiting < self.waiting.len() {
            if self.waiting[index_of_waiting].0 == index {
                self.ready.push_back(self.waiting.swap_remove(index_of_waiting).1);
            } else {
                index_of_waiting += 1;
            }
        }
        if index == plan.target && self.outcome.is_none() {
            self.outcome = Some(Ok(image));
        }
    }

    fn wait_for<W: Worker<Error = E>>(
        &mut self,
        plan: &'a Plan<'a>,
        site: &Site<'_, W>,
        (other, stage): (usize, StageRun<'a>),
    ) {
        // It may have finished between the question and now.
        if site.finished(other).is_some() {
            self.ready.push_back(stage);
        } else {
            self.waiting.push((other, stage));
            self.want(plan, other);
        }
    }

    fn fail<W: Worker<Error = E>>(&mut self, site: &Site<'_, W>, error: SolveError<E>) {
        if self.outcome.is_none() {
            self.outcome = Some(Err(error));
            site.is_cancelled.store(true, Ordering::Relaxed);
            site.worker.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
