//! The instructions that change nothing but defaults.

use super::StageRun;
use crate::dockerfile::instruction::{Argument, HealthcheckCommand, Pairs};
use crate::dockerfile::instruction::{CommandLine, Healthcheck as Written};
use crate::dockerfile::{Instruction, Kind, Word};
use crate::image::Healthcheck;
use crate::plan::PlanProblem;
use crate::solve::SolveError;
use std::time::Duration;

impl StageRun<'_> {
    pub(super) fn metadata<E>(&mut self, instruction: &Instruction) -> Result<(), SolveError<E>> {
        let created_by = match &instruction.kind {
            Kind::Arg(arguments) => {
                self.arguments(arguments);
                return Ok(());
            }
            Kind::Env(pairs) => self.environment(pairs),
            Kind::Label(pairs) => self.labels(pairs),
            Kind::Cmd(line) => {
                let words = self.command(line);
                self.is_command_set = true;
                self.image.config.cmd = Some(words.clone());
                format!("CMD {}", quoted(&words))
            }
            Kind::Entrypoint(line) => {
                let words = self.command(line);
                if !self.is_command_set {
                    self.image.config.cmd = None;
                }
                self.image.config.entrypoint = Some(words.clone());
                format!("ENTRYPOINT {}", quoted(&words))
            }
            Kind::Expose(words) => self.expose(words)?,
            Kind::Healthcheck(check) => self.healthcheck(check),
            Kind::Maintainer(name) => {
                self.image.author = Some(name.value.clone());
                format!("MAINTAINER {}", name.value)
            }
            Kind::Onbuild(trigger) => {
                // It leaves no trace in the history before it is used.
                self.image.config.on_build.push(trigger.expression.clone());
                return Ok(());
            }
            Kind::Shell(words) => {
                let words: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
                let shown = format!("SHELL [{}]", words.join(" "));
                self.image.config.shell = Some(words);
                shown
            }
            Kind::Stopsignal(word) => {
                let signal = word.value.clone();
                self.image.config.stop_signal.clone_from(&signal);
                format!("STOPSIGNAL {signal}")
            }
            Kind::User(word) => {
                let user = word.value.clone();
                self.image.config.user.clone_from(&user);
                format!("USER {user}")
            }
            Kind::Volume(words) => self.volumes(words)?,
            Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_) => return Ok(()),
        };
        self.push_history(created_by, None);
        Ok(())
    }

    fn arguments(&mut self, arguments: &[Argument]) {
        let mut shown = "ARG".to_owned();
        for argument in arguments {
            let name = &argument.name.value;
            shown = match &argument.default {
                Some(value) => format!("{shown} {name}={}", value.value),
                None => format!("{shown} {name}"),
            };
        }
        self.push_history(shown, None);
    }

    fn environment(&mut self, pairs: &Pairs) -> String {
        let mut shown = "ENV".to_owned();
        for pair in &pairs.pairs {
            self.image.config.set_variable(&pair.name.value, &pair.value.value);
            shown = format!("{shown} {}={}", pair.name.value, pair.value.value);
        }
        shown
    }

    fn labels(&mut self, pairs: &Pairs) -> String {
        let mut shown = "LABEL".to_owned();
        for pair in &pairs.pairs {
            shown = format!("{shown} {}={}", pair.name.value, pair.value.value);
            self.image.config.labels.insert(pair.name.value.clone(), pair.value.value.clone());
        }
        shown
    }

    /// The arguments of `CMD` or `ENTRYPOINT`.
    fn command(&self, line: &CommandLine) -> Vec<String> {
        match line {
            CommandLine::Exec(words) => words.iter().map(|word| word.value.clone()).collect(),
            CommandLine::Shell(text) => {
                let mut words = self.config().shell();
                words.push(text.value.clone());
                words
            }
        }
    }

    fn expose<E>(&mut self, words: &[Word]) -> Result<String, SolveError<E>> {
        let mut ports = Vec::new();
        for word in words {
            let found = ports_of(&word.value).map_err(|message| SolveError::Wrong {
                problem: PlanProblem::Instruction { message },
                span: Some(word.span),
            })?;
            ports.extend(found);
        }
        let shown = ports.join(" ");
        self.image.config.exposed_ports.extend(ports);
        Ok(format!("EXPOSE [{shown}]"))
    }

    fn volumes<E>(&mut self, words: &[Word]) -> Result<String, SolveError<E>> {
        let mut shown = Vec::new();
        for word in words {
            let path = word.value.clone();
            if path.trim().is_empty() {
                let message = "VOLUME specified can not be an empty string".to_owned();
                return Err(SolveError::Wrong {
                    problem: PlanProblem::Instruction { message },
                    span: Some(word.span),
                });
            }
            self.image.config.volumes.insert(path.clone());
            shown.push(path);
        }
        Ok(format!("VOLUME [{}]", shown.join(" ")))
    }

    fn healthcheck(&mut self, check: &Written) -> String {
        let Written::Command(command) = check else {
            let test = vec!["NONE".to_owned()];
            let check = Healthcheck { test, ..Healthcheck::default() };
            let shown = shown_check(&check);
            self.image.config.healthcheck = Some(check);
            return shown;
        };
        let check = check_of(command);
        let shown = shown_check(&check);
        self.image.config.healthcheck = Some(check);
        shown
    }
}

fn check_of(command: &HealthcheckCommand) -> Healthcheck {
    let test = match &command.command {
        CommandLine::Exec(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().map(|word| word.value.clone())).collect()
        }
        CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
    };
    let nanoseconds =
        |time: Option<Duration>| i64::try_from(time.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX);
    Healthcheck {
        test,
        interval: nanoseconds(command.interval),
        timeout: nanoseconds(command.timeout),
        start_period: nanoseconds(command.start_period),
        start_interval: nanoseconds(command.start_interval),
        retries: command.retries.unwrap_or(0).into(),
    }
}

/// As docker's histories have it.
fn shown_check(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        seconds(check.interval),
        seconds(check.timeout),
        seconds(check.start_period),
        seconds(check.start_interval),
        check.retries
    )
}

/// A duration in Go's words.
fn seconds(nanoseconds: i64) -> String {
    let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    if whole == 0 && rest != 0 {
        return format!("{}ms", rest / 1_000_000);
    }
    let fraction =
        if rest == 0 { String::new() } else { format!(".{rest:09}").trim_end_matches('0').to_owned() };
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// As docker's histories have it: a JSON array with spaces between.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// `80`, `80/udp`, `8000-8010/tcp`: each port by itself; else what is wrong, in docker's words.
fn ports_of(text: &str) -> Result<Vec<String>, String> {
    // An address and a port of the host are accepted and left out.
    let written = text.rsplit(':').next().unwrap_or_default();
    let (range, protocol) = written.split_once('/').unwrap_or((written, ""));
    let protocol = protocol.to_ascii_lowercase();
    let protocol = match protocol.as_str() {
        "" => "tcp",
        known @ ("tcp" | "udp" | "sctp") => known,
        unknown => return Err(format!("invalid proto: {unknown}")),
    };
    if range.is_empty() {
        return Err(format!("no port specified: {written}<empty>"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let ends = first.parse::<u16>().ok().zip(last.parse::<u16>().ok()).filter(|(first, last)| first <= last);
    let (first, last) = ends.ok_or_else(|| format!("invalid containerPort: {range}"))?;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_protocols_and_ranges() {
        assert_eq!(ports_of("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports_of("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(ports_of("1-3/sctp").unwrap(), ["1/sctp", "2/sctp", "3/sctp"]);
        assert_eq!(ports_of("127.0.0.1:80:81/").unwrap(), ["81/tcp"]);
        for wrong in ["", "/tcp", "x", "3-1", "80/icmp", "70000", "-1"] {
            assert!(ports_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn checks_are_shown_as_docker_shows_them() {
        let test = vec!["CMD-SHELL".to_owned(), "true".to_owned()];
        let check = Healthcheck { test, interval: 90_000_000_000, retries: 3, ..Healthcheck::default() };
        assert_eq!(
            shown_check(&check),
            "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}"
        );
        assert_eq!(seconds(1_500_000_000), "1.5s");
        assert_eq!(seconds(3_600_000_000_000), "1h0m0s");
    }
}
