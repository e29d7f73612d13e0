//! Progress of long work: live bars on a terminal, plain lines elsewhere, or nothing.

use super::ui::escape_control;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mica_api::types::image::ProgressEvent;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Bars on standard error, for terminals.
    Live,
    /// A line when a part is done.
    Plain,
    /// Nothing.
    Quiet,
}

/// A listener for [`ProgressEvent`]s; may be called from several threads.
pub struct Progress {
    shown: Mutex<Shown>,
}

enum Shown {
    Live(Screen),
    Plain(Box<dyn Write + Send>),
    Quiet,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// What is on a terminal.
struct Screen {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    /// All parts together, once there are several.
    total: Option<ProgressBar>,
    /// How much the parts that have begun are, and how much of it is done.
    length: u64,
    done: u64,
    begun: usize,
}

/// Of all parts together.
const TOTAL: &str = "Total: {bytes}/{total_bytes} {bytes_per_sec}";

/// Of a part whose size is known.
const SIZED: &str = "{prefix}: {msg:12} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}";

/// Of a part that is not being worked on.
const SETTLED: &str = "{prefix}: {msg}";

/// Of a part whose size is not known.
const UNSIZED: &str = "{prefix}: {msg:12} {bytes}";

impl Progress {
    /// Progress shown in `manner`; plain lines go to `writer`.
    pub fn new(manner: Manner, writer: Box<dyn Write + Send>) -> Self {
        let shown = match manner {
            Manner::Live => {
                Shown::Live(Screen::new(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())))
            }
            Manner::Plain => Shown::Plain(writer),
            Manner::Quiet => Shown::Quiet,
        };
        Self { shown: Mutex::new(shown) }
    }

    /// Takes note of an event. That nobody reads the lines is no reason to stop the work.
    pub fn report(&self, event: &ProgressEvent) {
        match &mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            Shown::Live(screen) => screen.draw(event),
            Shown::Plain(writer) => {
                let _ = match event {
                    ProgressEvent::End { part, outcome: text } | ProgressEvent::Status { part, text } => {
                        writeln!(writer, "{}: {}", escape_control(part), escape_control(text))
                    }
                    ProgressEvent::Note { text } => writeln!(writer, "{}", escape_control(text)),
                    ProgressEvent::Begin { .. } | ProgressEvent::Advance { .. } => Ok(()),
                };
            }
            Shown::Quiet => {}
        }
    }
}

impl Screen {
    const fn new(all: MultiProgress) -> Self {
        Self { all, bars: BTreeMap::new(), total: None, length: 0, done: 0, begun: 0 }
    }

    fn draw(&mut self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Begin { part, total } => self.begin(part, *total),
            ProgressEvent::Status { part, text } => {
                let bar = self.bar_of(part);
                bar.set_style(style(SETTLED));
                bar.set_message(escape_control(text).into_owned());
            }
            ProgressEvent::Note { text } => {
                let _ = self.all.println(escape_control(text));
            }
            ProgressEvent::Advance { part, bytes } => {
                if let Some(bar) = self.bars.get(part) {
                    bar.inc(*bytes);
                    self.done += bytes;
                    self.draw_total();
                }
            }
            ProgressEvent::End { part, outcome } => {
                let bar = self.bar_of(part);
                self.bars.remove(part);
                bar.set_style(style(SETTLED));
                bar.finish_with_message(escape_control(outcome).into_owned());
            }
        }
    }

    fn begin(&mut self, part: &str, total: Option<u64>) {
        let bar = self.bar_of(part);
        bar.set_style(style(if total.is_some() { SIZED } else { UNSIZED }));
        // One that begins again has been counted.
        if bar.length() == total && total.is_some() {
            self.done = self.done.saturating_sub(bar.position());
        } else {
            self.length += total.unwrap_or(0);
            self.begun += usize::from(total.is_some());
        }
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(0);
        bar.set_message(match bar.message().as_str() {
            "" => "Loading",
            "Preparing" => "Pushing",
            _ => "Downloading",
        });
        self.draw_total();
    }

    /// The last line, where it says more than the one above it.
    fn draw_total(&mut self) {
        if self.begun < 2 {
            return;
        }
        let all = &self.all;
        let total = self.total.get_or_insert_with(|| {
            let bar = all.add(ProgressBar::no_length());
            bar.set_style(style(TOTAL));
            bar
        });
        total.set_length(self.length);
        total.set_position(self.done);
    }

    /// The bar of a part, made where there is none.
    fn bar_of(&mut self, part: &str) -> ProgressBar {
        let (all, total) = (&self.all, &self.total);
        let make = || {
            let bar = ProgressBar::no_length();
            let bar = match total {
                Some(total) => all.insert_before(total, bar),
                None => all.add(bar),
            };
            bar.set_prefix(escape_control(part).into_owned());
            bar
        };
        self.bars.entry(part.to_owned()).or_insert_with(make).clone()
    }
}

/// The templates are constants that a test checks.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events() -> [ProgressEvent; 4] {
        let part = || "aabbccddeeff".to_owned();
        [
            ProgressEvent::Begin { part: part(), total: Some(100) },
            ProgressEvent::Advance { part: part(), bytes: 60 },
            ProgressEvent::End { part: part(), outcome: "Loaded".to_owned() },
            ProgressEvent::End { part: "other".to_owned(), outcome: "Already\u{1b} exists".to_owned() },
        ]
    }

    #[test]
    fn lines_tell_what_is_done() {
        let lines = Shared::default();
        let progress = Progress::new(Manner::Plain, Box::new(lines.clone()));
        std::thread::scope(|scope| {
            scope.spawn(|| events().iter().for_each(|event| progress.report(event)));
        });
        assert_eq!(*lines.0.lock().unwrap(), b"aabbccddeeff: Loaded\nother: Already\\x1b exists\n");
    }

    #[test]
    fn quiet_writes_nothing() {
        let lines = Shared::default();
        let progress = Progress::new(Manner::Quiet, Box::new(lines.clone()));
        events().iter().for_each(|event| progress.report(event));
        assert!(lines.0.lock().unwrap().is_empty());
    }

    #[test]
    fn bars_follow_their_parts() {
        for template in [SIZED, UNSIZED, SETTLED, TOTAL] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
        let mut screen = Screen::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let [begin, advance, end, _] = events();
        screen.draw(&begin);
        screen.draw(&advance);
        let bar = screen.bars["aabbccddeeff"].clone();
        assert_eq!((bar.position(), bar.length()), (60, Some(100)));
        assert!(screen.total.is_none(), "one part is its own total");
        let other = "ffeeddccbbaa".to_owned();
        screen.draw(&ProgressEvent::Begin { part: other.clone(), total: Some(50) });
        screen.draw(&ProgressEvent::Advance { part: other.clone(), bytes: 10 });
        screen.draw(&ProgressEvent::Begin { part: other, total: Some(50) });
        let total = screen.total.clone().unwrap();
        assert_eq!((total.position(), total.length()), (60, Some(150)));
        screen.draw(&end);
        assert!(bar.is_finished() && screen.bars.len() == 1);
        assert_eq!(bar.message(), "Loaded");
    }
}
