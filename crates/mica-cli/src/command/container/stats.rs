//! `container stats`: what containers use, once or continuously.
//!
//! One thread per container asks the engine, which blocks between samples; this thread alone
//! prints.

mod row;

use crate::args::{Matches, format_of_rows, switch};
use crate::command::container::ls::template;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::{Detail, Format};
use crate::output::table;
use crate::output::template::Object;
use crate::report::{Failure, Gathered, Outcome};
use mica_api::types::container::{ListOptions, StatsSample};
use mica_api::{Engine, Error};
use row::{LAYOUT, Row};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container stats", "stats"],
    summary: "Display a live stream of container(s) resource usage statistics",
    operands: Operands::at_least(0, &["[CONTAINER...]"]),
    flags: || {
        vec![
            switch("all", "Show all containers (default shows just running)").short('a'),
            format_of_rows(),
            switch("no-stream", "Disable streaming stats and only pull the first result"),
            switch("no-trunc", "Do not truncate output"),
        ]
    },
    planned: &[],
    execute,
    examples: &[("One look at all that run", "stats --no-stream")],
    visibility: Visibility::Plain,
};

/// Time between two drawings of the screen, as docker has it.
const INTERVAL: Duration = Duration::from_millis(500);

/// What was typed.
#[derive(Debug)]
struct StatsArguments {
    references: Vec<String>,
    is_all: bool,
    is_stream: bool,
    is_truncated: bool,
}

/// What a watching thread tells.
enum News {
    Sample(Box<StatsSample>),
    End(Result<(), Error>),
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let arguments = StatsArguments {
        references: matches.operands(),
        is_all: matches.on("all"),
        is_stream: !matches.on("no-stream"),
        is_truncated: !matches.on("no-trunc"),
    };
    let typed = matches.text("format").filter(|format| !format.is_empty());
    let format = typed.unwrap_or_else(|| context.file().stats_format.clone());
    let format = Format::parse(&format, &LAYOUT, Detail::Full).map_err(template)?;
    let engine = context.engine()?;
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        let watch = Watch { scope, engine, stop: &stop, sender, is_stream: arguments.is_stream };
        let board = Board { rows: Vec::new(), refused: Gathered::default(), format, arguments };
        let outcome = follow(board, &watch, &receiver, context);
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

/// How threads that watch containers are started.
struct Watch<'scope, 'environment> {
    scope: &'scope Scope<'scope, 'environment>,
    engine: &'environment dyn Engine,
    stop: &'environment AtomicBool,
    sender: Sender<(String, News)>,
    is_stream: bool,
}

impl Watch<'_, '_> {
    fn start(&self, reference: &str) {
        let (engine, stop, is_stream) = (self.engine, self.stop, self.is_stream);
        let (sender, reference) = (self.sender.clone(), reference.to_owned());
        self.scope.spawn(move || {
            let mut sink = |sample: StatsSample| {
                let told = sender.send((reference.clone(), News::Sample(Box::new(sample))));
                told.is_ok() && !stop.load(Ordering::Relaxed)
            };
            let end = engine.container_stats(&reference, is_stream, &mut sink);
            let _ = sender.send((reference.clone(), News::End(end)));
        });
    }
}

/// The rows on the screen.
struct Board {
    rows: Vec<Row>,
    refused: Gathered,
    format: Format,
    arguments: StatsArguments,
}

fn follow(
    mut board: Board,
    watch: &Watch<'_, '_>,
    news: &Receiver<(String, News)>,
    context: &Context<'_>,
) -> Outcome {
    board.watch_new(watch)?;
    let is_live = context.terminals().output;
    loop {
        board.hear(news);
        let is_waiting = board.rows.iter().any(Row::is_waiting);
        if !watch.is_stream && is_waiting {
            continue;
        }
        if watch.is_stream && board.arguments.references.is_empty() {
            board.watch_new(watch)?;
        }
        if board.rows.is_empty() && !board.refused.is_empty() {
            return board.refused.finish(context);
        }
        let text = board.text()?;
        let is_drawn = watch.is_stream && is_live;
        context.print(&if is_drawn { drawn(&text) } else { text })?;
        let is_over = board.rows.is_empty() && !board.arguments.references.is_empty();
        if !watch.is_stream || is_over {
            return board.refused.finish(context);
        }
    }
}

impl Board {
    /// Starts watching containers that are not watched yet.
    fn watch_new(&mut self, watch: &Watch<'_, '_>) -> Result<(), Failure> {
        let named = if self.arguments.references.is_empty() {
            let options = ListOptions { all: self.arguments.is_all, ..ListOptions::default() };
            let containers = watch.engine.container_list(&options)?;
            let name = |names: Vec<String>| names.into_iter().next().unwrap_or_default();
            containers.into_iter().map(|found| (found.id.clone(), found.id, name(found.names))).collect()
        } else {
            let references = self.arguments.references.iter();
            references.map(|typed| (typed.clone(), String::new(), String::new())).collect::<Vec<_>>()
        };
        let mut known: BTreeSet<_> = self.rows.iter().map(|row| row.reference.clone()).collect();
        for (reference, id, name) in named {
            if known.insert(reference.clone()) {
                watch.start(&reference);
                self.rows.push(Row::new(reference, id, name, self.arguments.is_truncated));
            }
        }
        Ok(())
    }

    /// Takes in what the threads tell until it is time to draw.
    fn hear(&mut self, news: &Receiver<(String, News)>) {
        let deadline = Instant::now() + INTERVAL;
        while self.is_worth_waiting() {
            match news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((reference, news)) => self.note(&reference, news),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Without a stream the last answer ends the waiting.
    fn is_worth_waiting(&self) -> bool {
        self.arguments.is_stream || self.rows.iter().any(Row::is_waiting)
    }

    fn note(&mut self, reference: &str, news: News) {
        let Some(index) = self.rows.iter().position(|row| row.reference == reference) else { return };
        match news {
            News::Sample(sample) => self.rows[index].update(*sample),
            News::End(Ok(())) if self.arguments.is_stream && !self.arguments.is_all => {
                drop(self.rows.remove(index))
            }
            News::End(Ok(())) => self.rows[index].end(),
            News::End(answer) => {
                // A container that was only found, not named, may vanish at any time.
                if !self.arguments.references.is_empty() {
                    self.refused.note(answer);
                }
                self.rows.remove(index);
            }
        }
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        if self.format.is_table() {
            text.push_str(&self.format.heading().map_err(template)?);
        }
        for row in &self.rows {
            text.push_str(&self.format.row(row as &dyn Object).map_err(template)?);
        }
        Ok(if self.format.is_table() { table::align(&text) } else { text })
    }
}

/// Puts `text` in the place of what is on the screen, without flicker: from the upper left corner,
/// clearing the rest of each line and all that follows.
fn drawn(text: &str) -> String {
    format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"))
}

#[cfg(test)]
mod tests {
    use crate::fake::{FakeEngine, run, run_in};
    use mica_api::Error;
    use mica_api::types::container::{CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, StatsSample};
    use std::collections::BTreeMap;

    fn sample() -> StatsSample {
        let cpu = |container, system| CpuStats {
            cpu_usage: CpuUsage { total_usage: container, ..CpuUsage::default() },
            system_cpu_usage: system,
            online_cpus: 2,
        };
        StatsSample {
            name: "/web".to_owned(),
            id: "0123456789ab".to_owned() + &"f".repeat(52),
            pids_stats: PidsStats { current: 3, limit: 0 },
            cpu_stats: cpu(200, 2000),
            precpu_stats: cpu(100, 1000),
            memory_stats: MemoryStats {
                usage: 3 << 20,
                stats: BTreeMap::from([("inactive_file".to_owned(), 1 << 20)]),
                limit: 8 << 20,
            },
            networks: BTreeMap::from([(
                "eth0".to_owned(),
                NetworkStats { rx_bytes: 1500, tx_bytes: 20, ..NetworkStats::default() },
            )]),
            ..StatsSample::default()
        }
    }

    #[test]
    fn one_look_is_a_table() {
        let engine = FakeEngine { samples: vec![sample()], ..FakeEngine::new() };
        let ran = run("stats --no-stream web", &engine);
        assert_eq!(
            ran.output,
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O   PIDS\n\
             0123456789ab   web       20.00%    2MiB / 8MiB         25.00%    1.5kB / 20B   0B / 0B     3\n"
        );
        let format =
            run_in(&["stats", "--no-stream", "--format", "{{.Container}} {{.PIDs}}", "web"], &[], &engine);
        assert_eq!(format.output, "web 3\n");
    }

    #[test]
    fn a_stream_ends_with_its_containers() {
        let engine = FakeEngine { samples: vec![sample()], ..FakeEngine::new() };
        assert_eq!(run("stats web", &engine).code, 0);
    }

    #[test]
    fn a_container_that_is_not_there_is_an_error() {
        let failing = vec![("nope".to_owned(), Error::not_found("No such container: nope"))];
        let ran = run("stats --no-stream nope", &FakeEngine { failing, ..FakeEngine::new() });
        assert_eq!((ran.code, ran.error.as_str()), (1, "Error: No such container: nope\n"));
    }

    #[test]
    fn the_screen_is_drawn_over() {
        assert_eq!(super::drawn("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}
