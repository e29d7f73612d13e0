//! A line for every piece of news, each with the number of its step.

use super::State;
use mica_api::types::build::BuildEvent;

impl State {
    pub(super) fn plain(&mut self, event: &BuildEvent) {
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
                None if self.failed == Some(*step) => (*step, self.end(*step, "ERROR")),
                None => (*step, self.end(*step, "CANCELED")),
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
        let seconds = self.seconds(step);
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

    /// How long a step has gone on.
    fn seconds(&self, step: u32) -> f64 {
        self.steps.get(&step).map_or(0.0, |step| (self.now - step.began).max(0.0))
    }

    fn timed(&self, step: u32, line: &[u8]) -> Vec<u8> {
        let seconds = self.seconds(step);
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
}
