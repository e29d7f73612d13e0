//! Answers that a test prepares for the fake engine's requests about images and the system, and
//! the calls as they came.

use crate::fake::{FakeEngine, run_in};
use mica_api::engine::Sink;
use mica_api::{Error, Result};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// The answers; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Prepared {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<String>,
    answers: BTreeMap<&'static str, VecDeque<Box<dyn Any + Send>>>,
}

impl Debug for Prepared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Prepared").finish_non_exhaustive()
    }
}

impl FakeEngine {
    /// The next call of `method` answers this; the items of a followed request are a `Vec`, the
    /// bytes of a written one are too.
    pub(crate) fn will<T: Send + 'static>(self, method: &'static str, answer: Result<T>) -> Self {
        let mut state = self.prepared.state.lock().unwrap();
        state.answers.entry(method).or_default().push_back(Box::new(answer));
        drop(state);
        self
    }

    /// The calls so far: the method, then what it was given, as `Debug` writes it.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.prepared.state.lock().unwrap().calls.clone()
    }
}

impl Prepared {
    fn take(&self, method: &'static str, given: &[&dyn Debug]) -> Option<Box<dyn Any + Send>> {
        let mut state = self.state.lock().unwrap();
        let call = given.iter().fold(method.to_owned(), |call, one| format!("{call} {one:?}"));
        state.calls.push(call);
        state.answers.get_mut(method).and_then(VecDeque::pop_front)
    }

    /// Notes a call and gives the next answer to it.
    pub(crate) fn answer<T: 'static>(&self, method: &'static str, given: &[&dyn Debug]) -> Result<T> {
        match self.take(method, given) {
            Some(answer) => *answer
                .downcast::<Result<T>>()
                .unwrap_or_else(|_| panic!("the answer to {method} has another type")),
            None => Err(Error::internal(format!("the test has no answer to {method}"))),
        }
    }

    /// As `answer`, where a test that says nothing means success.
    pub(crate) fn done(&self, method: &'static str, given: &[&dyn Debug]) -> Result<()> {
        self.take(method, given).map_or(Ok(()), |answer| *answer.downcast::<Result<()>>().unwrap())
    }

    /// Gives the items of the next answer to `sink`.
    pub(crate) fn follow<T: 'static>(
        &self,
        method: &'static str,
        given: &[&dyn Debug],
        sink: Sink<'_, T>,
    ) -> Result<()> {
        for item in self.answer::<Vec<T>>(method, given)? {
            if !sink(item) {
                break;
            }
        }
        Ok(())
    }

    /// Writes the bytes of the next answer.
    pub(crate) fn write(
        &self,
        method: &'static str,
        given: &[&dyn Debug],
        out: &mut dyn Write,
    ) -> Result<()> {
        let bytes = self.answer::<Vec<u8>>(method, given)?;
        out.write_all(&bytes).map_err(|error| Error::internal(error.to_string()))
    }
}

/// What a command line came to: exit code, standard output, standard error.
pub(crate) type Outcome = (u8, String, String);

/// Runs `mica` with `arguments` in the zone UTC.
pub(crate) fn run(engine: &FakeEngine, arguments: &[&str]) -> Outcome {
    let ran = run_in(arguments, &[("TZ", "UTC"), ("LANG", "C.UTF-8")], engine);
    (ran.code, ran.output, ran.error)
}

/// The outcome to compare with.
pub(crate) fn outcome(code: u8, output: &str, error: &str) -> Outcome {
    (code, output.to_owned(), error.to_owned())
}
