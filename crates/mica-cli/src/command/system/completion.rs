//! `completion`: the script that completes command lines in a shell.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility, grammar};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use clap_complete::Shell;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["completion"],
    summary: "Generate the autocompletion script for the specified shell",
    operands: Operands::exactly(1, &["bash|fish|powershell|zsh"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[
        ("Complete commands in this bash", "completion bash > /etc/bash_completion.d/mica"),
        ("Complete commands in zsh", "completion zsh > \"${fpath[1]}/_mica\""),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let shell = shell(&matches.operand(0).unwrap_or_default())?;
    // The script completes the program under the name it was asked by.
    let program = if context.program == "docker" { "docker" } else { "mica" };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar::whole(program), program, &mut script);
    context.print_bytes(&script)?;
    Ok(SUCCESS)
}

fn shell(name: &str) -> Result<Shell, Failure> {
    match name {
        "bash" => Ok(Shell::Bash),
        "fish" => Ok(Shell::Fish),
        "powershell" => Ok(Shell::PowerShell),
        "zsh" => Ok(Shell::Zsh),
        _ => {
            Err(Failure::refused(format!("no completion for {name:?}: choose bash, fish, powershell or zsh")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script() {
        for name in ["bash", "fish", "powershell", "zsh"] {
            let mut script = Vec::new();
            clap_complete::generate(shell(name).unwrap(), &mut grammar::whole("mica"), "mica", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("rmi") && script.contains("no-prune"), "{name}");
            assert!(!script.contains("disable-content-trust"), "{name}");
        }
        assert!(shell("tcsh").is_err());
    }
}
