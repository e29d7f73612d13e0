//! The program of the embedded image `hello`: tells what a process sees from inside a container.
//!
//! `build.rs` compiles this one file with the compiler that builds the engine; it is the only
//! program in the image, so it reads everything itself, from `/proc` and its environment.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// When the engine began, in nanoseconds since the epoch; set for containers of this image only.
const STARTED_AT: &str = "MICA_STARTED_AT_NANOSECONDS";

fn main() -> ExitCode {
    // Before anything else, as the reading below takes time too.
    let start = since_start();
    match tell(&mut io::stdout().lock(), start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tell(out: &mut impl Write, start: Option<u128>) -> io::Result<()> {
    let mut text = String::from("Hello from a container: this machine can run them.\n\nSeen from inside:\n");
    for (title, value) in [
        ("process", process()),
        ("host name", read("/proc/sys/kernel/hostname")),
        ("root", root()),
        ("layers", layers()),
        ("control group", control_group()),
        ("memory limit", memory_limit()),
        ("started in", start.map(milliseconds)),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("  {title:<14} {value}\n"));
        }
    }
    text.push_str(NEXT);
    out.write_all(text.as_bytes())?;
    out.flush()
}

const NEXT: &str = "
What next:
  mica image tree hello           draws the layers of this image and where they lie
  mica load -i image.tar          reads an image that docker, podman or skopeo saved
  mica run -it IMAGE sh           runs a shell in it
  mica --help                     lists everything else
";

fn since_start() -> Option<u128> {
    let began: u128 = std::env::var(STARTED_AT).ok()?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos().checked_sub(began)
}

fn milliseconds(nanoseconds: u128) -> String {
    let tenths = nanoseconds / 100_000;
    format!("{}.{} ms, from the command to this program's first line", tenths / 10, tenths % 10)
}

fn process() -> Option<String> {
    let status = read("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let others = fs::read_dir("/proc").ok()?.flatten().filter(|entry| is_number(&entry.file_name())).count();
    let alone =
        if others == 1 { ", and no other process in sight".to_owned() } else { format!(", one of {others}") };
    Some(format!("pid {}, user {}{alone}", std::process::id(), field("Uid")?))
}

fn is_number(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

fn root() -> Option<String> {
    let mut names: Vec<String> = fs::read_dir("/")
        .ok()?
        .flatten()
        .map(|entry| {
            let slash = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    Some(names.join(" "))
}

/// Reads the stack from the options of the mount on `/` (proc_pid_mountinfo(5)): older kernels
/// list the lower directories in one option, newer ones in one each.
fn layers() -> Option<String> {
    let mounts = read("/proc/self/mountinfo")?;
    let options = mounts.lines().find_map(|line| {
        let (place, file_system) = line.split_once(" - ")?;
        let is_root = place.split(' ').nth(4) == Some("/");
        let mut fields = file_system.split(' ');
        (is_root && fields.next() == Some("overlay")).then(|| fields.nth(1)).flatten()
    })?;
    let count = options
        .split(',')
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| matches!(*key, "lowerdir" | "lowerdir+"))
        .flat_map(|(_, list)| list.split(':'))
        // The engine's own layer below every image only has places to mount on.
        .filter(|lower| !lower.is_empty() && !lower.ends_with("/mountpoints"))
        .count();
    let own = if options.contains("upperdir=") { ", and a writable one of its own on top" } else { "" };
    Some(format!("{count} read-only, shared with every container of the image{own}"))
}

fn control_group() -> Option<String> {
    let groups = read("/proc/self/cgroup")?;
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let place = unified.or_else(|| groups.lines().find_map(|line| line.splitn(3, ':').nth(2)))?;
    let space = fs::read_link("/proc/self/ns/cgroup").ok()?;
    let space = space.to_string_lossy();
    let number: String = space.chars().filter(char::is_ascii_digit).collect();
    Some(format!("{place} in namespace {number}"))
}

/// The limit of cgroup v2, else of v1, where "no limit" is a number near 2^63.
fn memory_limit() -> Option<String> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let text = files.iter().find_map(|file| read(file))?;
    match text.parse::<u64>() {
        Ok(bytes) if bytes < 1 << 60 => Some(format!("{} MiB", bytes >> 20)),
        _ => Some("none".to_owned()),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}
