//! A stand-in for the `mica` binary: its monitors run from here in tests, and it measures how long
//! starts take.
//!
//! `probe bench ROOT COUNT` starts `/bin/true` in the directory ROOT, COUNT times;
//! `probe log ROOT MEGABYTES` writes that much output to a log; `probe remove DIRECTORY -` is the
//! last command of a test.

use mica_model::ContainerId;
use mica_runtime::{
    Attach, ContainerPlan, ExecPlan, Launcher, LogPlan, ProcessPlan, RestartPlan, RestartPolicy, RootPlan,
    StartPlan, StdinPlan,
};
use oci_spec::runtime::{ProcessBuilder, Spec};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = arguments.first().and_then(|name| mica_runtime::door(name, |_, _| None)) {
        return code;
    }
    let [_, verb, root, count] = arguments.as_slice() else { return ExitCode::from(2) };
    let count = count.to_str().and_then(|count| count.parse().ok()).unwrap_or(100);
    let result = match verb.to_str() {
        Some("bench") => bench(Path::new(root), count),
        Some("log") => bench_log(Path::new(root), count),
        Some("remove") => std::fs::remove_dir_all(root).map_err(Into::into),
        _ => Err("unknown verb".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example speaks to its user")]
fn report(text: &str) {
    println!("{text}");
}

fn plan(
    root: &Path,
    run_directory: &Path,
    arguments: &[&str],
) -> Result<StartPlan, Box<dyn std::error::Error>> {
    let mut spec = Spec::default();
    let words: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let process = ProcessBuilder::default().args(words).cwd("/").env(vec!["PATH=/bin".to_owned()]).build()?;
    spec.set_process(Some(process)).set_hostname(Some("probe".to_owned()));
    let number = u8::try_from(std::process::id() % 251)?;
    Ok(StartPlan {
        id: ContainerId::from_random([number; 32]),
        container: ContainerPlan::from_spec(&spec)?.0,
        root: RootPlan::Directory { path: root.to_owned() },
        user: None,
        groups: Vec::new(),
        run_directory: run_directory.to_owned(),
        exit_file: run_directory.join("exit.json"),
        log: LogPlan::default(),
        events: None,
        restart: RestartPlan { policy: RestartPolicy::Never, stop_file: run_directory.join("stopped") },
        init: false,
        stdin: StdinPlan::Null,
        terminal_size: None,
        attach: Some(Attach { stdin: false, stdout: true, stderr: true }),
        after_exit: None,
        joined: Vec::new(),
        held: None,
        ends_with_clients: false,
        health: None,
        companion: None,
    })
}

fn bench(root: &Path, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let run_directory = PathBuf::from(format!("/tmp/mica-probe-{}", std::process::id()));
    std::fs::create_dir_all(&run_directory)?;
    let (mut spawn, mut start, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let plan = plan(root, &run_directory, &["/bin/true"])?;
        let begin = Instant::now();
        let launcher = Launcher::spawn(&plan.id)?;
        spawn.push(begin.elapsed());
        let mut started = launcher.start(plan)?;
        start.push(begin.elapsed());
        started.stream.read_to_end(&mut Vec::new())?;
        whole.push(begin.elapsed());
    }
    show("spawn", &mut spawn);
    show("start", &mut start);
    show("whole", &mut whole);
    bench_exec(root, &run_directory, count)?;
    std::fs::remove_dir_all(run_directory)?;
    Ok(())
}

fn bench_exec(root: &Path, run_directory: &Path, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let plan = plan(root, run_directory, &["/bin/sleep", "1000"])?;
    let mut started = Launcher::spawn(&plan.id)?.start(plan)?;
    let words = vec!["/bin/true".to_owned()];
    let process = ProcessPlan::from_oci(&ProcessBuilder::default().args(words).cwd("/").build()?)?;
    let mut whole = Vec::new();
    for _ in 0..count {
        let plan = ExecPlan {
            process: process.clone(),
            user: None,
            groups: Vec::new(),
            stdin: StdinPlan::Null,
            terminal_size: None,
            attach: Some(Attach { stdin: false, stdout: true, stderr: true }),
            exit_file: None,
            events: None,
        };
        let begin = Instant::now();
        let mut further = Launcher::spawn_for_exec()?.exec(run_directory, plan)?;
        further.stream.read_to_end(&mut Vec::new())?;
        whole.push(begin.elapsed());
    }
    show("exec", &mut whole);
    let mut status = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        mica_runtime::status(run_directory)?;
        status.push(begin.elapsed());
    }
    show("status", &mut status);
    mica_runtime::kill(run_directory, 9)?;
    started.stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn bench_log(root: &Path, megabytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let run_directory = PathBuf::from(format!("/tmp/mica-probe-{}", std::process::id()));
    std::fs::create_dir_all(&run_directory)?;
    let line = "x".repeat(79);
    let script = format!("yes {line} | head -n {}", megabytes * 12_500);
    let mut plan = plan(root, &run_directory, &["/bin/sh", "-c", &script])?;
    plan.attach = None;
    plan.log = LogPlan::one_json_file(run_directory.join("log"));
    let begin = Instant::now();
    Launcher::spawn(&plan.id)?.start(plan)?.stream.read_to_end(&mut Vec::new())?;
    let seconds = begin.elapsed().as_secs_f64();
    report(&format!("log    {:.0} MB/s", megabytes as f64 / seconds));
    std::fs::remove_dir_all(run_directory)?;
    Ok(())
}

fn show(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let (Some(least), Some(middle)) = (times.first(), times.get(times.len() / 2)) else { return };
    report(&format!("{name:6} least {least:9.1?} median {middle:9.1?}"));
}
