//! What a build shows of itself, in the words of docker's builder.

use crate::context::Context;
use mica_api::types::build::BuildEvent;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How a build shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A line for every piece of news.
    Plain,
    /// The same for programs: a JSON object a line.
    Json,
    /// Nothing but a failure.
    Quiet,
}

/// How much of a step's output is shown again when it fails, in bytes.
const TAIL_SIZE_MAX: usize = 16 << 10;

/// Shows a build; may be told from several threads.
pub(super) struct Display {
    style: Style,
    state: Mutex<State>,
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
}

struct Step {
    number: usize,
    name: String,
    began: Instant,
    /// Output since the last line end.
    unfinished: Vec<u8>,
    tail: Vec<u8>,
}

impl Display {
    pub(super) fn new(style: Style, context: &Context<'_>) -> Self {
        let out: Box<dyn Write + Send> = match context.error_descriptor().try_clone_to_owned() {
            Ok(error) => Box::new(File::from(error)),
            Err(_) => Box::new(std::io::sink()),
        };
        Self::to_writer(style, out)
    }

    fn to_writer(style: Style, out: Box<dyn Write + Send>) -> Self {
        let state = State { out, steps: BTreeMap::new(), last: None, failed: None, excerpt: String::new() };
        Self { style, state: Mutex::new(state) }
    }

    /// Takes note of an event. That nobody reads it is no reason to stop the build.
    pub(super) fn take(&self, event: &BuildEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remember(event);
        match self.style {
            Style::Plain => state.plain(event),
            Style::Json => state.json(event),
            Style::Quiet => {}
        }
    }

    /// Shows why the build failed, if it did.
    pub(super) fn finish(&self, error: Option<&mica_api::Error>) {
        if error.is_none() || self.style == Style::Json {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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

impl State {
    fn remember(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::Begin { step, name } => {
                let number = self.steps.len() + 1;
                let began = Instant::now();
                let fresh =
                    Step { number, name: name.clone(), began, unfinished: Vec::new(), tail: Vec::new() };
                self.steps.insert(*step, fresh);
            }
            BuildEvent::Output { step, bytes } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.tail.extend(bytes);
                    let excess = step.tail.len().saturating_sub(TAIL_SIZE_MAX);
                    step.tail.drain(..excess);
                }
            }
            BuildEvent::Failed { step, .. } => self.failed = self.failed.or(Some(*step)),
            BuildEvent::Excerpt { text } => self.excerpt.clone_from(text),
            _ => {}
        }
    }

    fn plain(&mut self, event: &BuildEvent) {
        let (step, lines) = match event {
            BuildEvent::Begin { step, name } => (*step, name.clone().into_bytes()),
            BuildEvent::Note { step, text } => (*step, text.clone().into_bytes()),
            BuildEvent::Output { step, bytes } => {
                let lines = self.whole_lines(*step, bytes);
                return self.lines(*step, &lines);
            }
            BuildEvent::Cached { step } => (*step, b"CACHED".to_vec()),
            BuildEvent::Done { step } => (*step, self.end(*step, "DONE")),
            BuildEvent::Failed { step, reason } => match reason {
                Some(reason) => (*step, format!("ERROR: {reason}").into_bytes()),
                None => (*step, self.end(*step, "ERROR")),
            },
            BuildEvent::Warnings { text } => {
                let _ = write!(self.out, "\n {text}");
                return;
            }
            BuildEvent::Excerpt { .. } => return,
        };
        self.lines(step, &[lines]);
    }

    /// The last words about a step, after what it wrote without a line end.
    fn end(&mut self, step: u32, word: &str) -> Vec<u8> {
        let rest =
            self.steps.get_mut(&step).map(|step| std::mem::take(&mut step.unfinished)).unwrap_or_default();
        if !rest.is_empty() {
            let line = self.timed(step, &rest);
            self.lines(step, &[line]);
        }
        let seconds = self.steps.get(&step).map_or(0.0, |step| step.began.elapsed().as_secs_f64());
        format!("{word} {seconds:.1}s").into_bytes()
    }

    /// The lines that output completes, with their times.
    fn whole_lines(&mut self, number: u32, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(step) = self.steps.get_mut(&number) else { return Vec::new() };
        step.unfinished.extend(bytes);
        let Some(end) = step.unfinished.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = step.unfinished.drain(..=end).collect();
        let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
        whole.split(|&byte| byte == b'\n').map(|line| self.timed(number, line)).collect()
    }

    fn timed(&self, step: u32, line: &[u8]) -> Vec<u8> {
        let seconds = self.steps.get(&step).map_or(0.0, |step| step.began.elapsed().as_secs_f64());
        [format!("{seconds:.3} ").as_bytes(), line].concat()
    }

    /// Writes lines about a step; an empty one where the step before was another.
    fn lines(&mut self, step: u32, lines: &[Vec<u8>]) {
        let number = self.steps.get(&step).map_or(0, |step| step.number);
        let mut text = Vec::new();
        for line in lines {
            if self.last.is_some_and(|last| last != step) {
                text.push(b'\n');
            }
            self.last = Some(step);
            text.extend(format!("#{number} ").bytes());
            text.extend(line);
            text.push(b'\n');
        }
        let _ = self.out.write_all(&text);
    }

    fn json(&mut self, event: &BuildEvent) {
        let number = |step: &u32| self.steps.get(step).map_or(0, |step| step.number);
        let seconds =
            |step: &u32| self.steps.get(step).map_or(0.0, |step| step.began.elapsed().as_secs_f64());
        let document = match event {
            BuildEvent::Begin { step, name } => {
                serde_json::json!({"vertex": number(step), "name": name, "started": true})
            }
            BuildEvent::Note { step, text } => serde_json::json!({"vertex": number(step), "status": text}),
            BuildEvent::Output { step, bytes } => {
                serde_json::json!({"vertex": number(step), "log": String::from_utf8_lossy(bytes), "seconds": seconds(step)})
            }
            BuildEvent::Cached { step } => {
                serde_json::json!({"vertex": number(step), "cached": true, "completed": true})
            }
            BuildEvent::Done { step } => {
                serde_json::json!({"vertex": number(step), "completed": true, "seconds": seconds(step)})
            }
            BuildEvent::Failed { step, reason } => {
                serde_json::json!({"vertex": number(step), "completed": true, "error": reason, "seconds": seconds(step)})
            }
            BuildEvent::Excerpt { text } | BuildEvent::Warnings { text } => {
                serde_json::json!({"warning": text})
            }
        };
        let _ = writeln!(self.out, "{document}");
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
        let display = Display::to_writer(style, Box::new(out.clone()));
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
        assert_eq!(documents[0]["name"], "[1/2] FROM a");
        assert_eq!(documents[1]["cached"], true);
    }
}
