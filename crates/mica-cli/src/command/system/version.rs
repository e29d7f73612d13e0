//! `version`: this program and the engine it speaks to.

use crate::args::{Matches, format_of_document};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::Form;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::API_VERSION;
use mica_api::types::system::Version;
use serde_json::{Value, json};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["version"],
    summary: "Show the version of mica and of its engine",
    operands: Operands::NONE,
    flags: || vec![format_of_document()],
    planned: &[],
    execute,
    examples: &[("Only the version of the engine", "version -f '{{.Server.Version}}'")],
    visibility: Visibility::Common(11),
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let form = Form::parse_unless_empty(&matches.text_or_empty("format"))?;
    let asked = context.engine().and_then(|engine| engine.version().map_err(Failure::from));
    // Whoever asks because the engine cannot be reached still learns what the program is.
    let text = match &form {
        None => words(asked.as_ref().ok()),
        Some(form) => format!("{}\n", form.show(&document(asked.as_ref().ok()))?),
    };
    context.print(&text)?;
    asked.map(|_| SUCCESS)
}

fn words(server: Option<&Version>) -> String {
    let mut text = format!(
        "Client:\n Version:           {VERSION}\n API version:       {API_VERSION}\n \
         OS/Arch:           {}/{}\n Context:           default\n",
        std::env::consts::OS,
        architecture()
    );
    if let Some(server) = server {
        text.push_str(&format!(
            "\nServer:\n Engine:\n  Version:          {}\n  API version:      {} (minimum version {})\n  \
             Git commit:       {}\n  Built:            {}\n  OS/Arch:          {}/{}\n  Experimental:     false\n",
            server.version,
            server.api_version,
            server.min_api_version,
            server.git_commit,
            server.build_time,
            server.os,
            server.arch
        ));
    }
    text
}

fn document(server: Option<&Version>) -> Value {
    let client = json!({
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "Os": std::env::consts::OS,
        "Arch": architecture(),
        "Context": "default",
    });
    json!({ "Client": client, "Server": server.map(server_document) })
}

fn server_document(server: &Version) -> Value {
    json!({
        "Platform": { "Name": "" },
        "Components": [{
            "Name": "Engine",
            "Version": server.version,
            "Details": {
                "ApiVersion": server.api_version,
                "Arch": server.arch,
                "BuildTime": server.build_time,
                "Experimental": "false",
                "GitCommit": server.git_commit,
                "KernelVersion": server.kernel_version,
                "MinAPIVersion": server.min_api_version,
                "Os": server.os,
            },
        }],
        "Version": server.version,
        "ApiVersion": server.api_version,
        "MinAPIVersion": server.min_api_version,
        "GitCommit": server.git_commit,
        "Os": server.os,
        "Arch": server.arch,
        "KernelVersion": server.kernel_version,
        "BuildTime": server.build_time,
    })
}

/// The processor in the words of images: `amd64`, `arm64`.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::FakeEngine;
    use crate::testing::{outcome, run};
    use mica_api::types::system::Version;

    fn engine() -> FakeEngine {
        let text = |text: &str| text.to_owned();
        let version = Version {
            version: text("9.9"),
            api_version: text("1.50"),
            min_api_version: text("1.24"),
            git_commit: text("abc"),
            os: text("linux"),
            arch: text("amd64"),
            kernel_version: text("6.18"),
            build_time: text("today"),
        };
        FakeEngine::default().will("version", Ok(version))
    }

    #[test]
    fn both_halves_are_shown() {
        let (code, output, error) = run(&engine(), &["version"]);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(
            output.starts_with(&format!("Client:\n Version:           {}\n", super::VERSION)),
            "{output}"
        );
        assert!(output.contains(
            "\nServer:\n Engine:\n  Version:          9.9\n  API version:      1.50 (minimum version 1.24)\n"
        ));
        assert_eq!(run(&engine(), &["version", "-f", "{{.Server.Version}}"]), outcome(0, "9.9\n", ""));
    }

    #[test]
    fn the_client_is_shown_without_an_engine() {
        let (code, output, error) = run(&FakeEngine::default(), &["version"]);
        assert_eq!(code, 1);
        assert!(output.starts_with("Client:\n") && !output.contains("Server"), "{output}");
        assert!(error.starts_with("Error: "), "{error}");
    }

    #[test]
    fn templates_are_checked_first() {
        let engine = engine();
        let (code, _, error) = run(&engine, &["version", "-f", "{{"]);
        assert_eq!(code, 64);
        assert!(error.starts_with("template parsing error: template: :1: unclosed action"), "{error}");
        assert!(engine.calls().is_empty());
    }
}
