//! What the solver does with a worker that only pretends.

use super::*;
use crate::dockerfile::parse;
use crate::image::Root;
use crate::worker::{Change, CopyStep, Origin, RunStep};
use mica_model::{Digest, Timestamp};
use std::collections::HashMap;

/// Remembers what it was asked, and invents layers.
#[derive(Default)]
struct Pretender {
    done: Mutex<Vec<String>>,
    kept: Mutex<HashMap<Digest, Change>>,
    failing: Option<&'static str>,
    on_build: Vec<String>,
    /// How many linked copies, or commands, are to be on their way at the same time.
    meeting: usize,
    met: Mutex<usize>,
    bell: Condvar,
    /// What was digested.
    digested: Mutex<Vec<String>>,
}

impl Pretender {
    fn did(&self, what: String) -> Result<Change, String> {
        if self.failing.is_some_and(|failing| what.contains(failing)) {
            return Err(what);
        }
        let digest = crate::cache::Key::new(&what).finish();
        lock(&self.done).push(what);
        Ok(Change { layer: Some(digest), created: Timestamp::from_nanoseconds(1) })
    }

    /// Waits for the others, but not for ever.
    fn meet(&self) -> Result<(), String> {
        let mut met = lock(&self.met);
        *met += 1;
        self.bell.notify_all();
        let limit = std::time::Duration::from_secs(20);
        let waited = self.bell.wait_timeout_while(met, limit, |met| *met < self.meeting);
        match waited.is_ok_and(|(_, waited)| waited.timed_out()) {
            true => Err("alone".to_owned()),
            false => Ok(()),
        }
    }
}

impl Worker for Pretender {
    type Error = String;

    fn image(&self, name: &str, _: Option<&str>) -> Result<Image, String> {
        if name == "missing" {
            return Err("not found".to_owned());
        }
        let mut image = Image::default();
        image.config.env = vec!["PATH=/bin".to_owned()];
        image.config.on_build.clone_from(&self.on_build);
        Ok(image)
    }

    fn find(&self, key: &Digest) -> Result<Option<Change>, String> {
        Ok(lock(&self.kept).get(key).cloned())
    }

    fn keep(&self, key: &Digest, change: &Change, _: &str) -> Result<(), String> {
        lock(&self.kept).insert(*key, change.clone());
        Ok(())
    }

    fn digest_sources(&self, step: &CopyStep) -> Result<Digest, String> {
        lock(&self.digested).push(format!("{} for {}", step.sources.join(" "), step.destination));
        Ok(crate::cache::Key::new("sources").texts(&step.sources).finish())
    }

    fn digest_files(&self, _: &Origin, path: &str) -> Result<Digest, String> {
        Ok(crate::cache::Key::new(path).finish())
    }

    fn copy(&self, _: &Root, step: &CopyStep, _: StepNumber) -> Result<Change, String> {
        if step.is_linked {
            self.meet()?;
        }
        self.did(format!("copy {} to {}", step.sources.join(" "), step.destination))
    }

    fn run(&self, _: &Root, step: &RunStep, _: StepNumber) -> Result<Change, String> {
        self.meet()?;
        self.did(format!("run {} with {}", step.arguments.join(" "), step.environment.join(" ")))
    }

    fn make_directory(&self, _: &Root, path: &str, _: &str) -> Result<Change, String> {
        self.did(format!("mkdir {path}"))
    }

    fn cancel(&self) {}
}

fn build_with(worker: &Pretender, text: &str, options: &Options) -> Result<Image, SolveError<String>> {
    solve((&parse(text).unwrap(), options), worker, &|_, _| {}, 1)
}

fn done(worker: &Pretender) -> Vec<String> {
    std::mem::take(&mut *lock(&worker.done))
}

#[test]
fn only_what_the_target_needs_is_done() {
    let text =
        "FROM a AS one\nRUN one\nFROM a AS two\nRUN two\nFROM scratch\nCOPY --from=ONE /x /y\nCMD [\"x\"]\n";
    let worker = Pretender::default();
    let image = build_with(&worker, text, &Options::default()).unwrap();
    assert_eq!(done(&worker), ["run /bin/sh -c one with PATH=/bin", "copy /x to /y"]);
    assert_eq!(image.root.layers.len(), 1);
    let history: Vec<_> = image.history.iter().map(|step| step.created_by.as_str()).collect();
    assert_eq!(history, ["COPY /x /y # buildkit", "CMD [\"x\"]"]);
    let options = Options { target: Some("two".to_owned()), ..Options::default() };
    build_with(&worker, text, &options).unwrap();
    assert_eq!(done(&worker), ["run /bin/sh -c two with PATH=/bin"]);
}

#[test]
fn what_was_done_before_is_not_done_again() {
    let worker = Pretender::default();
    let text = "FROM a\nARG X=1\nLABEL l=1\nRUN a\nWORKDIR /w\nCOPY f .\n";
    let first = build_with(&worker, text, &Options::default()).unwrap();
    assert_eq!(done(&worker).len(), 3);
    assert_eq!(build_with(&worker, text, &Options::default()).unwrap(), first);
    assert!(done(&worker).is_empty());
    // A label decides nothing about files, an argument does.
    build_with(&worker, &text.replace("l=1", "l=2"), &Options::default()).unwrap();
    assert!(done(&worker).is_empty());
    let arguments = [("X".to_owned(), "2".to_owned())].into();
    build_with(&worker, text, &Options { arguments, ..Options::default() }).unwrap();
    assert_eq!(done(&worker)[0], "run /bin/sh -c a with PATH=/bin X=2");
    build_with(&worker, text, &Options { no_cache: true, ..Options::default() }).unwrap();
    assert_eq!(done(&worker).len(), 3);
}

#[test]
fn arguments_come_from_the_line_the_default_or_the_top() {
    let text = "ARG V=top\nARG W=outer\nFROM a:$V\nARG V\nARG W=inner\nARG N\nENV E=$V\nRUN x\n";
    let worker = Pretender::default();
    build_with(&worker, text, &Options::default()).unwrap();
    assert_eq!(done(&worker), ["run /bin/sh -c x with PATH=/bin V=top W=inner E=top"]);
}

#[test]
fn arguments_count_for_what_sees_them() {
    let worker = Pretender::default();
    for value in ["1", "2"] {
        let arguments = [("V".to_owned(), value.to_owned())].into();
        let options = Options { arguments, ..Options::default() };
        build_with(&worker, "FROM a\nRUN before\nARG V\nRUN after\n", &options).unwrap();
    }
    let expected = ["before with PATH=/bin", "after with PATH=/bin V=1", "after with PATH=/bin V=2"]
        .map(|what| format!("run /bin/sh -c {what}"));
    assert_eq!(done(&worker), expected);
}

#[test]
fn triggers_of_the_base_come_first() {
    let on_build = vec!["RUN first".to_owned(), "COPY . /second".to_owned()];
    let worker = Pretender { on_build, ..Pretender::default() };
    let image = build_with(&worker, "FROM a\nRUN third\n", &Options::default()).unwrap();
    let done = done(&worker);
    assert!(
        done[0].contains("first") && done[1].contains("/second") && done[2].contains("third"),
        "{done:?}"
    );
    assert!(image.config.on_build.is_empty());
}

#[test]
fn mistakes_and_failures_end_the_build() {
    let worker = Pretender { failing: Some("bad"), ..Pretender::default() };
    let fails = |text, target: Option<&str>| {
        build_with(&worker, text, &Options { target: target.map(str::to_owned), ..Options::default() })
            .unwrap_err()
    };
    let error = fails("FROM a\nRUN good\nRUN bad\nRUN never\n", None);
    assert!(matches!(error, SolveError::Step { span: Some(span), .. } if span.start.line == 3));
    assert_eq!(done(&worker).len(), 1);
    assert!(matches!(fails("FROM missing\n", None), SolveError::Step { .. }));
    let error = fails("FROM a AS builder\n", Some("bulider"));
    let SolveError::Wrong { problem, .. } = error else { panic!("{error:?}") };
    assert_eq!(problem.to_string(), "target stage \"bulider\" could not be found (did you mean builder?)");
    let circular = "FROM a AS one\nCOPY --from=two /x /y\nFROM a AS two\nCOPY --from=one /x /y\n";
    let by_a_mount = "FROM a AS one\nRUN --mount=from=two,target=/m true\nFROM one AS two\nFROM a\n";
    let unnamed = "FROM a AS good\nFROM a\nCOPY --from=2 / /x\nFROM good\nCOPY --from=1 / /x\nFROM a\n";
    for (text, stage) in [(circular, "one"), (by_a_mount, "one"), (unnamed, "stage-1")] {
        let SolveError::Wrong { problem, .. } = fails(text, None) else { panic!("{text}") };
        assert_eq!(problem.to_string(), format!("circular dependency detected on stage: {stage}"));
    }
    let error = fails("FROM a AS one\nCOPY --from=two /x /y\nFROM a AS two\n", Some("one"));
    assert!(matches!(error, SolveError::Wrong { problem: PlanProblem::Later { .. }, .. }), "{error:?}");
    let error = fails("FROM a AS one\nCOPY --from=one /x /y\n", None);
    assert!(matches!(error, SolveError::Wrong { problem: PlanProblem::Circular { .. }, .. }), "{error:?}");
    let error = fails("FROM a\nCOPY --from=7 /x /y\n", None);
    assert!(
        matches!(error, SolveError::Wrong { problem: PlanProblem::NoStage { number: 7 }, .. }),
        "{error:?}"
    );
    assert!(matches!(
        fails("ARG X\nFROM $X\n", None),
        SolveError::Wrong { problem: PlanProblem::Language(_), .. }
    ));
}

#[test]
fn linked_copies_go_on_at_the_same_time_and_keep_their_order() {
    let worker = Pretender { meeting: 2, ..Pretender::default() };
    let text = "FROM a\nCOPY --link x /x\nCOPY --link --chown=1:2 y /y\nCOPY z /z\n";
    let image = build_with(&worker, text, &Options::default()).unwrap();
    let layer = |what: &str| crate::cache::Key::new(what).finish();
    let layers = ["copy x to /x", "copy y to /y", "copy z to /z"].map(layer);
    assert_eq!(image.root.layers, layers);
    let steps: Vec<&str> = image.history.iter().map(|step| step.created_by.as_str()).collect();
    assert_eq!(steps, ["COPY x /x # buildkit", "COPY --chown=1:2 y /y # buildkit", "COPY z /z # buildkit"]);
    // On another base they are known, and what looks at it is not.
    build_with(&worker, &text.replace("FROM a\n", "FROM a\nRUN other\n"), &Options::default()).unwrap();
    let again = done(&worker);
    assert_eq!(again[3..], ["run /bin/sh -c other with PATH=/bin", "copy z to /z"]);
}

#[test]
fn files_of_later_copies_are_digested_while_a_command_runs() {
    let worker = Pretender { failing: Some("bad"), ..Pretender::default() };
    let text = "FROM a\nARG D=/d\nRUN bad\nWORKDIR /w\nENV E=$D\nCOPY x $E/x\nCOPY y y\nADD https://h/z /\n";
    build_with(&worker, text, &Options::default()).unwrap_err();
    let mut digested = lock(&worker.digested).clone();
    digested.sort();
    assert!(
        digested.iter().all(|known| ["x for /d/x", "y for /w/y"].contains(&known.as_str())),
        "{digested:?}"
    );
    let worker = Pretender::default();
    build_with(&worker, &text.replace("bad", "good"), &Options::default()).unwrap();
    let digested = lock(&worker.digested).clone();
    assert_eq!(digested.iter().filter(|known| *known == "x for /d/x").count(), 2);
}

#[test]
fn many_stages_need_few_threads_and_no_stack() {
    let mut text = "FROM a AS s0\nRUN 0\n".to_owned();
    for number in 1..2000 {
        text.push_str(&format!("FROM s{} AS s{number}\nRUN {number}\n", number - 1));
    }
    let worker = Pretender::default();
    assert_eq!(build_with(&worker, &text, &Options::default()).unwrap().root.layers.len(), 2000);
}

#[test]
fn stages_that_need_nobody_go_on_at_the_same_time_however_few_the_processors() {
    let count = 16;
    let stages: String = (0..count).map(|number| format!("FROM a AS s{number}\nRUN {number}\n")).collect();
    let copies: String = (0..count).map(|number| format!("COPY --from=s{number} /x /y\n")).collect();
    let worker = Pretender { meeting: count, ..Pretender::default() };
    build_with(&worker, &format!("{stages}FROM scratch\n{copies}"), &Options::default()).unwrap();
    assert_eq!(done(&worker).len(), 2 * count);
}
