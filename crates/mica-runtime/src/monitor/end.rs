//! The end of a container: first the record, then the event, then word to the clients, then order.

use super::lives::Ended;
use super::oom::OomWatch;
use super::relay::Relay;
use super::{is_container, now};
use crate::order::{Job, LastCommand, MonitorOrder};
use crate::plan::EventPlan;
use crate::state::{EXIT_FILE, State};
use crate::{ExitRecord, cgroup};
use mica_model::Timestamp;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the last command waits for clients: a foreground command usually removes the container
/// itself, and sooner.
const CLIENT_PATIENCE_SECONDS: i64 = 10;

/// How long a client may take nothing at all before what it is owed is discarded.
const LINGER_SECONDS: i64 = 3600;

/// Takes in the end of a life: its exit code, its processes that are left, its last output.
pub(super) fn take_in(relay: &mut Relay, restart_count: u32) -> Ended {
    let code = reap(relay);
    let finished_at = now();
    if let Some(vigil) = &mut relay.vigil {
        vigil.end();
    }
    if let Some(group) = &relay.group
        && !group.processes().is_empty()
    {
        group.kill_all();
    }
    relay.drain();
    if let Some(watch) = &mut relay.oom {
        watch.look();
    }
    let record = ExitRecord {
        version: 1,
        code,
        oom_killed: relay.was_out_of_memory(),
        started_at: relay.started_at.nanoseconds(),
        finished_at: finished_at.nanoseconds(),
        error: String::new(),
        restart_count,
    };
    Ended { record, is_announced: false }
}

/// Does what is to be done between two lives: word to those who ask, to events and to clients. Those
/// who stay for all lives come back.
pub(super) fn between(relay: &mut Relay, order: &MonitorOrder, record: &ExitRecord) {
    if let (Some(residence), Some(group)) = (&relay.residence, &relay.group) {
        // What cannot be written now is written with the next start.
        let _ = residence.tell(&State::between(group.clone(), record, &residence.boot));
    }
    if let Some(plan) = &order.events {
        let is_oom_news = !relay.oom.as_ref().is_some_and(OomWatch::has_announced);
        announce(plan, record, is_oom_news);
    }
    relay.dismiss(&exit_payload(record, true));
    relay.release();
    // The next life mounts the same directories.
    relay.root = None;
}

/// Does all that is to be done when the last life has ended.
pub(super) fn finish(mut relay: Relay, order: &MonitorOrder, ended: Ended) {
    // Nobody shall hear of the end while ports and names are still taken.
    relay.companion = None;
    let record = ended.record;
    if let Some(vigil) = &mut relay.vigil {
        vigil.keep();
    }
    let is_kept = keep_record(order, &record);
    if let Some(plan) = &order.events
        && !ended.is_announced
    {
        let is_oom_news = !relay.oom.as_ref().is_some_and(OomWatch::has_announced);
        announce(plan, &record, is_oom_news);
    }
    // Its cgroup cannot go while it is watched.
    relay.oom = None;
    if let Some(residence) = &relay.residence {
        match &relay.group {
            // The one file that is open already, for one that cannot open or make any other.
            Some(group) if !is_kept => {
                let _ = residence.tell(&State::between(group.clone(), &record, &residence.boot));
            }
            _ => residence.vacate(),
        }
    }
    relay.dismiss(&exit_payload(&record, false));
    if is_container(order)
        && let Some(group) = &relay.group
    {
        remove_group(group);
    }
    // Before the lock: the next start mounts the same directories.
    relay.root = None;
    if let Some(residence) = &relay.residence {
        residence.leave();
    }
    // Releases the lock: from here on the container may be started again.
    relay.residence = None;
    relay.release();
    part(relay, order.after_exit.as_ref());
}

/// Writes down how it ended; `false` if there is no place for that.
fn keep_record(order: &MonitorOrder, record: &ExitRecord) -> bool {
    let Some(path) = &order.exit_file else { return true };
    let written = write_record(path, record);
    match &order.job {
        // A full disk. The run directory lies elsewhere, on a file system in memory.
        Job::Container(job) if written.is_err() => {
            write_record(&job.run_directory.join(EXIT_FILE), record).is_ok()
        }
        _ => true,
    }
}

/// Exit code, whether memory had run out, whether another life follows.
fn exit_payload(record: &ExitRecord, follows: bool) -> [u8; 6] {
    let [a, b, c, d] = record.code.to_be_bytes();
    [a, b, c, d, u8::from(record.oom_killed), u8::from(follows)]
}

fn reap(relay: &Relay) -> u32 {
    let Some(process) = &relay.process else { return 255 };
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED)
    });
    let Ok(Some(status)) = status else { return 255 };
    let exit = status.exit_status().map(|code| code & 0xff);
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    exit.or(signal).and_then(|code| u32::try_from(code).ok()).unwrap_or(255)
}

/// By way of a temporary name, so that a reader sees all or nothing. Not synced: after a crash of
/// the host the container counts as ended with code 255 anyway.
fn write_record(path: &Path, record: &ExitRecord) -> std::io::Result<()> {
    let text = serde_json::to_vec(record)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

/// `is_oom_news`: that memory ran out was not told when it did.
fn announce(plan: &EventPlan, record: &ExitRecord, is_oom_news: bool) {
    let mut text = String::new();
    if let Some(line) = &plan.oom_line
        && record.oom_killed
        && is_oom_news
    {
        text.push_str(&fill_in(line, record));
        text.push('\n');
    }
    text.push_str(&fill_in(&plan.die_line, record));
    text.push('\n');
    append(&plan.path, &text);
}

/// Announces that the program runs.
pub(super) fn announce_start(plan: &EventPlan, started_at: Timestamp) {
    announce_at(plan, plan.start_line.as_deref(), started_at);
}

/// Announces that memory has run out.
pub(super) fn announce_oom(plan: &EventPlan, time: Timestamp) {
    announce_at(plan, plan.oom_line.as_deref(), time);
}

fn announce_at(plan: &EventPlan, line: Option<&str>, time: Timestamp) {
    if let Some(line) = line {
        announce_line(&plan.path, line, time);
    }
}

/// Announces what needs no more than its time to be filled in, on one line or several.
pub(super) fn announce_line(path: &Path, line: &str, time: Timestamp) {
    let text = line
        .replace("@TIMENANO@", &time.nanoseconds().to_string())
        .replace("@TIME@", &time.seconds().to_string());
    append(path, &format!("{text}\n"));
}

/// One write at the end of the file. The lock only keeps a rotation from coming in between; who
/// holds it for long was stopped in the middle, and no container waits for that.
fn append(path: &Path, text: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    for _ in 0..ROTATIONS_MAX {
        let Ok(file) = open() else { return };
        wait_for_lock(&file);
        if is_current(&file, path) {
            let _ = rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes()));
            return;
        }
    }
}

/// Takes the lock, or goes on without it after a moment.
fn wait_for_lock(file: &OwnedFd) {
    for _ in 0..LOCK_PATIENCE_MILLISECONDS {
        if rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the file is still the one of that name: a rotation renames it.
fn is_current(file: &OwnedFd, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (rustix::fs::fstat(file), rustix::fs::stat(path)) else { return true };
    (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
}

/// How often in a row the event file may be exchanged under us.
const ROTATIONS_MAX: usize = 4;

/// How long an event waits for the lock of its file.
const LOCK_PATIENCE_MILLISECONDS: usize = 200;

fn fill_in(line: &str, record: &ExitRecord) -> String {
    let seconds = Timestamp::from_nanoseconds(record.finished_at).seconds();
    let duration = record.finished_at.saturating_sub(record.started_at).max(0) / 1_000_000_000;
    line.replace("@TIMENANO@", &record.finished_at.to_string())
        .replace("@TIME@", &seconds.to_string())
        .replace("@EXITCODE@", &record.code.to_string())
        .replace("@DURATION@", &duration.to_string())
}

/// Removes cgroups; a process may still be on its way out, so tries for a moment.
pub(crate) fn remove_group(group: &cgroup::Group) {
    for attempt in 0..100 {
        if group.remove() {
            return;
        }
        if attempt % 10 == 9 {
            group.kill_all();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Stays for clients that have not taken everything, and runs the last command.
fn part(mut relay: Relay, last: Option<&LastCommand>) {
    // Clients that are owed nothing must see the end of file now.
    let was_slow = relay.flush_clients(0) || !relay.clients.is_empty();
    relay.settle_log();
    let Some(last) = last else {
        while relay.flush_clients(LINGER_SECONDS) {}
        return;
    };
    if was_slow {
        while relay.flush_clients(CLIENT_PATIENCE_SECONDS) {}
    } else {
        wait_for_remover(last);
    }
    if last.only_if_exists.exists() {
        spawn_last(last);
    } else if let Some(left) = &last.discards {
        discard(left);
    }
    while relay.flush_clients(LINGER_SECONDS) {}
}

/// A foreground command removes its container right after the exit frame; starting another command
/// for nothing would cost more than looking again a moment later.
fn wait_for_remover(last: &LastCommand) {
    for _ in 0..20 {
        if !last.only_if_exists.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Deletes what the remover leaves to us, so that nobody waits for it. What the remover did not live to
/// leave, and what cannot be deleted, goes with the next removal.
fn discard(left: &Path) {
    for _ in 0..20 {
        match fs::remove_dir_all(left) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            _ => return,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn spawn_last(last: &LastCommand) {
    let arguments = last.arguments.iter().map(|argument| OsStr::from_bytes(argument));
    let mut command = Command::new("/proc/self/exe");
    command.arg0("mica").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ExitRecord {
        ExitRecord {
            version: 1,
            code: 137,
            oom_killed: true,
            started_at: 1_000_000_000,
            finished_at: 4_500_000_000,
            error: String::new(),
            restart_count: 0,
        }
    }

    #[test]
    fn events_are_filled_in_and_appended_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        fs::write(&path, "before\n").unwrap();
        let plan = EventPlan {
            path: path.clone(),
            die_line: "die @EXITCODE@ @TIME@ @TIMENANO@ @DURATION@".to_owned(),
            oom_line: Some("oom @TIME@".to_owned()),
            start_line: Some("start @TIME@".to_owned()),
        };
        announce_start(&plan, Timestamp::from_seconds(1));
        announce(&plan, &record(), true);
        announce_oom(&plan, Timestamp::from_seconds(6));
        announce(&plan, &record(), false);
        let die = "die 137 4 4500000000 3\n";
        let expected = format!("before\nstart 1\noom 4\n{die}oom 6\n{die}");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn a_record_without_room_is_found_in_the_run_directory() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/such/directory/exit.json");
        assert!(write_record(&missing, &record()).is_err());
        assert_eq!(crate::last_exit(&missing, directory.path()), None);
        write_record(&directory.path().join(EXIT_FILE), &record()).unwrap();
        assert_eq!(crate::last_exit(&missing, directory.path()), Some(record()));
        crate::forget_exit(&missing, directory.path()).unwrap();
        assert_eq!(crate::last_exit(&missing, directory.path()), None);
    }

    #[test]
    fn a_record_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("exit.json");
        assert_eq!(crate::exit_record(&path).unwrap(), None);
        write_record(&path, &record()).unwrap();
        assert_eq!(crate::exit_record(&path).unwrap(), Some(record()));
    }
}
