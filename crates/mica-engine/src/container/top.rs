//! `top`: the processes of a container as the host sees them.
//!
//! docker runs the host's `ps`; we read `/proc` (proc_pid_stat(5)) and know the options of `ps`
//! that people give to `top`: `-ef`, `aux` and `-o` with a list of columns.

use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::{Local, events};
use mica_api::types::container::TopResponse;
use std::collections::HashMap;
use std::path::PathBuf;

impl Local {
    /// Lists the processes of a running container.
    pub(crate) fn top(&self, reference: &str, arguments: &[String]) -> Result<TopResponse> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        if !record.observe(&disk).has_process() {
            return Err(Error::state(format!("container {} is not running", record.id)));
        }
        let columns = columns(arguments)?;
        if !columns.iter().any(|column| column.title == "PID") {
            return Err(Error::invalid("Couldn't find PID field in ps output"));
        }
        let host = Host::read();
        let mut pids = mica_runtime::processes(disk.run())?;
        pids.sort_unstable();
        let processes = pids
            .into_iter()
            // A process that ends between the list and the look is left out.
            .filter_map(Process::read)
            .map(|process| columns.iter().map(|column| (column.value)(&process, &host)).collect())
            .collect();
        self.events.append(&events::container(&record, "top", &[]));
        Ok(TopResponse { titles: columns.iter().map(|column| column.title.to_owned()).collect(), processes })
    }
}

/// A column of `ps`.
#[derive(Clone, Copy)]
struct Column {
    /// Names in `-o`.
    names: &'static [&'static str],
    title: &'static str,
    value: fn(&Process, &Host) -> String,
}

const COLUMNS: &[Column] = &[
    Column { names: &["user", "uname", "euser"], title: "USER", value: |p, host| host.user(p.uid) },
    Column { names: &["uid", "euid"], title: "UID", value: |p, host| host.user(p.uid) },
    Column { names: &["pid"], title: "PID", value: |p, _| p.pid.to_string() },
    Column { names: &["ppid"], title: "PPID", value: |p, _| p.number(PARENT).to_string() },
    Column { names: &["pgid", "pgrp"], title: "PGID", value: |p, _| p.number(GROUP).to_string() },
    Column { names: &["sid", "sess"], title: "SID", value: |p, _| p.number(SESSION).to_string() },
    Column { names: &["c"], title: "C", value: |p, host| format!("{:.0}", p.processor_share(host)) },
    Column {
        names: &["pcpu", "%cpu"],
        title: "%CPU",
        value: |p, host| format!("{:.1}", p.processor_share(host)),
    },
    Column {
        names: &["pmem", "%mem"],
        title: "%MEM",
        value: |p, host| format!("{:.1}", p.memory_share(host)),
    },
    Column {
        names: &["vsz", "vsize"],
        title: "VSZ",
        value: |p, _| (p.number(VIRTUAL_BYTES) / 1024).to_string(),
    },
    Column {
        names: &["rss", "rssize"],
        title: "RSS",
        value: |p, _| (p.number(RESIDENT_PAGES) * 4).to_string(),
    },
    Column { names: &["stime", "start_time", "bsdstart"], title: "STIME", value: |p, host| p.start(host) },
    Column { names: &["start"], title: "START", value: |p, host| p.start(host) },
    Column { names: &["etime"], title: "ELAPSED", value: |p, host| clock(p.age_seconds(host)) },
    Column { names: &["tty", "tt", "tname"], title: "TTY", value: |p, _| terminal(p.number(TERMINAL)) },
    Column { names: &["time", "cputime"], title: "TIME", value: |p, host| p.processor_time(host) },
    Column { names: &["bsdtime"], title: "TIME", value: |p, host| p.short_time(host) },
    Column { names: &["stat"], title: "STAT", value: |p, _| p.full_state() },
    Column { names: &["s", "state"], title: "S", value: |p, _| p.state.clone() },
    Column { names: &["ni", "nice"], title: "NI", value: |p, _| p.number(NICE).to_string() },
    Column { names: &["nlwp", "thcount"], title: "NLWP", value: |p, _| p.number(THREADS).to_string() },
    Column { names: &["comm", "ucmd", "ucomm"], title: "COMMAND", value: |p, _| p.name.clone() },
    Column { names: &["cmd"], title: "CMD", value: |p, _| p.command() },
    Column { names: &["args", "command"], title: "COMMAND", value: |p, _| p.command() },
];

fn column(name: &str) -> Option<Column> {
    COLUMNS.iter().find(|column| column.names.contains(&name)).copied()
}

/// The columns that arguments of `ps` ask for.
fn columns(arguments: &[String]) -> Result<Vec<Column>> {
    let unknown = |what: &str| {
        Error::invalid(format!(
            "top does not know the ps option {what:?}: it knows -ef, aux and -o with any of {}",
            COLUMNS.iter().map(|column| column.names[0]).collect::<Vec<_>>().join(",")
        ))
    };
    let mut list: Option<Vec<String>> = None;
    let mut style = FULL;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let bare = word.trim_start_matches('-');
        match bare.split_once('o') {
            _ if matches!(bare, "e" | "A" | "ef" | "f" | "eF") => style = FULL,
            _ if matches!(bare, "aux" | "ax" | "axu" | "u") => style = LONG,
            Some((before, after)) if before.chars().all(|c| "eAax".contains(c)) => {
                let text = if after.is_empty() { words.next().map(String::as_str) } else { Some(after) };
                let text = text.ok_or_else(|| unknown(word))?;
                list.get_or_insert_default().extend(text.split(',').map(str::to_owned));
            }
            _ => return Err(unknown(word)),
        }
    }
    let names: Vec<String> = list.unwrap_or_else(|| style.iter().map(|&name| name.to_owned()).collect());
    names
        .iter()
        .map(|name| column(name.split('=').next().unwrap_or_default().trim()).ok_or_else(|| unknown(name)))
        .collect()
}

const FULL: &[&str] = &["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"];
const LONG: &[&str] =
    &["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args"];

// Places in /proc/PID/stat after the name, proc_pid_stat(5) minus three.
const PARENT: usize = 1;
const GROUP: usize = 2;
const SESSION: usize = 3;
const TERMINAL: usize = 4;
const FOREGROUND: usize = 5;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const NICE: usize = 16;
const THREADS: usize = 17;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// What `/proc` tells of one process.
struct Process {
    pid: u32,
    uid: u32,
    name: String,
    state: String,
    fields: Vec<i64>,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
        // The name may contain anything, parentheses too; the last one ends it.
        let (before, after) = stat.rsplit_once(')')?;
        let mut words = after.split_ascii_whitespace();
        let state = words.next()?.to_owned();
        let fields = std::iter::once(0).chain(words.map(|word| word.parse().unwrap_or(0))).collect();
        let uid = std::fs::metadata(&directory).ok()?.uid();
        Some(Self { pid, uid, name: before.split_once('(')?.1.to_owned(), state, fields })
    }

    fn number(&self, place: usize) -> i64 {
        self.fields.get(place).copied().unwrap_or(0)
    }

    fn command(&self) -> String {
        let raw = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&raw).trim_end_matches('\0').replace('\0', " ");
        if text.is_empty() { format!("[{}]", self.name) } else { text }
    }

    fn processor_seconds(&self, host: &Host) -> f64 {
        (self.number(USER_TICKS) + self.number(SYSTEM_TICKS)) as f64 / host.ticks_per_second
    }

    fn age_seconds(&self, host: &Host) -> f64 {
        (host.uptime_seconds - self.number(START_TICKS) as f64 / host.ticks_per_second).max(0.0)
    }

    fn processor_share(&self, host: &Host) -> f64 {
        let age = self.age_seconds(host);
        if age > 0.0 { self.processor_seconds(host) / age * 100.0 } else { 0.0 }
    }

    fn memory_share(&self, host: &Host) -> f64 {
        let bytes = self.number(RESIDENT_PAGES) as f64 * 4096.0;
        if host.memory_bytes > 0.0 { bytes / host.memory_bytes * 100.0 } else { 0.0 }
    }

    fn processor_time(&self, host: &Host) -> String {
        let seconds = self.processor_seconds(host) as u64;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Minutes and seconds, as `ps aux` has them.
    fn short_time(&self, host: &Host) -> String {
        let seconds = self.processor_seconds(host) as u64;
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }

    /// The state with the marks of ps(1): nice, leader of a session, many threads, in the foreground.
    fn full_state(&self) -> String {
        let marks = [
            ('<', self.number(NICE) < 0),
            ('N', self.number(NICE) > 0),
            ('s', self.number(SESSION) == i64::from(self.pid)),
            ('l', self.number(THREADS) > 1),
            ('+', self.number(FOREGROUND) == self.number(GROUP)),
        ];
        let marks = marks.iter().filter(|(_, holds)| *holds).map(|(mark, _)| *mark);
        self.state.chars().chain(marks).collect()
    }

    fn start(&self, host: &Host) -> String {
        let started =
            std::time::SystemTime::now() - std::time::Duration::from_secs_f64(self.age_seconds(host));
        let zoned = jiff::Timestamp::try_from(started).map(|instant| instant.to_zoned(host.zone.clone()));
        let form = if self.age_seconds(host) < 86_400.0 { "%H:%M" } else { "%b%d" };
        zoned.map(|zoned| zoned.strftime(form).to_string()).unwrap_or_default()
    }
}

/// What is the same for all processes.
struct Host {
    users: HashMap<u32, String>,
    uptime_seconds: f64,
    ticks_per_second: f64,
    memory_bytes: f64,
    zone: jiff::tz::TimeZone,
}

impl Host {
    fn read() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let users = passwd.lines().filter_map(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?;
            Some((parts.nth(1)?.parse().ok()?, name.to_owned()))
        });
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let information = rustix::system::sysinfo();
        Self {
            users: users.collect(),
            uptime_seconds: uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            zone: std::fs::read("/etc/localtime")
                .ok()
                .and_then(|zone| jiff::tz::TimeZone::tzif("Local", &zone).ok())
                .unwrap_or(jiff::tz::TimeZone::UTC),
            memory_bytes: information.totalram as f64 * f64::from(information.mem_unit),
        }
    }

    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

fn terminal(device: i64) -> String {
    let minor = (device & 0xff) | (device >> 12 & 0xfff00);
    match device >> 8 & 0xfff {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{minor}"),
        _ => format!("tty{minor}"),
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    if seconds < 3600 {
        return format!("{:02}:{:02}", seconds / 60, seconds % 60);
    }
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(arguments: &[&str]) -> Option<Vec<&'static str>> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        columns(&arguments).ok().map(|columns| columns.iter().map(|column| column.title).collect())
    }

    #[test]
    fn knows_the_usual_options() {
        assert_eq!(titles(&[]).unwrap()[0], "UID");
        assert_eq!(titles(&["aux"]).unwrap()[0], "USER");
        assert_eq!(titles(&["-o", "pid,comm"]).unwrap(), ["PID", "COMMAND"]);
        assert_eq!(titles(&["-eo", "pid,args"]).unwrap(), ["PID", "COMMAND"]);
        assert_eq!(titles(&["-eo", "pid,cmd"]).unwrap(), ["PID", "CMD"]);
        assert_eq!(titles(&["-opid"]).unwrap(), ["PID"]);
        assert_eq!(titles(&["-Z"]), None);
        assert_eq!(titles(&["-o", "nonsense"]), None);
    }

    #[test]
    fn reads_itself() {
        let me = Process::read(std::process::id()).unwrap();
        assert!(me.number(PARENT) > 0);
        assert!(!me.command().is_empty());
    }
}
