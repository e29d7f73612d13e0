//! What a build tells while it goes on.

use crate::worker::StepNumber;

/// A piece of news of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<'a> {
    /// It begins; the name is what is shown of it.
    Begin(&'a str),
    /// It was done before.
    Cached,
    /// It is done.
    Done,
    /// It was given up, for this reason or because of another step.
    Failed(Option<&'a str>),
}

/// Hears of news; called from several threads.
pub type Listener<'a> = &'a (dyn Fn(StepNumber, News<'_>) + Sync);
