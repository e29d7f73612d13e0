//! Changes of a config as `commit -c` and `import -c` take them: some instructions of a Dockerfile.
//!
//! The forms and their effects are those of docker's Dockerfile reference.

use super::words::{expand, split};
use super::{Config, Healthcheck};
use crate::error::{Error, Result};

/// What a container's shell forms run with if the image doesn't say.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// What may be given to `-c`.
const INSTRUCTIONS: [&str; 12] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies changes in order; each may have several lines. On an error `config` is half changed.
pub fn apply_changes(config: &mut Config, changes: &[String]) -> Result<()> {
    let mut is_command_set = false;
    for line in changes.iter().flat_map(|change| logical_lines(change)) {
        let (first, arguments) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let upper = first.to_uppercase();
        let Some(instruction) = INSTRUCTIONS.into_iter().find(|known| *known == upper) else {
            return Err(Error::ChangeInstruction { instruction: upper });
        };
        let arguments = arguments.trim();
        if arguments.is_empty() {
            return Err(wrong(instruction, "requires at least one argument"));
        }
        // A new entry point doesn't fit an inherited command, but does fit one given with it.
        if instruction == "ENTRYPOINT" && !is_command_set {
            config.cmd = None;
        }
        is_command_set |= instruction == "CMD";
        apply(config, instruction, arguments)?;
    }
    Ok(())
}

/// Applies one change.
pub fn apply_change(config: &mut Config, change: &str) -> Result<()> {
    apply_changes(config, &[change.to_owned()])
}

/// Lines without comments, with those that end in a backslash joined to the next.
fn logical_lines(change: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut logical = String::new();
    for line in change.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(begun) => logical.push_str(begun),
            None => {
                logical.push_str(line);
                lines.push(std::mem::take(&mut logical));
            }
        }
    }
    if !logical.is_empty() {
        lines.push(logical);
    }
    lines
}

fn apply(config: &mut Config, instruction: &'static str, arguments: &str) -> Result<()> {
    match instruction {
        "CMD" => config.cmd = Some(command(config, arguments)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, arguments)),
        "ENV" => environment(config, arguments)?,
        "EXPOSE" => expose(config, arguments)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(arguments)?),
        "LABEL" => {
            let labels = pairs("LABEL", arguments, &config.env)?;
            config.labels.extend(labels);
        }
        "ONBUILD" => on_build(config, arguments)?,
        "SHELL" => match json_words(arguments) {
            Some(words) if !words.is_empty() => config.shell = Some(words),
            _ => return Err(wrong("SHELL", "requires the arguments to be in JSON form")),
        },
        "STOPSIGNAL" => config.stop_signal = single("STOPSIGNAL", arguments, &config.env)?,
        "USER" => config.user = single("USER", arguments, &config.env)?,
        "VOLUME" => volumes(config, arguments)?,
        _ => {
            let directory = expanded("WORKDIR", arguments, &config.env)?;
            config.working_dir = joined(&config.working_dir, &directory);
        }
    }
    Ok(())
}

/// The JSON form, or the text for the shell.
fn command(config: &Config, arguments: &str) -> Vec<String> {
    json_words(arguments).unwrap_or_else(|| {
        let shell = config.shell.clone().filter(|shell| !shell.is_empty());
        let mut words = shell.unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec());
        words.push(arguments.to_owned());
        words
    })
}

fn json_words(arguments: &str) -> Option<Vec<String>> {
    arguments.starts_with('[').then(|| serde_json::from_str(arguments).ok())?
}

fn environment(config: &mut Config, arguments: &str) -> Result<()> {
    // All values see the environment as it was before this instruction.
    for (name, value) in pairs("ENV", arguments, &config.env)? {
        let prefix = format!("{name}=");
        let entry = format!("{prefix}{value}");
        match config.env.iter_mut().find(|known| known.starts_with(&prefix)) {
            Some(known) => *known = entry,
            None => config.env.push(entry),
        }
    }
    Ok(())
}

/// `name=value ...`, or the old form `name the rest is the value`.
fn pairs(
    instruction: &'static str,
    arguments: &str,
    environment: &[String],
) -> Result<Vec<(String, String)>> {
    let words = split(arguments);
    let is_old_form = words.first().is_some_and(|first| !first.contains('='));
    let raw: Vec<(&str, &str)> = if is_old_form {
        let (name, value) = arguments
            .split_once(char::is_whitespace)
            .ok_or_else(|| wrong(instruction, "must have two arguments"))?;
        vec![(name, value.trim_start())]
    } else {
        let parts = words.iter().map(|word| word.split_once('='));
        parts
            .collect::<Option<_>>()
            .ok_or_else(|| wrong(instruction, "has a word that is not of the form name=value"))?
    };
    raw.into_iter()
        .map(|(name, value)| {
            let name = expanded(instruction, name, environment)?;
            if name.is_empty() {
                return Err(wrong(instruction, "names can not be blank"));
            }
            Ok((name, expanded(instruction, value, environment)?))
        })
        .collect()
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn expose(config: &mut Config, arguments: &str) -> Result<()> {
    const REASON: &str = "has an invalid containerPort";
    for word in split(arguments) {
        let word = expanded("EXPOSE", &word, &config.env)?;
        let (ports, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_lowercase();
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            return Err(wrong("EXPOSE", REASON));
        };
        if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(wrong("EXPOSE", REASON));
        }
        config.exposed_ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(())
}

fn volumes(config: &mut Config, arguments: &str) -> Result<()> {
    let words = json_words(arguments).unwrap_or_else(|| split(arguments));
    for word in words {
        let volume = expanded("VOLUME", &word, &config.env)?;
        if volume.is_empty() {
            return Err(wrong("VOLUME", "specified can not be an empty string"));
        }
        config.volumes.insert(volume);
    }
    Ok(())
}

fn on_build(config: &mut Config, arguments: &str) -> Result<()> {
    let trigger = arguments.split_whitespace().next().unwrap_or_default().to_uppercase();
    match trigger.as_str() {
        "ONBUILD" => Err(wrong("ONBUILD", "can not be chained: ONBUILD ONBUILD isn't allowed")),
        "FROM" | "MAINTAINER" => Err(wrong("ONBUILD", "does not take FROM or MAINTAINER as a trigger")),
        _ => {
            config.on_build.push(arguments.to_owned());
            Ok(())
        }
    }
}

/// `NONE`, or `[--interval=D] [--timeout=D] [--start-period=D] [--start-interval=D] [--retries=N] CMD ...`.
fn healthcheck(arguments: &str) -> Result<Healthcheck> {
    let mut healthcheck = Healthcheck::default();
    let mut rest = arguments;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        rest = after.trim_start();
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = match name {
            "interval" => &mut healthcheck.interval,
            "timeout" => &mut healthcheck.timeout,
            "start-period" => &mut healthcheck.start_period,
            "start-interval" => &mut healthcheck.start_interval,
            "retries" => &mut healthcheck.retries,
            _ => return Err(wrong("HEALTHCHECK", "has an unknown option")),
        };
        let parsed = if name == "retries" { value.parse().ok() } else { nanoseconds(value) };
        *number = parsed
            .filter(|number| *number >= 0)
            .ok_or_else(|| wrong("HEALTHCHECK", "has an option with an invalid value"))?;
    }
    let (kind, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let words = words.trim();
    healthcheck.test = match (kind.to_uppercase().as_str(), json_words(words)) {
        ("NONE", _) if words.is_empty() => vec!["NONE".to_owned()],
        ("NONE", _) => return Err(wrong("HEALTHCHECK", "NONE takes no arguments")),
        ("CMD", _) if words.is_empty() => return Err(wrong("HEALTHCHECK", "is missing a command after CMD")),
        ("CMD", Some(list)) if list.is_empty() => {
            return Err(wrong("HEALTHCHECK", "is missing a command after CMD"));
        }
        ("CMD", Some(list)) => std::iter::once("CMD".to_owned()).chain(list).collect(),
        ("CMD", None) => vec!["CMD-SHELL".to_owned(), words.to_owned()],
        _ => return Err(wrong("HEALTHCHECK", "has an unknown type; use CMD or NONE")),
    };
    Ok(healthcheck)
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `100ms`.
fn nanoseconds(text: &str) -> Option<i64> {
    let mut total = 0f64;
    let mut rest = text;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_length = rest[digits..]
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(rest.len() - digits);
        let factor = match &rest[digits..digits + unit_length] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * factor;
        rest = &rest[digits + unit_length..];
    }
    (total < 9e18).then_some(total as i64)
}

fn single(instruction: &'static str, arguments: &str, environment: &[String]) -> Result<String> {
    match split(arguments).as_slice() {
        [word] => expanded(instruction, word, environment),
        _ => Err(wrong(instruction, "requires exactly one argument")),
    }
}

fn expanded(instruction: &'static str, text: &str, environment: &[String]) -> Result<String> {
    expand(text, environment).ok_or_else(|| wrong(instruction, "has an open quote or a bad substitution"))
}

/// `directory`, from `base` if it is relative, without `.` and `..`.
fn joined(base: &str, directory: &str) -> String {
    let whole = if directory.starts_with('/') { directory.to_owned() } else { format!("{base}/{directory}") };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn wrong(instruction: &'static str, reason: &'static str) -> Error {
    Error::ChangeArguments { instruction, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changed(changes: &[&str]) -> Config {
        let mut config =
            Config { env: vec!["PATH=/bin".to_owned()], working_dir: "/w".to_owned(), ..Config::default() };
        config.cmd = Some(vec!["old".to_owned()]);
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply_changes(&mut config, &changes).unwrap();
        config
    }

    fn strings(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn sets_commands_in_both_forms() {
        assert_eq!(changed(&[r#"CMD ["a","b c"]"#]).cmd, strings(&["a", "b c"]));
        assert_eq!(changed(&["cmd echo $HOME"]).cmd, strings(&["/bin/sh", "-c", "echo $HOME"]));
        assert_eq!(changed(&[r#"SHELL ["/ash"]"#, "CMD x"]).cmd, strings(&["/ash", "x"]));
        assert_eq!(changed(&["CMD []"]).cmd, strings(&[]));
        let entry = changed(&[r#"ENTRYPOINT ["e"]"#]);
        assert_eq!((entry.entrypoint, entry.cmd), (strings(&["e"]), None));
        assert_eq!(changed(&["CMD [\"c\"]", r#"ENTRYPOINT ["e"]"#]).cmd, strings(&["c"]));
    }

    #[test]
    fn sets_the_rest() {
        let config = changed(&[
            "ENV PATH=$PATH:/x A=\"b c\"\nENV OLD the rest",
            "LABEL a=b 'c d'=e",
            "EXPOSE 80 53/udp 8000-8001",
            "USER nobody",
            "VOLUME [\"/a\"]",
            "VOLUME /b /c",
            "WORKDIR sub/../dir",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
        ]);
        assert_eq!(config.env, ["PATH=/bin:/x", "A=b c", "OLD=the rest"]);
        assert_eq!(config.labels["c d"], "e");
        let ports: Vec<_> = config.exposed_ports.iter().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(config.volumes.len(), 3);
        assert_eq!(
            (config.user.as_str(), config.working_dir.as_str(), config.stop_signal.as_str()),
            ("nobody", "/w/dir", "SIGINT")
        );
        assert_eq!(config.on_build, ["RUN x"]);
        let health = config.healthcheck.unwrap();
        assert_eq!((health.interval, health.retries), (90_000_000_000, 3));
        assert_eq!(Some(health.test), strings(&["CMD-SHELL", "curl x"]));
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for change in [
            "FROM x",
            "RUN x",
            "NOPE",
            "CMD",
            "ENV",
            "ENV a",
            "ENV =b",
            "EXPOSE x",
            "EXPOSE 9-8",
            "EXPOSE 80/icmp",
            "USER a b",
            "ONBUILD ONBUILD RUN x",
            "ONBUILD FROM x",
            "SHELL /bin/sh",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --interval=5 CMD x",
            "HEALTHCHECK --x=1s CMD x",
            "HEALTHCHECK NONE x",
            "LABEL a=b c",
            "WORKDIR '",
            "VOLUME [\"\"]",
        ] {
            assert!(apply_change(&mut Config::default(), change).is_err(), "{change}");
        }
        let error = apply_change(&mut Config::default(), "from x").unwrap_err();
        assert_eq!(error.to_string(), "FROM is not a valid change command");
    }

    proptest! {
        #[test]
        fn never_panics(index in 0..INSTRUCTIONS.len(), arguments in "\\PC{0,30}") {
            let _ = apply_change(&mut Config::default(), &format!("{} {arguments}", INSTRUCTIONS[index]));
        }
    }
}
