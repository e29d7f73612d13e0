//! The two forms of a command, and what a `RUN` with heredocs really executes.

use super::heredoc::{self, Heredoc};
use super::instruction::Run;
use super::position::Word;

/// A command of `RUN`, `CMD`, `ENTRYPOINT` or `HEALTHCHECK`. Never expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A text for the shell; empty when nothing was written.
    Shell(Word),
    /// A JSON array of arguments.
    Exec(Vec<Word>),
}

/// What a `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// These arguments, without a shell.
    Exec(Vec<String>),
    /// The stage's shell with this text.
    Shell(String),
    /// The stage's shell with the path of this file, which is put, executable, into a read-only directory that is
    /// mounted at `/dev/pipes` for this command.
    Script {
        /// The name of the file.
        name: String,
        /// What is in it; it begins with `#!`.
        content: String,
    },
}

impl Run {
    /// What is executed: a lone heredoc is the command itself, others are handed to the shell as they were written.
    pub fn program(&self) -> Program {
        let line = match &self.command {
            CommandLine::Exec(words) => {
                return Program::Exec(words.iter().map(|word| word.value.clone()).collect());
            }
            CommandLine::Shell(line) => &line.value,
        };
        let Some(first) = self.heredocs.first() else { return Program::Shell(line.clone()) };
        if heredoc::opening(line).is_some() {
            let content = first.stripped();
            return match content.starts_with("#!") {
                true => Program::Script { name: first.name.clone(), content },
                false => Program::Shell(content),
            };
        }
        let rejoin = |text: String, heredoc: &Heredoc| text + "\n" + &heredoc.content + &heredoc.name;
        Program::Shell(self.heredocs.iter().fold(line.clone(), rejoin))
    }
}
