//! The picture on a terminal: all steps with their times, and the last lines of those that run.
//!
//! It is painted over by moving the cursor up; nothing else of the terminal is changed, so that there is nothing to
//! put back however the program ends. A picture never has more rows than the window, as what has scrolled away cannot
//! be painted over.

use super::{How, State, Step, held};
use crate::output::ui::escape_control;
use std::fmt::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthChar;

/// How long a picture stays.
const PAUSE: Duration = Duration::from_millis(100);

/// How many lines of output of a step are shown.
const OUTPUT_LINES: usize = 6;

/// Columns for the time at the right.
const TIME_WIDTH: usize = 9;

/// The window when nobody tells its size.
const WINDOW: Window = Window { rows: 24, columns: 80 };

#[derive(Debug, Clone, Copy)]
struct Window {
    rows: usize,
    columns: usize,
}

/// Paints until it is stopped.
pub(super) struct Painter {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Painter {
    /// Begins to paint a build that began at this time. `size` tells rows and columns.
    pub(super) fn start(
        state: Arc<Mutex<State>>,
        (began, is_coloured): (Instant, bool),
        size: impl Fn() -> Option<(u16, u16)> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut canvas = Canvas { rows: 0, columns: WINDOW.columns, is_coloured };
            loop {
                let has_ended = stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
                let window =
                    size().map(|(rows, columns)| Window { rows: rows.into(), columns: columns.into() });
                let window = window.filter(|window| window.rows > 3 && window.columns > 20).unwrap_or(WINDOW);
                let mut state = held(&state);
                state.now = began.elapsed().as_secs_f64();
                let text = canvas.paint(&state, window, has_ended);
                let _ = state.out.write_all(text.as_bytes());
                if has_ended {
                    return;
                }
            }
        });
        Self { stop, thread }
    }

    /// Paints the last picture.
    pub(super) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// A line of the picture: its text, its time, its colour.
struct Line {
    text: String,
    seconds: Option<f64>,
    colour: &'static str,
}

const BLUE: &str = "34";
const CYAN: &str = "36";
const RED: &str = "31";
const YELLOW: &str = "33";
const DEFAULT: &str = "";

/// What was painted last.
struct Canvas {
    rows: usize,
    columns: usize,
    is_coloured: bool,
}

impl Canvas {
    /// The text that paints a picture over the one before it.
    fn paint(&mut self, state: &State, window: Window, has_ended: bool) -> String {
        let lines = picture(state, window, has_ended);
        // A window that has become narrower has broken the lines that were there.
        let broken = self.columns.div_ceil(window.columns.max(1)).max(1);
        let mut text = String::new();
        if self.rows > 0 {
            let _ = write!(text, "\r\x1b[{}A", self.rows * broken);
        }
        text.push_str("\x1b[J");
        for line in &lines {
            text.push_str(&self.row(line, window.columns));
            text.push('\n');
        }
        (self.rows, self.columns) = (lines.len(), window.columns);
        text
    }

    fn row(&self, line: &Line, columns: usize) -> String {
        let time = line.seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}s"));
        let width = columns.saturating_sub(if time.is_empty() { 1 } else { TIME_WIDTH + 1 });
        let (text, used) = fitted(&line.text, width);
        let gap = if time.is_empty() { String::new() } else { " ".repeat(width - used) };
        let row = format!("{text}{gap}{time:>width$}", width = if time.is_empty() { 0 } else { TIME_WIDTH });
        match (self.is_coloured, line.colour) {
            (true, colour) if !colour.is_empty() => format!("\x1b[{colour}m{row}\x1b[0m"),
            _ => row,
        }
    }
}

/// As much of a text as fits, without what would move the cursor; and how wide it is.
fn fitted(text: &str, width: usize) -> (String, usize) {
    let mut fitted = String::new();
    let mut used = 0;
    for letter in escape_control(text).chars() {
        let wide = letter.width().unwrap_or(0);
        if used + wide > width {
            break;
        }
        used += wide;
        fitted.push(letter);
    }
    (fitted, used)
}

/// The lines of a picture, at most as many as the window has rows.
fn picture(state: &State, window: Window, has_ended: bool) -> Vec<Line> {
    let mut steps: Vec<&Step> = state.steps.values().collect();
    steps.sort_by_key(|step| step.number);
    let ended = steps.iter().filter(|step| step.end.is_some()).count();
    let failed = if state.failed.is_some() {
        " FAILED"
    } else if has_ended {
        " FINISHED"
    } else {
        ""
    };
    let head = format!("[+] Building {:.1}s ({ended}/{}){failed}", state.now, steps.len());
    let mut lines = vec![Line { text: head, seconds: None, colour: DEFAULT }];
    // What is over is left out first where there is not enough room; at the end there is no window to keep to.
    let room = if has_ended { usize::MAX } else { window.rows.saturating_sub(2) };
    let running = steps.iter().filter(|step| step.end.is_none()).count();
    let mut hidden = steps.len().saturating_sub(room);
    let mut spare = room.saturating_sub(steps.len());
    let share = spare.checked_div(running).unwrap_or(0).min(OUTPUT_LINES);
    let mut left = room;
    for step in steps {
        if left == 0 {
            break;
        }
        if hidden > 0 && step.end.is_some() {
            hidden -= 1;
            continue;
        }
        lines.push(line(step, state.now));
        left -= 1;
        if step.end.is_none() {
            let wanted = below(step, share.min(spare));
            spare -= wanted.len();
            left -= wanted.len().min(left);
            lines.extend(wanted);
        }
    }
    lines
}

fn line(step: &Step, now: f64) -> Line {
    let (word, colour) = match step.end.map(|end| end.how) {
        None => ("", DEFAULT),
        Some(How::Done) => ("", BLUE),
        Some(How::Cached) => ("CACHED ", BLUE),
        Some(How::Failed) => ("ERROR ", RED),
        Some(How::GivenUp) => ("CANCELED ", YELLOW),
    };
    let end = step.end.map_or(now, |end| end.at);
    Line { text: format!(" => {word}{}", step.name), seconds: Some((end - step.began).max(0.0)), colour }
}

/// What a step that goes on has told last.
fn below(step: &Step, room: usize) -> Vec<Line> {
    let text = String::from_utf8_lossy(&step.tail);
    let mut told: Vec<String> = text.lines().rev().take(room).map(visible).collect();
    told.reverse();
    if told.is_empty() && !step.note.is_empty() && room > 0 {
        told.push(step.note.clone());
    }
    told.into_iter()
        .map(|text| Line { text: format!(" => => # {text}"), seconds: None, colour: CYAN })
        .collect()
}

/// What of a line would be seen: what comes after the last return to its beginning, without colours and movements.
fn visible(line: &str) -> String {
    let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let mut shown = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' if letters.next_if_eq(&'[').is_some() => {
                // A control sequence ends with a letter (ECMA-48).
                while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {}
            }
            '\t' => shown.push_str("    "),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::builder::progress::{Display, Style};
    use mica_api::types::build::BuildEvent;
    use std::time::SystemTime;

    fn display(events: &[(f64, BuildEvent)]) -> Display {
        let display = Display::to_writer(Style::Live, Box::new(std::io::sink()), SystemTime::now());
        events.iter().for_each(|(at, event)| display.take_at(event, *at));
        display
    }

    fn begin(step: u32, name: &str) -> BuildEvent {
        BuildEvent::Begin { step, name: name.to_owned() }
    }

    fn output(step: u32, text: &str) -> BuildEvent {
        BuildEvent::Output { step, bytes: text.as_bytes().to_vec() }
    }

    fn canvas(is_coloured: bool) -> Canvas {
        Canvas { rows: 0, columns: 80, is_coloured }
    }

    const WINDOW: Window = Window { rows: 10, columns: 40 };

    #[test]
    fn steps_are_shown_with_their_times_and_last_lines() {
        let display = display(&[
            (0.0, begin(1, "one")),
            (0.5, BuildEvent::Done { step: 1 }),
            (0.5, begin(2, "two")),
            (0.5, BuildEvent::Cached { step: 2 }),
            (0.5, begin(3, "a name that is much longer than what the window has")),
            (1.5, output(3, "first\n10%\r\x1b[31m20%\x1b[0m\r\nlast")),
        ]);
        let text = canvas(false).paint(&held(&display.state), WINDOW, false);
        assert_eq!(
            text,
            "\x1b[J[+] Building 1.5s (2/3)\n => one                            0.5s\n \
             => CACHED two                     0.0s\n => a name that is much longer     1.0s\n \
             => => # first\n => => # 20%\n => => # last\n"
        );
    }

    #[test]
    fn a_picture_fits_the_window_and_is_painted_over() {
        let mut events: Vec<_> = (0..30).map(|step| (0.0, begin(step, &format!("step {step}")))).collect();
        events.extend((0..27).map(|step| (1.0, BuildEvent::Done { step })));
        events.push((1.0, output(28, &"line\n".repeat(100))));
        let display = display(&events);
        let mut canvas = canvas(false);
        let first = canvas.paint(&held(&display.state), WINDOW, false);
        assert!(first.lines().count() <= WINDOW.rows, "{first}");
        for step in ["step 27", "step 28", "step 29"] {
            assert!(first.contains(step), "{first}");
        }
        let second = canvas.paint(&held(&display.state), WINDOW, false);
        assert!(second.starts_with(&format!("\r\x1b[{}A\x1b[J", first.lines().count())), "{second:?}");
        let narrow = Window { columns: 20, ..WINDOW };
        let third = canvas.paint(&held(&display.state), narrow, false);
        assert!(third.starts_with(&format!("\r\x1b[{}A", 2 * first.lines().count())), "{third:?}");
        assert!(
            third.lines().all(|line| line.trim_start_matches(['\r', '\x1b', '[', 'J']).chars().count() <= 30)
        );
    }

    #[test]
    fn colours_tell_how_steps_ended_and_may_be_unwanted() {
        let display = display(&[
            (0.0, begin(1, "bad")),
            (0.0, begin(2, "other")),
            (0.1, BuildEvent::Failed { step: 1, reason: None }),
            (0.2, BuildEvent::Failed { step: 2, reason: None }),
        ]);
        let shown = canvas(true).paint(&held(&display.state), WINDOW, true);
        assert!(
            shown.contains("\x1b[31m => ERROR bad") && shown.contains("\x1b[33m => CANCELED other"),
            "{shown}"
        );
        let plain = canvas(false).paint(&held(&display.state), WINDOW, true);
        assert!(!plain.contains("\x1b[3"), "{plain}");
    }

    #[test]
    fn names_and_output_cannot_move_the_cursor() {
        let display = display(&[(0.0, begin(1, "a\x1b[2Jb\nc")), (0.0, output(1, "x\x1b]0;title\x07y\x08"))]);
        let shown = canvas(false).paint(&held(&display.state), WINDOW, false);
        assert_eq!(shown.matches('\x1b').count(), 1, "{shown:?}");
        assert!(!shown.contains(['\x07', '\x08']), "{shown:?}");
    }
}
