//! What each instruction makes of its flags and arguments.

use super::command_line::CommandLine;
use super::device::DeviceWish;
use super::error::{ParseError, Problem};
use super::flag::{Flags, Takes};
use super::instruction::{
    Argument, Healthcheck, HealthcheckCommand, Kind, Onbuild, Pair, Pairs, Run, RunNetwork, RunSecurity,
    Stage,
};
use super::json::{self, Array};
use super::mount::MountFlag;
use super::parse::Statement;
use super::position::{Located, Word};
use super::split;
use super::suggestion;
use super::transfer;
use mica_model::duration::parse_duration;
use std::ops::Range;
use std::time::Duration;

/// Reads a `FROM`.
pub(super) fn stage(statement: &Statement<'_>) -> Result<Stage, ParseError> {
    let flags = statement.known_flags(&[("platform", Takes::Text)])?;
    let words = statement.plain_words();
    let (base, as_keyword, name) = match words.as_slice() {
        [base] => (base, None, None),
        [base, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => {
            (base, Some(keyword), Some(name))
        }
        _ => return Err(statement.error(Problem::FromArguments)),
    };
    if let Some(name) = name.filter(|name| !is_stage_name(&name.value.to_lowercase())) {
        return Err(ParseError { problem: Problem::StageName { name: name.value.clone() }, span: name.span });
    }
    Ok(Stage {
        base: base.clone(),
        name: name.map(|name| Word::new(name.value.to_lowercase(), name.span)),
        name_as_written: name.map(|name| name.value.clone()),
        as_keyword: as_keyword.cloned(),
        platform: flags.text("platform").cloned(),
        keyword: statement.line.word(statement.keyword.clone()),
        span: statement.span(),
        text: statement.text().to_owned(),
        comments: statement.line.comments.clone(),
        instructions: Vec::new(),
    })
}

/// Reads any other instruction.
pub(super) fn kind(statement: &Statement<'_>) -> Result<Kind, ParseError> {
    Ok(match statement.name {
        "ADD" => Kind::Add(transfer::add(statement)?),
        "ARG" => Kind::Arg(arguments(statement)?),
        "CMD" => Kind::Cmd(statement.flagless()?.command_line(statement.arguments.clone())?),
        "COPY" => Kind::Copy(transfer::copy(statement)?),
        "ENTRYPOINT" => Kind::Entrypoint(statement.flagless()?.command_line(statement.arguments.clone())?),
        "ENV" => Kind::Env(pairs(statement, "ENV")?),
        "EXPOSE" => Kind::Expose(ports(statement)?),
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(statement)?),
        "LABEL" => Kind::Label(pairs(statement, "LABEL")?),
        "MAINTAINER" => Kind::Maintainer(statement.only_argument("MAINTAINER")?),
        "ONBUILD" => Kind::Onbuild(onbuild(statement)?),
        "RUN" => Kind::Run(run(statement)?),
        "SHELL" => Kind::Shell(shell(statement)?),
        "STOPSIGNAL" => Kind::Stopsignal(statement.only_argument("STOPSIGNAL")?),
        "USER" => Kind::User(statement.only_argument("USER")?),
        "VOLUME" => Kind::Volume(volumes(statement)?),
        "WORKDIR" => Kind::Workdir(statement.only_argument("WORKDIR")?),
        // What remains is FROM, which is a stage and no instruction of one.
        name => return Err(statement.error(Problem::OnbuildTrigger { instruction: name.to_owned() })),
    })
}

/// Checks that a statement may be a trigger.
pub(super) fn check_trigger(statement: &Statement<'_>) -> Result<(), ParseError> {
    match statement.name {
        "ONBUILD" => Err(statement.error(Problem::OnbuildChain)),
        "FROM" | "MAINTAINER" => {
            Err(statement.error(Problem::OnbuildTrigger { instruction: statement.name.to_owned() }))
        }
        _ => Ok(()),
    }
}

impl Statement<'_> {
    /// The flags, which must be among the known ones.
    pub(super) fn known_flags(&self, known: &[(&'static str, Takes)]) -> Result<Flags, ParseError> {
        Flags::new(self.line, self.flags.clone(), known)
    }

    /// The statement, when it has no flags.
    fn flagless(&self) -> Result<&Self, ParseError> {
        self.known_flags(&[]).map(|_| self)
    }

    /// A part of the arguments, given by its place in them.
    pub(super) fn argument(&self, range: Range<usize>) -> Word {
        self.line.word(self.arguments.start + range.start..self.arguments.start + range.end)
    }

    /// The arguments between white space.
    pub(super) fn plain_words(&self) -> Vec<Word> {
        split::plain_words(self.argument_text()).into_iter().map(|range| self.argument(range)).collect()
    }

    /// The only argument: all that is written.
    fn only_argument(&self, instruction: &'static str) -> Result<Word, ParseError> {
        self.flagless()?;
        if self.arguments.is_empty() {
            return Err(self.error(Problem::NotOneArgument { instruction }));
        }
        Ok(self.line.word(self.arguments.clone()))
    }

    /// A part of the line as a JSON array of texts, when it is one.
    pub(super) fn array(&self, range: Range<usize>) -> Result<Option<Vec<Word>>, ParseError> {
        match json::array(&self.line.text[range.clone()]) {
            Array::No => Ok(None),
            Array::Mixed(at) => Err(ParseError {
                problem: Problem::NotTexts,
                span: self.line.span(range.start + at.start..range.start + at.end),
            }),
            Array::Texts(texts) => {
                let place = |at: Range<usize>| self.line.span(range.start + at.start..range.start + at.end);
                Ok(Some(texts.into_iter().map(|(text, at)| Word::new(text, place(at))).collect()))
            }
        }
    }

    /// A part of the line as a command of either form.
    fn command_line(&self, range: Range<usize>) -> Result<CommandLine, ParseError> {
        match self.array(range.clone())? {
            Some(words) => Ok(CommandLine::Exec(words)),
            None => Ok(CommandLine::Shell(self.line.word(range))),
        }
    }
}

/// The part of a word before and after its first `=`.
fn cut(statement: &Statement<'_>, word: Range<usize>) -> (Word, Option<Word>) {
    let text = &statement.argument_text()[word.clone()];
    match text.find('=') {
        Some(at) => (
            statement.argument(word.start..word.start + at),
            Some(statement.argument(word.start + at + 1..word.end)),
        ),
        None => (statement.argument(word), None),
    }
}

fn arguments(statement: &Statement<'_>) -> Result<Vec<Argument>, ParseError> {
    statement.flagless()?;
    let words = split::words(statement.argument_text(), statement.escape);
    if words.is_empty() {
        return Err(statement.error(Problem::NoArgument { instruction: "ARG" }));
    }
    let argument = |word: Range<usize>| match cut(statement, word) {
        (name, _) if name.value.is_empty() => Err(statement.error(Problem::BlankName { instruction: "ARG" })),
        (name, default) => Ok(Argument { name, default }),
    };
    words.into_iter().map(argument).collect()
}

fn pairs(statement: &Statement<'_>, instruction: &'static str) -> Result<Pairs, ParseError> {
    statement.flagless()?;
    let text = statement.argument_text();
    let words = split::words(text, statement.escape);
    let Some(first) = words.first() else { return Err(statement.error(Problem::NoArgument { instruction })) };
    if !text[first.clone()].contains('=') {
        let (name, rest) = split::first_word(text);
        if rest >= text.len() {
            return Err(statement.error(Problem::NoValue { instruction }));
        }
        let pair =
            Pair { name: statement.argument(0..name.len()), value: statement.argument(rest..text.len()) };
        return Ok(Pairs { pairs: vec![pair], is_legacy: true });
    }
    let pair = |word: Range<usize>| match cut(statement, word) {
        (name, Some(_)) if name.value.is_empty() => Err(statement.error(Problem::BlankName { instruction })),
        (name, Some(value)) => Ok(Pair { name, value }),
        (word, None) => {
            Err(ParseError { problem: Problem::NoEqualsSign { word: word.value.clone() }, span: word.span })
        }
    };
    Ok(Pairs { pairs: words.into_iter().map(pair).collect::<Result<_, _>>()?, is_legacy: false })
}

fn ports(statement: &Statement<'_>) -> Result<Vec<Word>, ParseError> {
    statement.flagless()?;
    let mut ports = statement.plain_words();
    if ports.is_empty() {
        return Err(statement.error(Problem::NoArgument { instruction: "EXPOSE" }));
    }
    ports.sort_by(|left, right| left.value.cmp(&right.value));
    Ok(ports)
}

fn volumes(statement: &Statement<'_>) -> Result<Vec<Word>, ParseError> {
    statement.flagless()?;
    let volumes = match statement.array(statement.arguments.clone())? {
        Some(words) => words,
        None => statement.plain_words(),
    };
    if volumes.is_empty() {
        return Err(statement.error(Problem::NoArgument { instruction: "VOLUME" }));
    }
    match volumes.iter().find(|volume| volume.value.trim().is_empty()) {
        Some(volume) => Err(ParseError { problem: Problem::EmptyVolume, span: volume.span }),
        None => Ok(volumes),
    }
}

fn shell(statement: &Statement<'_>) -> Result<Vec<Word>, ParseError> {
    statement.flagless()?;
    match statement.array(statement.arguments.clone())? {
        Some(words) if !words.is_empty() => Ok(words),
        None if !statement.arguments.is_empty() => Err(statement.error(Problem::NotJson)),
        _ => Err(statement.error(Problem::NoArgument { instruction: "SHELL" })),
    }
}

fn onbuild(statement: &Statement<'_>) -> Result<Onbuild, ParseError> {
    statement.flagless()?;
    if statement.arguments.is_empty() {
        return Err(statement.error(Problem::NoArgument { instruction: "ONBUILD" }));
    }
    let mut inner = Statement::new(statement.line, statement.arguments.start, statement.escape)?;
    check_trigger(&inner)?;
    inner.heredocs.clone_from(&statement.heredocs);
    let mut expression = statement.argument_text().to_owned();
    for heredoc in &inner.heredocs {
        expression = expression + "\n" + &heredoc.content + &heredoc.name;
    }
    let trigger = super::instruction::Instruction {
        kind: kind(&inner)?,
        keyword: inner.line.word(inner.keyword.clone()),
        span: inner.span(),
        text: inner.text().to_owned(),
        comments: Vec::new(),
    };
    Ok(Onbuild { expression, trigger: Box::new(trigger) })
}

fn run(statement: &Statement<'_>) -> Result<Run, ParseError> {
    let flags = statement.known_flags(&[
        ("mount", Takes::Texts),
        ("network", Takes::Text),
        ("security", Takes::Text),
        ("device", Takes::Texts),
    ])?;
    let mounts: Vec<_> = flags.texts("mount").into_iter().map(|value| MountFlag { value }).collect();
    for mount in &mounts {
        mount.check().map_err(|problem| ParseError { problem: problem.into(), span: mount.value.span })?;
    }
    let devices = flags.texts("device");
    for device in devices.iter().filter(|device| !device.value.contains('$')) {
        DeviceWish::parse(&device.value)
            .map_err(|problem| ParseError { problem: problem.into(), span: device.span })?;
    }
    let network = [("default", RunNetwork::Default), ("none", RunNetwork::None), ("host", RunNetwork::Host)];
    let security = [("sandbox", RunSecurity::Sandbox), ("insecure", RunSecurity::Insecure)];
    Ok(Run {
        command: statement.command_line(statement.arguments.clone())?,
        heredocs: statement.heredocs.clone(),
        mounts,
        network: choice(&flags, "network", &network)?,
        security: choice(&flags, "security", &security)?,
        devices,
    })
}

/// The value of a flag that knows its values.
fn choice<T: Copy>(
    flags: &Flags,
    flag: &'static str,
    known: &[(&'static str, T)],
) -> Result<Option<Located<T>>, ParseError> {
    let Some(word) = flags.text(flag) else { return Ok(None) };
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == word.value) {
        return Ok(Some(Located::new(*value, word.span)));
    }
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let suggestion = suggestion::nearest(&word.value, &names);
    let problem = Problem::FlagValue { flag, value: word.value.clone(), suggestion };
    Err(ParseError { problem, span: word.span })
}

fn healthcheck(statement: &Statement<'_>) -> Result<Healthcheck, ParseError> {
    let flags = statement.known_flags(&[
        ("interval", Takes::Text),
        ("timeout", Takes::Text),
        ("start-period", Takes::Text),
        ("start-interval", Takes::Text),
        ("retries", Takes::Text),
    ])?;
    let (word, rest) = split::first_word(statement.argument_text());
    let rest = statement.arguments.start + rest..statement.arguments.end;
    match word.to_uppercase().as_str() {
        "" => return Err(statement.error(Problem::NoArgument { instruction: "HEALTHCHECK" })),
        "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
        "NONE" => return Err(statement.error(Problem::HealthcheckNoneArguments)),
        "CMD" => {}
        _ => return Err(statement.error(Problem::HealthcheckType { word: word.to_owned() })),
    }
    let command = statement.command_line(rest)?;
    let is_empty = match &command {
        CommandLine::Shell(text) => text.value.is_empty(),
        CommandLine::Exec(words) => words.is_empty(),
    };
    if is_empty {
        return Err(statement.error(Problem::HealthcheckNoCommand));
    }
    Ok(Healthcheck::Command(HealthcheckCommand {
        command,
        interval: duration(&flags, "interval")?,
        timeout: duration(&flags, "timeout")?,
        start_period: duration(&flags, "start-period")?,
        start_interval: duration(&flags, "start-interval")?,
        retries: retries(&flags)?,
    }))
}

fn duration(flags: &Flags, flag: &'static str) -> Result<Option<Duration>, ParseError> {
    let Some(word) = flags.text(flag).filter(|word| !word.value.is_empty()) else { return Ok(None) };
    let fail = |problem| ParseError { problem, span: word.span };
    let nanoseconds =
        parse_duration(&word.value).map_err(|problem| fail(Problem::FlagDuration { flag, problem }))?;
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(None),
        Ok(nanoseconds) if nanoseconds >= 1_000_000 => Ok(Some(Duration::from_nanos(nanoseconds))),
        _ => Err(fail(Problem::FlagDurationTooShort { flag, value: word.value.clone() })),
    }
}

fn retries(flags: &Flags) -> Result<Option<u32>, ParseError> {
    let Some(word) = flags.text("retries").filter(|word| !word.value.is_empty()) else { return Ok(None) };
    let number = word.value.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
    let problem = || Problem::FlagValue { flag: "retries", value: word.value.clone(), suggestion: None };
    number
        .map(|number| Some(number).filter(|number| *number > 0))
        .ok_or_else(|| ParseError { problem: problem(), span: word.span })
}

/// Whether a text in lower case may name a stage.
fn is_stage_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter))
}
