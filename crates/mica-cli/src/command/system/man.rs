//! `man DIRECTORY`: writes the manual pages, for packagers.

use crate::args::Matches;
use crate::command::{self, Command, Operands, Visibility, grammar};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["man"],
    summary: "Write manual pages into a directory",
    operands: Operands::exactly(1, &["DIRECTORY"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("Install the manual pages", "man /usr/local/share/man/man1")],
    visibility: Visibility::Hidden,
};

fn execute(matches: &Matches, _: &Context<'_>) -> Outcome {
    let directory = matches.operand(0).unwrap_or_default();
    let failure = |source| Failure::File { action: "write", path: directory.clone(), source };
    std::fs::create_dir_all(&directory).map_err(failure)?;
    for (name, page) in pages().map_err(failure)? {
        std::fs::write(Path::new(&directory).join(name), page).map_err(failure)?;
    }
    Ok(SUCCESS)
}

/// All pages by file name: the program, and each command once, under its first spelling.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = vec![("mica.1".to_owned(), render(grammar::whole("mica"))?)];
    for command in command::all().filter(|command| command.visibility != Visibility::Hidden) {
        let path = command.paths.first().copied().unwrap_or_default();
        let name = format!("mica-{}", path.replace(' ', "-"));
        let definition = grammar::documented(command, "mica")
            .name(name.clone())
            .bin_name(format!("mica {path}"))
            .after_long_help(notes(command));
        pages.push((format!("{name}.1"), render(definition)?));
    }
    Ok(pages)
}

fn render(definition: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(definition.version(env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    Ok(page)
}

/// The other spellings and the examples.
fn notes(command: &Command) -> String {
    let mut text = String::new();
    if command.paths.len() > 1 {
        let spellings: Vec<_> = command.paths.iter().map(|path| format!("mica {path}")).collect();
        let _ = writeln!(text, "Spellings: {}", spellings.join(", "));
    }
    for (what, line) in command.examples {
        let _ = writeln!(text, "\n{what}:\n\n    mica {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command() {
        let pages = pages().unwrap();
        let (_, page) = pages.iter().find(|(name, _)| name == "mica-image-save.1").unwrap();
        let page = String::from_utf8(page.clone()).unwrap();
        assert!(page.contains("mica image save"), "{page}");
        assert!(page.contains("Spellings: mica image save, mica save"), "{page}");
        assert!(!pages.iter().any(|(name, _)| name.contains("__")));
    }
}
