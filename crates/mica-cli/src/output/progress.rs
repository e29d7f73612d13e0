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
    Live { all: MultiProgress, bars: BTreeMap<String, ProgressBar> },
    Plain(Box<dyn Write + Send>),
    Quiet,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").finish_non_exhaustive()
    }
}

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
                let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
                Shown::Live { all, bars: BTreeMap::new() }
            }
            Manner::Plain => Shown::Plain(writer),
            Manner::Quiet => Shown::Quiet,
        };
        Self { shown: Mutex::new(shown) }
    }

    /// Takes note of an event. That nobody reads the lines is no reason to stop the work.
    pub fn report(&self, event: &ProgressEvent) {
        match &mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            Shown::Live { all, bars } => draw(all, bars, event),
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

fn draw(all: &MultiProgress, bars: &mut BTreeMap<String, ProgressBar>, event: &ProgressEvent) {
    match event {
        ProgressEvent::Begin { part, total } => {
            let bar = bar_of(all, bars, part);
            bar.set_style(style(if total.is_some() { SIZED } else { UNSIZED }));
            if let Some(total) = total {
                bar.set_length(*total);
            }
            bar.set_position(0);
            bar.set_message(if bar.message().is_empty() { "Loading" } else { "Downloading" });
        }
        ProgressEvent::Status { part, text } => {
            let bar = bar_of(all, bars, part);
            bar.set_style(style(SETTLED));
            bar.set_message(escape_control(text).into_owned());
        }
        ProgressEvent::Note { text } => {
            let _ = all.println(escape_control(text));
        }
        ProgressEvent::Advance { part, bytes } => {
            if let Some(bar) = bars.get(part) {
                bar.inc(*bytes);
            }
        }
        ProgressEvent::End { part, outcome } => {
            let bar = bar_of(all, bars, part);
            bars.remove(part);
            bar.set_style(style(SETTLED));
            bar.finish_with_message(escape_control(outcome).into_owned());
        }
    }
}

/// The bar of a part, made where there is none.
fn bar_of(all: &MultiProgress, bars: &mut BTreeMap<String, ProgressBar>, part: &str) -> ProgressBar {
    let make = || {
        let bar = all.add(ProgressBar::no_length());
        bar.set_prefix(escape_control(part).into_owned());
        bar
    };
    bars.entry(part.to_owned()).or_insert_with(make).clone()
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
        for template in [SIZED, UNSIZED, SETTLED] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
        let (all, mut bars) =
            (MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), BTreeMap::new());
        let [begin, advance, end, _] = events();
        draw(&all, &mut bars, &begin);
        draw(&all, &mut bars, &advance);
        let bar = bars["aabbccddeeff"].clone();
        assert_eq!((bar.position(), bar.length()), (60, Some(100)));
        draw(&all, &mut bars, &end);
        assert!(bar.is_finished() && bars.is_empty());
        assert_eq!(bar.message(), "Loaded");
    }
}
