//! Help texts in docker's layout, written from the same definitions that parse.

use crate::command::{self, Command, Noun, Visibility, planned};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use clap::Arg;
use std::fmt::Write as _;

/// Columns of a help text where the terminal is not asked.
const WIDTH: usize = 80;

/// The usage line of the whole program.
pub(crate) fn root_usage(program: &str) -> String {
    format!("Usage:  {program} [OPTIONS] COMMAND [ARG...]\n")
}

/// `--version`.
pub(crate) fn version_line(context: &Context<'_>) -> Outcome {
    context.print_line(&format!("Mica version {}", env!("CARGO_PKG_VERSION")))?;
    Ok(SUCCESS)
}

/// Help of the whole program.
pub(crate) fn root(context: &Context<'_>) -> Outcome {
    let program = &context.program;
    let mut text = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA container engine in one binary, without a daemon\n"
    );
    let mut common: Vec<_> =
        command::all().filter(|command| matches!(command.visibility, Visibility::Common(_))).collect();
    common.sort_by_key(|command| match command.visibility {
        Visibility::Common(place) => place,
        _ => u8::MAX,
    });
    let rows = |commands: Vec<&'static Command>| -> Vec<_> {
        commands.into_iter().map(|command| (command.short_path(), command.summary)).collect()
    };
    section(&mut text, "Common Commands", &rows(common));
    let nouns = command::NOUNS.iter().filter(|noun| !noun.name.contains(' '));
    let nouns: Vec<_> = nouns.map(|noun| (noun.name, noun.summary)).collect();
    section(&mut text, "Management Commands", &nouns);
    let mut plain: Vec<_> = command::all()
        .filter(|command| command.visibility == Visibility::Plain && !command.short_path().contains(' '))
        .collect();
    plain.sort_by_key(|command| command.short_path());
    section(&mut text, "Commands", &rows(plain));
    text.push_str(GLOBAL_OPTIONS);
    let _ = writeln!(text, "\nRun '{program} COMMAND --help' for more information on a command.");
    context.print(&text)?;
    Ok(SUCCESS)
}

/// Help of a noun: its verbs.
pub(crate) fn noun(noun: &Noun, context: &Context<'_>) -> Outcome {
    let mut text = format!("Usage:  {} COMMAND\n\n{}\n", context.typed, noun.summary);
    let mut rows: Vec<_> = command::all()
        .filter(|command| command.visibility != Visibility::Hidden)
        .filter_map(|command| {
            let verb = command.paths.iter().find_map(|path| verb(path, noun))?;
            Some((verb, command.summary))
        })
        .collect();
    rows.extend(command::NOUNS.iter().filter_map(|inner| Some((verb(inner.name, noun)?, inner.summary))));
    rows.sort_unstable();
    section(&mut text, "Commands", &rows);
    let _ = writeln!(text, "\nRun '{} COMMAND --help' for more information on a command.", context.typed);
    context.print(&text)?;
    Ok(SUCCESS)
}

/// The one word of a path after a noun.
fn verb<'a>(path: &'a str, noun: &Noun) -> Option<&'a str> {
    path.strip_prefix(noun.name)?.strip_prefix(' ').filter(|verb| !verb.contains(' '))
}

/// `help WORDS…`.
pub(crate) fn topic(words: &[String], context: &mut Context<'_>) -> Outcome {
    let path = words.join(" ");
    context.typed = format!("{} {path}", context.program).trim_end().to_owned();
    match (command::find(&path), words) {
        (_, []) => root(context),
        (Some(found), _) => {
            context.print(&command(found, &context.typed, context))?;
            Ok(SUCCESS)
        }
        (None, _) => match command::noun(&path) {
            Some(found) => noun(found, context),
            None => Err(Failure::refused(format!("unknown help topic: {path}"))),
        },
    }
}

/// Help of one command, called as `typed`.
pub(crate) fn command(command: &Command, typed: &str, context: &Context<'_>) -> String {
    let program = &context.program;
    let mut text = format!("{}\n{}\n", command.usage(typed), command.summary);
    if command.paths.len() > 1 {
        let spellings: Vec<_> = command.paths.iter().map(|path| format!("{program} {path}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", spellings.join(", "));
    }
    if !command.examples.is_empty() {
        text.push_str("\nExamples:\n");
        for (what, line) in command.examples {
            let _ = writeln!(text, "  # {what}\n  {program} {line}");
        }
    }
    let mut flags: Vec<_> = (command.flags)().into_iter().filter(|flag| !flag.is_hide_set()).collect();
    flags.sort_by(|one, other| one.get_long().cmp(&other.get_long()));
    if !flags.is_empty() {
        text.push_str("\nOptions:\n");
        text.push_str(&options(&flags, width(context)));
    }
    text
}

/// The command nearest to `path`, if one is near enough to have been meant.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    let known = command::all()
        .filter(|command| command.visibility != Visibility::Hidden)
        .flat_map(|command| command.paths.iter().copied())
        .chain(planned::COMMANDS.iter().map(|command| command.path))
        .chain(command::NOUNS.iter().map(|noun| noun.name));
    let word = path.rsplit(' ').next().unwrap_or_default();
    let limit = if word.len() <= 5 { 1 } else { 2 };
    known
        .map(|name| (distance(path, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, left) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in other.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(left != right)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            let is_swap = i > 0 && j > 0 && one[i - 1] == *right && other[j - 1] == *left;
            if is_swap {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

fn section(text: &mut String, title: &str, rows: &[(&str, &str)]) {
    if rows.is_empty() {
        return;
    }
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    let _ = write!(text, "\n{title}:\n");
    for (name, summary) in rows {
        let _ = writeln!(text, "  {name:widest$} {summary}");
    }
}

/// The table of flags, wrapped to `width` columns as pflag does.
fn options(flags: &[Arg], width: usize) -> String {
    let lines: Vec<_> = flags.iter().map(|flag| (left_column(flag), help_of(flag))).collect();
    let column = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (left, help) in lines {
        let room = width.saturating_sub(column).max(24);
        let mut gap = column - left.len();
        text.push_str(&left);
        for line in help.lines().flat_map(|line| wrapped(line, room)) {
            let _ = writeln!(text, "{:gap$}{line}", "");
            gap = column;
        }
    }
    text
}

fn left_column(flag: &Arg) -> String {
    let short = flag.get_short().map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    // A switch takes a value for clap's sake (`--flag=false`), which help does not show.
    let kind =
        flag.get_value_names().and_then(<[_]>::first).map(|kind| format!(" {kind}")).unwrap_or_default();
    format!("  {short}--{}{kind}", flag.get_long().unwrap_or_default())
}

fn help_of(flag: &Arg) -> String {
    flag.get_help().map(ToString::to_string).unwrap_or_default()
}

fn wrapped(line: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let is_full =
            lines.last().is_some_and(|last| !last.is_empty() && last.len() + word.trim_end().len() > room);
        if is_full {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(word);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

fn width(context: &Context<'_>) -> usize {
    if !context.terminals().output {
        return WIDTH;
    }
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(WIDTH, |size| usize::from(size.ws_col).max(40))
}

const GLOBAL_OPTIONS: &str = "
Global Options:
      --config string      Location of client config files (default
                           \"~/.docker\")
  -c, --context string     Name of the context to use
  -D, --debug              Enable debug mode
  -H, --host string        Engine to connect to
  -l, --log-level string   Set the logging level (\"debug\", \"info\",
                           \"warn\", \"error\", \"fatal\") (default \"info\")
      --root string        Where images and containers are kept (default
                           \"/var/lib/mica\")
      --run-root string    Where run-time state is kept (default
                           \"/run/mica\")
  -v, --version            Print version information and quit
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        assert_eq!(distance("verison", "version"), 1);
        assert_eq!(nearest("verison"), Some("version"));
        assert_eq!(nearest("contaner"), Some("container"));
        assert_eq!(nearest("imagess"), Some("images"));
        assert_eq!((nearest("frobnicate"), nearest("bogus")), (None, None));
    }

    #[test]
    fn flags_are_laid_out_as_pflag_does() {
        let flags = [
            crate::args::switch("force", "Force the removal of a running container (uses SIGKILL)")
                .short('f'),
            crate::args::text("name", "string", "Assign a name to the container"),
        ];
        assert_eq!(
            options(&flags, 60),
            "  -f, --force         Force the removal of a running\n\
             \x20                     container (uses SIGKILL)\n\
             \x20     --name string   Assign a name to the container\n"
        );
    }
}
