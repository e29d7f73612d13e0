//! `system info`: the engine and the host it runs on.

use crate::args::{Matches, format_of_document};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{Form, to_value};
use crate::output::ui::escape_control;
use crate::output::units::binary_size;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::system::Info;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["system info", "info"],
    summary: "Display system-wide information",
    operands: Operands::NONE,
    flags: || vec![format_of_document()],
    planned: &[],
    execute,
    examples: &[("How many containers run", "info -f '{{.ContainersRunning}}'")],
    visibility: Visibility::Common(12),
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let form = Form::parse_unless_empty(&matches.text_or_empty("format"))?;
    let info = context.engine()?.info()?;
    match form {
        None => {
            context.print(&words(&info, context.config.options.debug))?;
            for warning in &info.warnings {
                context.say_error(&format!("{}\n", escape_control(warning)));
            }
        }
        Some(form) => context.print_line(&form.show(&document(&info, context)?)?)?,
    }
    Ok(SUCCESS)
}

/// The engine's answer with this program's half, as docker prints it.
fn document(info: &Info, context: &Context<'_>) -> Result<Value, Failure> {
    let mut value = to_value(info)?;
    if let Some(object) = value.as_object_mut() {
        let client = json!({
            "Debug": context.config.options.debug,
            "Version": env!("CARGO_PKG_VERSION"),
            "Context": "default",
            "Plugins": [],
            "Warnings": null,
        });
        object.insert("ClientInfo".to_owned(), client);
    }
    Ok(value)
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn words(info: &Info, is_debugging: bool) -> String {
    let mut text = format!(
        "Client:\n Version:    {}\n Context:    default\n Debug Mode: {is_debugging}\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{:indent$}{name}: {value}", "");
    };
    line(1, "Containers", &info.containers);
    line(2, "Running", &info.containers_running);
    line(2, "Paused", &info.containers_paused);
    line(2, "Stopped", &info.containers_stopped);
    line(1, "Images", &info.images);
    line(1, "Server Version", &info.server_version);
    line(1, "Storage Driver", &info.driver);
    for (name, value) in &info.driver_status {
        line(2, name, value);
    }
    line(1, "Logging Driver", &info.logging_driver);
    if !info.plugins.log.is_empty() {
        text.push_str(" Plugins:\n");
        let _ = writeln!(text, "  Log: {}", info.plugins.log.join(" "));
    }
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{:indent$}{name}: {value}", "");
    };
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    security(&mut text, &info.security_options);
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, " {name}: {value}");
    };
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &escape_control(&info.operating_system));
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.cpu_count);
    line("Total Memory", &binary_size(info.mem_total as f64));
    line("Name", &escape_control(&info.name));
    line("ID", &info.id);
    line("Docker Root Dir", &info.docker_root_dir);
    text
}

/// `name=seccomp,profile=default` becomes a name with its settings below.
fn security(text: &mut String, options: &[String]) {
    if options.is_empty() {
        return;
    }
    text.push_str(" Security Options:\n");
    for option in options {
        for pair in option.split(',') {
            let _ = match pair.split_once('=') {
                Some(("name", name)) => writeln!(text, "  {name}"),
                Some((key, value)) => {
                    let mut letters = key.chars();
                    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                    writeln!(text, "   {}{}: {value}", first.unwrap_or_default(), letters.as_str())
                }
                None => writeln!(text, "  {pair}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::FakeEngine;
    use crate::testing::{outcome, run};
    use mica_api::types::system::{Info, Plugins};

    fn engine() -> FakeEngine {
        let text = |text: &str| text.to_owned();
        let info = Info {
            id: text("ID1"),
            containers: 3,
            containers_running: 1,
            containers_paused: 0,
            containers_stopped: 2,
            images: 4,
            driver: text("overlay2"),
            driver_status: vec![(text("Backing Filesystem"), text("extfs"))],
            logging_driver: text("json-file"),
            plugins: Plugins { log: vec![text("json-file"), text("none")] },
            cgroup_driver: text("cgroupfs"),
            cgroup_version: text("1"),
            kernel_version: text("6.18.1"),
            operating_system: text("Debian GNU/Linux 12 (bookworm)"),
            os_type: text("linux"),
            architecture: text("x86_64"),
            cpu_count: 2,
            mem_total: 25_276_510_208,
            docker_root_dir: text("/var/lib/mica"),
            name: text("vm"),
            server_version: text("9.9"),
            security_options: vec![text("name=seccomp,profile=default")],
            warnings: vec![text("WARNING: No swap limit support")],
        };
        FakeEngine::default().will("info", Ok(info))
    }

    #[test]
    fn the_text_is_dockers() {
        let (code, output, error) = run(&engine(), &["info"]);
        let expected = format!(
            "Client:\n Version:    {}\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: 3\n  \
             Running: 1\n  Paused: 0\n  Stopped: 2\n Images: 4\n Server Version: 9.9\n Storage Driver: overlay2\n  \
             Backing Filesystem: extfs\n Logging Driver: json-file\n Plugins:\n  Log: json-file none\n Cgroup Driver: cgroupfs\n Cgroup Version: 1\n \
             Security Options:\n  seccomp\n   Profile: default\n Kernel Version: 6.18.1\n Operating System: \
             Debian GNU/Linux 12 (bookworm)\n OSType: linux\n Architecture: x86_64\n CPUs: 2\n Total Memory: \
             23.54GiB\n Name: vm\n ID: ID1\n Docker Root Dir: /var/lib/mica\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!((code, output, error), (0, expected, "WARNING: No swap limit support\n".to_owned()));
    }

    #[test]
    fn templates_see_both_halves() {
        let format = "{{.ServerVersion}} {{.NCPU}} {{.ClientInfo.Context}}";
        assert_eq!(run(&engine(), &["info", "-f", format]), outcome(0, "9.9 2 default\n", ""));
    }
}
