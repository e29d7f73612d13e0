//! What a build shows of itself, in the words of docker's builder.

mod live;
mod plain;
mod raw;

use crate::context::Context;
use crate::report::Failure;
use crate::terminal::window_size;
use live::Painter;
use mica_api::types::build::BuildEvent;
use raw::Clock;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// How a build shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A line for every piece of news.
    Plain,
    /// The same for programs: a JSON object a line.
    Json,
    /// Nothing but a failure.
    Quiet,
    /// A picture of all steps that is painted again and again.
    Live,
}

impl Style {
    /// What `--progress` or `BUILDKIT_PROGRESS` asks for.
    pub(super) fn parse(typed: Option<&str>, context: &Context<'_>) -> Result<Self, Failure> {
        let is_terminal = context.terminals().error;
        let is_dumb = context.config.environment.variable("TERM") == Some("dumb");
        match typed {
            None | Some("" | "auto") if is_terminal && !is_dumb => Ok(Self::Live),
            None | Some("" | "auto" | "plain") => Ok(Self::Plain),
            Some("tty") if is_terminal => Ok(Self::Live),
            Some("tty") => Err(Failure::refused("failed to get console: standard error is no terminal")),
            Some("quiet" | "none") => Ok(Self::Quiet),
            Some("rawjson") => Ok(Self::Json),
            Some(other) => Err(Failure::refused(format!("unknown progress type: {other}"))),
        }
    }
}

/// How much of a step's output is shown again when it fails, in bytes.
const TAIL_SIZE_MAX: usize = 16 << 10;

/// Shows a build; may be told from several threads.
pub(super) struct Display {
    style: Style,
    began: Instant,
    state: Arc<Mutex<State>>,
    painter: Option<Painter>,
}

struct State {
    out: Box<dyn Write + Send>,
    /// The steps by the engine's numbers.
    steps: BTreeMap<u32, Step>,
    /// The step that the last line was about.
    last: Option<u32>,
    /// The step that failed, and where in the Dockerfile.
    failed: Option<u32>,
    excerpt: String,
    warnings: String,
    /// Seconds since the build began.
    now: f64,
    clock: Clock,
}

struct Step {
    number: usize,
    name: String,
    began: f64,
    /// Output since the last line end.
    unfinished: Vec<u8>,
    tail: Vec<u8>,
    /// The last thing that was said about it.
    note: String,
    end: Option<End>,
}

/// How a step ended, and after how many seconds of the build.
#[derive(Debug, Clone, Copy, PartialEq)]
struct End {
    how: How,
    at: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Done,
    Cached,
    Failed,
    GivenUp,
}

impl Display {
    pub(super) fn new(style: Style, context: &Context<'_>) -> Self {
        let terminal = context.error_descriptor().try_clone_to_owned();
        let mut display = Self::to_writer(style, standard_error(&terminal), SystemTime::now());
        if let (Style::Live, Ok(terminal)) = (style, terminal) {
            let is_coloured = !context.config.environment.is_colour_unwanted();
            let size = move || window_size(&terminal).map(|size| (size.rows, size.columns));
            display.painter =
                Some(Painter::start(Arc::clone(&display.state), (display.began, is_coloured), size));
        }
        display
    }

    /// One that shows on standard output what was told before, by a build that began at this time.
    pub(super) fn of_record(style: Style, began: SystemTime, context: &Context<'_>) -> Self {
        let output = context.output_descriptor().try_clone_to_owned();
        Self::to_writer(style, standard_error(&output), began)
    }

    fn to_writer(style: Style, out: Box<dyn Write + Send>, began: SystemTime) -> Self {
        let state = State {
            out,
            steps: BTreeMap::new(),
            last: None,
            failed: None,
            excerpt: String::new(),
            warnings: String::new(),
            now: 0.0,
            clock: Clock::new(began),
        };
        Self { style, began: Instant::now(), state: Arc::new(Mutex::new(state)), painter: None }
    }

    /// Takes note of an event. That nobody reads it is no reason to stop the build.
    pub(super) fn take(&self, event: &BuildEvent) {
        self.take_at(event, self.began.elapsed().as_secs_f64());
    }

    /// The same for an event that came so many seconds after the build began.
    pub(super) fn take_at(&self, event: &BuildEvent, at: f64) {
        let mut state = held(&self.state);
        state.now = at;
        state.remember(event);
        match self.style {
            Style::Plain => state.plain(event),
            Style::Json => state.json(event),
            Style::Quiet | Style::Live => {}
        }
    }

    /// Shows why the build failed, if it did.
    pub(super) fn finish(mut self, error: Option<&mica_api::Error>) {
        if let Some(painter) = self.painter.take() {
            painter.stop();
        }
        if error.is_some() {
            self.failed();
        }
    }

    /// Shows what failed: its last output and where it is written.
    pub(super) fn failed(&self) {
        if self.style == Style::Json {
            return;
        }
        let mut state = held(&self.state);
        let mut text = Vec::new();
        if let Some(step) = state.failed.and_then(|failed| state.steps.get(&failed)) {
            text.extend(format!("------\n > {}:\n", step.name).bytes());
            text.extend(&step.tail);
            if !step.tail.is_empty() && !step.tail.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend(b"------\n");
        }
        text.extend(state.excerpt.bytes());
        let _ = state.out.write_all(&text);
    }
}

fn standard_error(descriptor: &std::io::Result<OwnedFd>) -> Box<dyn Write + Send> {
    let copy = descriptor.as_ref().ok().and_then(|descriptor| descriptor.try_clone().ok());
    copy.map_or_else(|| Box::new(std::io::sink()) as Box<dyn Write + Send>, |copy| Box::new(File::from(copy)))
}

fn held(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn remember(&mut self, event: &BuildEvent) {
        let now = self.now;
        match event {
            BuildEvent::Begin { step, name } => {
                let fresh = Step {
                    number: self.steps.len() + 1,
                    name: name.clone(),
                    began: now,
                    unfinished: Vec::new(),
                    tail: Vec::new(),
                    note: String::new(),
                    end: None,
                };
                self.steps.insert(*step, fresh);
            }
            BuildEvent::Note { step, text } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.note.clone_from(text);
                }
            }
            BuildEvent::Output { step, bytes } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.tail.extend(bytes);
                    let excess = step.tail.len().saturating_sub(TAIL_SIZE_MAX);
                    step.tail.drain(..excess);
                }
            }
            BuildEvent::Cached { step } => self.end_step(*step, How::Cached),
            BuildEvent::Done { step } => self.end_step(*step, How::Done),
            BuildEvent::Failed { step, .. } => {
                // Those that end because another one has failed come after it.
                let how = if self.failed.is_none() { How::Failed } else { How::GivenUp };
                self.failed = self.failed.or(Some(*step));
                self.end_step(*step, how);
            }
            BuildEvent::Excerpt { text } => self.excerpt.clone_from(text),
            BuildEvent::Warnings { text } => self.warnings.clone_from(text),
        }
    }

    fn end_step(&mut self, step: u32, how: How) {
        let at = self.now;
        if let Some(step) = self.steps.get_mut(&step) {
            step.end = Some(End { how, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(style: Style, events: &[BuildEvent], error: Option<&mica_api::Error>) -> String {
        let out = Shared::default();
        let display = Display::to_writer(style, Box::new(out.clone()), SystemTime::UNIX_EPOCH);
        events.iter().for_each(|event| display.take(event));
        display.finish(error);
        let bytes = out.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        if style == Style::Json { text } else { text.split_inclusive('\n').map(without_times).collect() }
    }

    /// Times differ.
    fn without_times(line: &str) -> String {
        let words = line.split_inclusive(' ').enumerate().map(|(index, word)| {
            let is_number = |text: &str| text.contains('.') && text.parse::<f64>().is_ok();
            match word.trim_end().strip_suffix('s') {
                Some(seconds) if is_number(seconds) => word.replace(seconds, "T"),
                _ if index == 1 && is_number(word.trim_end()) => "T ".to_owned(),
                _ => word.to_owned(),
            }
        });
        words.collect()
    }

    fn events() -> Vec<BuildEvent> {
        vec![
            BuildEvent::Begin { step: 3, name: "[1/2] FROM a".to_owned() },
            BuildEvent::Cached { step: 3 },
            BuildEvent::Begin { step: 9, name: "[2/2] RUN x".to_owned() },
            BuildEvent::Output { step: 9, bytes: b"one\ntw".to_vec() },
            BuildEvent::Output { step: 9, bytes: b"o\nrest".to_vec() },
            BuildEvent::Failed { step: 9, reason: None },
            BuildEvent::Excerpt { text: "Dockerfile:2\n".to_owned() },
        ]
    }

    #[test]
    fn lines_are_those_of_dockers_builder() {
        let error = mica_api::Error::unsupported("x");
        assert_eq!(
            shown(Style::Plain, &events(), Some(&error)),
            "#1 [1/2] FROM a\n#1 CACHED\n\n#2 [2/2] RUN x\n#2 T one\n#2 T two\n#2 T rest\n#2 ERROR Ts\n\
             ------\n > [2/2] RUN x:\none\ntwo\nrest\n------\nDockerfile:2\n"
        );
    }

    #[test]
    fn quiet_shows_failures_only() {
        assert_eq!(shown(Style::Quiet, &events(), None), "");
        let error = mica_api::Error::unsupported("x");
        assert!(shown(Style::Quiet, &events(), Some(&error)).starts_with("------\n > [2/2] RUN x:\n"));
    }

    #[test]
    fn programs_get_an_object_a_line() {
        let shown = shown(Style::Json, &events(), None);
        let documents: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(documents.len(), 7);
        let vertex = &documents[0]["vertexes"][0];
        assert_eq!(vertex["name"], "[1/2] FROM a");
        assert!(vertex["started"].as_str().unwrap().starts_with("1970-01-01T00:00:"), "{vertex}");
        assert_eq!(documents[1]["vertexes"][0]["cached"], true);
        assert_eq!(documents[1]["vertexes"][0]["digest"], vertex["digest"]);
        assert_eq!(documents[3]["logs"][0]["data"], "b25lCnR3");
        assert!(documents[5]["vertexes"][0]["error"].is_string());
    }
}
