//! The flags that define a container, shared by `run` and `create`.

use crate::args::{ValueError, bytes, list, number, switch, text};
use crate::command::container::definition::{
    block_io, gpus, health, isolation, life, logging, network, resources, sharing, variables, volumes,
};
use clap::Arg;

/// All of them.
pub fn all() -> Vec<Arg> {
    let mut flags = vec![
        list("attach", "list", "Attach to STDIN, STDOUT or STDERR").short('a').value_parser(parse_stream),
        text("cidfile", "string", "Write the container ID to the file"),
        text("domainname", "string", "Container NIS domain name"),
        text("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image"),
        list("env", "list", "Set environment variables").short('e').value_parser(variables::parse_variable),
        list("env-file", "list", "Read in a file of environment variables"),
        text("hostname", "string", "Container host name").short('h'),
        switch("interactive", "Keep STDIN open even if not attached").short('i'),
        list("label", "list", "Set meta data on a container").short('l').value_parser(variables::parse_label),
        list("label-file", "list", "Read in a line delimited file of labels"),
        text("name", "string", "Assign a name to the container"),
        text("platform", "string", "Set platform if server is multi-platform capable"),
        text(
            "pull",
            "string",
            "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")",
        ),
        switch("quiet", "Suppress the pull output").short('q'),
        switch("read-only", "Mount the container's root filesystem as read only"),
        switch("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
        list("security-opt", "list", "Security Options"),
        bytes("shm-size", "Size of /dev/shm"),
        text("stop-signal", "string", "Signal to stop the container"),
        number("stop-timeout", "Timeout (in seconds) to stop a container"),
        switch("tty", "Allocate a pseudo-TTY").short('t'),
        text("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
        text("workdir", "string", "Working directory inside the container").short('w'),
    ];
    flags.extend(block_io::flags());
    flags.extend(gpus::flags());
    flags.extend(isolation::flags());
    flags.extend(network::flags());
    flags.extend(health::flags());
    flags.extend(life::flags());
    flags.extend(sharing::flags());
    flags.extend(logging::flags());
    flags.extend(resources::flags());
    flags.extend(volumes::flags());
    flags.push(number("memory-swappiness", "Tune container memory swappiness (0 to 100) (default -1)"));
    flags.push(switch("oom-kill-disable", "Disable OOM Killer"));
    flags
}

fn parse_stream(typed: &str) -> Result<String, ValueError> {
    let lower = typed.to_ascii_lowercase();
    if matches!(lower.as_str(), "stdin" | "stdout" | "stderr") {
        return Ok(lower);
    }
    Err(ValueError { message: "valid streams are STDIN, STDOUT and STDERR".to_owned() })
}
