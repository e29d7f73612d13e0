//! The language by example: each folder of `testdata` has a Dockerfile and what is read in it.
//!
//! With `MICA_WRITE_EXPECTED` set the expectations are written anew; look at the difference before you keep it.

use mica_build::dockerfile::instruction::{
    CommandLine, Healthcheck, Instruction, Kind, Pairs, Program, Stage, Transfer,
};
use mica_build::dockerfile::{Dockerfile, Span, Word, parse};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn every_example_is_read_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let case = entry.unwrap().path();
        let source = std::fs::read(case.join("Dockerfile")).unwrap();
        let found = dump(&String::from_utf8_lossy(&source));
        let expected = case.join("expected");
        if std::env::var_os("MICA_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", case.display());
        count += 1;
    }
    assert!(count >= 30, "only {count} examples were found");
}

/// What is read in a file, a line for each instruction.
fn dump(source: &str) -> String {
    match parse(source) {
        Ok(file) => dump_file(&file),
        Err(error) => format!("error {}: {}\n", place(error.span), error.problem),
    }
}

fn dump_file(file: &Dockerfile) -> String {
    let mut text = String::new();
    if let Some(syntax) = &file.directives.syntax {
        let _ = writeln!(text, "syntax {:?}", syntax.value);
    }
    if file.directives.escape != '\\' {
        let _ = writeln!(text, "escape {}", file.directives.escape);
    }
    for span in &file.empty_continuations {
        let _ = writeln!(text, "empty continuation {}", place(*span));
    }
    file.global_arguments.iter().for_each(|instruction| text += &dump_instruction("", instruction));
    for stage in &file.stages {
        text += &dump_stage(stage);
        stage.instructions.iter().for_each(|instruction| text += &dump_instruction("  ", instruction));
    }
    text
}

fn dump_stage(stage: &Stage) -> String {
    let mut text = format!("{} FROM {}", place(stage.span), word(&stage.base));
    for (name, value) in [("as", &stage.name), ("platform", &stage.platform)] {
        text += &optional(name, value.as_ref());
    }
    text + "\n"
}

fn dump_instruction(indent: &str, instruction: &Instruction) -> String {
    let mut text = format!("{indent}{} {}", place(instruction.span), instruction.kind.name());
    for comment in &instruction.comments {
        let _ = write!(text, " #{:?}", comment.value);
    }
    match &instruction.kind {
        Kind::Add(add) => {
            text += &dump_transfer(&add.transfer);
            text += &optional("checksum", add.checksum.as_ref());
            let _ = write!(text, " keep-git-dir={:?} unpack={:?}", add.keep_git_dir, add.unpack);
        }
        Kind::Copy(copy) => {
            text += &dump_transfer(&copy.transfer);
            text += &optional("from", copy.from.as_ref());
            text += if copy.parents { " parents" } else { "" };
        }
        Kind::Arg(arguments) => {
            for argument in arguments {
                text +=
                    &format!(" {}{}", word(&argument.name), optional("default", argument.default.as_ref()));
            }
        }
        Kind::Cmd(line) | Kind::Entrypoint(line) => text += &command(line),
        Kind::Env(pairs) | Kind::Label(pairs) => text += &dump_pairs(pairs),
        Kind::Expose(words) | Kind::Shell(words) | Kind::Volume(words) => {
            words.iter().for_each(|one| text += &format!(" {}", word(one)));
        }
        Kind::Maintainer(one) | Kind::Stopsignal(one) | Kind::User(one) | Kind::Workdir(one) => {
            text += &format!(" {}", word(one));
        }
        Kind::Healthcheck(Healthcheck::None) => text += " none",
        Kind::Healthcheck(Healthcheck::Command(check)) => {
            let _ = write!(
                text,
                "{} interval={:?} timeout={:?}",
                command(&check.command),
                check.interval,
                check.timeout
            );
            let _ = write!(
                text,
                " start-period={:?} start-interval={:?}",
                check.start_period, check.start_interval
            );
            let _ = write!(text, " retries={:?}", check.retries);
        }
        Kind::Onbuild(onbuild) => {
            let _ = write!(
                text,
                " {:?}\n{}",
                onbuild.expression,
                dump_instruction("    ", &onbuild.trigger).trim_end()
            );
        }
        Kind::Run(run) => {
            text += &match run.program() {
                Program::Exec(words) => format!(" exec {words:?}"),
                Program::Shell(line) => format!(" shell {line:?}"),
                Program::Script { name, content } => format!(" script {name:?} {content:?}"),
            };
            run.mounts.iter().for_each(|mount| text += &optional("mount", Some(&mount.value)));
            run.devices.iter().for_each(|device| text += &optional("device", Some(device)));
            if let Some(network) = &run.network {
                let _ = write!(text, " network={:?}", network.value);
            }
            if let Some(security) = &run.security {
                let _ = write!(text, " security={:?}", security.value);
            }
        }
    }
    text + "\n"
}

fn dump_transfer(transfer: &Transfer) -> String {
    let mut text: String = transfer.sources.iter().map(|source| format!(" {}", word(source))).collect();
    for file in &transfer.files {
        let expands = if file.expand { "expands" } else { "literal" };
        let _ = write!(text, " <<{}={expands}:{:?}", word(&file.name), file.content.value);
    }
    let _ = write!(text, " -> {}", word(&transfer.destination));
    text += &optional("chown", transfer.chown.as_ref());
    text += &optional("chmod", transfer.chmod.as_ref());
    transfer.excludes.iter().for_each(|exclude| text += &optional("exclude", Some(exclude)));
    text + if transfer.link { " link" } else { "" }
}

fn dump_pairs(pairs: &Pairs) -> String {
    let pair = |(name, value): (&Word, &Word)| format!(" {}={}", word(name), word(value));
    let text: String = pairs.pairs.iter().map(|one| pair((&one.name, &one.value))).collect();
    if pairs.is_legacy { format!(" legacy{text}") } else { text }
}

fn command(line: &CommandLine) -> String {
    match line {
        CommandLine::Shell(text) => format!(" shell {}", word(text)),
        CommandLine::Exec(words) => {
            format!(" exec{}", words.iter().map(|one| format!(" {}", word(one))).collect::<String>())
        }
    }
}

fn optional(name: &str, value: Option<&Word>) -> String {
    value.map(|value| format!(" {name}={}", word(value))).unwrap_or_default()
}

fn word(word: &Word) -> String {
    format!("{:?}@{}:{}", word.value, word.span.start.line, word.span.start.column)
}

fn place(span: Span) -> String {
    format!("{}:{}-{}:{}", span.start.line, span.start.column, span.end.line, span.end.column)
}

/// Lines that look like Dockerfiles, and some that do not.
fn source() -> impl Strategy<Value = String> {
    let start = prop_oneof![
        Just("FROM "),
        Just("RUN "),
        Just("COPY "),
        Just("ADD "),
        Just("ENV "),
        Just("ARG "),
        Just("ONBUILD "),
        Just("HEALTHCHECK "),
        Just("LABEL "),
        Just("EXPOSE "),
        Just("SHELL "),
        Just("# escape=`"),
        Just("#"),
        Just(""),
        Just("  "),
        Just("RUN <<E"),
        Just("COPY <<-'E' "),
        Just("E"),
        Just("CMD "),
        Just("VOLUME "),
    ];
    let rest = "[ a-zA-Z0-9=\\-<>\"'\\[\\],$\\{\\}\\\\`#:/%?+*!\t\u{e4}]{0,24}";
    let line = (start, rest).prop_map(|(start, rest)| format!("{start}{rest}"));
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\\\n"), Just("`\n"), Just(" \\ \n\n")];
    proptest::collection::vec((line, end), 0..8)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect::<String>())
        .prop_map(|text| format!("FROM scratch AS a\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_a_file_or_an_error_with_a_place_in_it(text in prop_oneof![source(), ".{0,60}"]) {
        let lines: Vec<&str> = text.split('\n').collect();
        let is_inside = |span: Span| {
            let fits = |line: u32, column: u32| {
                let line = lines.get(usize::try_from(line).unwrap() - 1);
                let width = line.map(|line| line.chars().count() + 1);
                width.is_some_and(|width| (1..=width).contains(&usize::try_from(column).unwrap()))
            };
            span.start <= span.end && fits(span.start.line, span.start.column) && fits(span.end.line, span.end.column)
        };
        match parse(&text) {
            Err(error) => prop_assert!(is_inside(error.span), "{:?} {:?}", error, text),
            Ok(file) => {
                for stage in &file.stages {
                    prop_assert!(is_inside(stage.span) && is_inside(stage.base.span), "{:?} {:?}", stage, text);
                    for instruction in &stage.instructions {
                        prop_assert!(is_inside(instruction.span), "{:?} {:?}", instruction, text);
                        prop_assert!(is_inside(instruction.keyword.span), "{:?} {:?}", instruction, text);
                    }
                }
            }
        }
    }
}
