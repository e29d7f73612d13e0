//! `system info`: the engine and the host it runs on.

use crate::args::{Matches, format_of_document};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{Form, to_value};
use crate::output::ui::escape_control;
use crate::output::units::binary_size;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::system::{Info, Plugins};
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
        object.insert("Debug".to_owned(), context.config.options.debug.into());
        // There is no daemon with proxies of its own: those of the command are used.
        let proxies = context.config.proxies();
        for (name, proxy) in
            [("HttpProxy", &proxies.http), ("HttpsProxy", &proxies.https), ("NoProxy", &proxies.none)]
        {
            object.insert(name.to_owned(), without_password(proxy).into());
        }
    }
    Ok(value)
}

/// A proxy's address as it may be shown to anybody.
fn without_password(address: &str) -> String {
    match address.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => address.to_owned(),
    }
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
    plugins(&mut text, &info.plugins);
    let mut line = |indent: usize, name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{:indent$}{name}: {value}", "");
    };
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    line(1, "Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<_> = info.runtimes.keys().map(String::as_str).collect();
    line(1, "Runtimes", &runtimes.join(" "));
    line(1, "Default Runtime", &info.default_runtime);
    line(1, "Init Binary", &info.init_binary);
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
    line("Debug Mode", &false);
    line("Experimental", &info.experimental_build);
    line("Live Restore Enabled", &info.live_restore_enabled);
    text
}

/// The drivers of each kind that there are any of.
fn plugins(text: &mut String, plugins: &Plugins) {
    let kinds = [("Volume", &plugins.volume), ("Network", &plugins.network), ("Log", &plugins.log)];
    text.push_str(" Plugins:\n");
    for (kind, names) in kinds.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(text, "  {kind}: {}", names.join(" "));
    }
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
    use mica_api::types::system::{Info, Plugins, Runtime, Swarm};
    use mica_model::Timestamp;
    use std::collections::BTreeMap;

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
            plugins: Plugins { log: vec![text("json-file"), text("none")], ..Plugins::default() },
            memory_limit: true,
            swap_limit: false,
            cpu_cfs_period: true,
            cpu_cfs_quota: true,
            cpu_shares: true,
            cpu_set: true,
            pids_limit: true,
            oom_kill_disable: false,
            ipv4_forwarding: true,
            system_time: Timestamp::NEVER,
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
            default_runtime: text("mica"),
            runtimes: BTreeMap::from([(text("mica"), Runtime { path: text("mica") })]),
            init_binary: text("docker-init"),
            cdi_spec_dirs: vec![text("/etc/cdi")],
            index_server_address: text("https://index.docker.io/v1/"),
            labels: Vec::new(),
            experimental_build: false,
            live_restore_enabled: true,
            swarm: Swarm::default(),
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
             Swarm: inactive\n Runtimes: mica\n Default Runtime: mica\n Init Binary: docker-init\n Security Options:\n  seccomp\n   Profile: default\n Kernel Version: 6.18.1\n Operating System: \
             Debian GNU/Linux 12 (bookworm)\n OSType: linux\n Architecture: x86_64\n CPUs: 2\n Total Memory: \
             23.54GiB\n Name: vm\n ID: ID1\n Docker Root Dir: /var/lib/mica\n Debug Mode: false\n \
             Experimental: false\n Live Restore Enabled: true\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!((code, output, error), (0, expected, "WARNING: No swap limit support\n".to_owned()));
    }

    #[test]
    fn templates_see_both_halves() {
        let format = "{{.ServerVersion}} {{.NCPU}} {{.ClientInfo.Context}}";
        assert_eq!(run(&engine(), &["info", "-f", format]), outcome(0, "9.9 2 default\n", ""));
        let format = "{{.DefaultRuntime}} {{.Swarm.LocalNodeState}} {{.CPUCfsQuota}}{{range $n, $r := .Runtimes}} {{$n}}{{end}}";
        assert_eq!(run(&engine(), &["info", "-f", format]), outcome(0, "mica inactive true mica\n", ""));
    }

    #[test]
    fn passwords_of_proxies_are_not_shown() {
        assert_eq!(super::without_password("http://a:b@host:3128"), "http://xxxxx:xxxxx@host:3128");
        assert_eq!(super::without_password("http://host:3128"), "http://host:3128");
    }
}
