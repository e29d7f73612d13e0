//! Real programs in a Debian root, installed with its own package manager and run as their users run them.
//!
//! They are fetched from Debian's mirror, so these tests run only where `MICA_TEST_PROGRAMS` is set; else they end at
//! once and say so.

use e2e::{World, fixture};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// What is installed.
const PACKAGES: &str = "postgresql redis-server nginx-light python3 gcc libc6-dev tmux";

/// The image with all of it.
const IMAGE: &str = "programs:1";

#[test]
#[ignore = "needs root"]
fn privileged_programs_of_debian_run_as_their_users_run_them() {
    if std::env::var_os("MICA_TEST_PROGRAMS").is_none() {
        println!("skipped: MICA_TEST_PROGRAMS is not set, and Debian's mirror would be asked for packages");
        return;
    }
    let world = World::new();
    world.import_debian();
    install(&world);
    postgresql_keeps_what_was_written(&world);
    redis_keeps_what_was_saved(&world);
    nginx_serves_on_the_host_s_network(&world);
    python_runs_processes_and_threads(&world);
    gcc_builds_what_runs(&world);
    tmux_is_at_home_on_a_terminal(&world);
}

fn install(world: &World) {
    let script = format!(
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {PACKAGES}"
    );
    let words = ["run", "--network", "host", "--name", "install", fixture::DEBIAN, "sh", "-c", &script];
    // The network of the machine, where the first thread of this process has stayed.
    let machine = format!("--net=/proc/{}/ns/net", std::process::id());
    world.invoke_by("nsenter", &[&machine], words).limit(Duration::from_secs(900)).run().success();
    world.mica(["commit", "install", IMAGE]).success();
    world.mica(["rm", "install"]).success();
}

/// Runs a command in a container until it succeeds; what it says then.
#[track_caller]
fn until_it_answers(world: &World, container: &str, command: &[&str]) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let output = world.mica(["exec", container].iter().chain(command));
        if output.code == 0 {
            return output.stdout();
        }
        assert!(
            Instant::now() < deadline,
            "{}\n{}",
            output.describe(),
            world.mica(["logs", container]).describe()
        );
    }
}

fn postgresql_keeps_what_was_written(world: &World) {
    let script = "cd /var/lib/postgresql; programs=$(echo /usr/lib/postgresql/*/bin); \
                  test -d data || $programs/initdb -D data; exec $programs/postgres -D data -k /tmp";
    let start = |name: &str| {
        let flags = [
            "run",
            "-d",
            "--name",
            name,
            "-u",
            "postgres",
            "--stop-signal",
            "INT",
            "-v",
            "pg:/var/lib/postgresql",
        ];
        world.mica(flags.iter().chain(&[IMAGE, "sh", "-c", script])).success();
    };
    let ask = |name: &str, query: &str| until_it_answers(world, name, &["psql", "-h", "/tmp", "-Atc", query]);
    start("first");
    ask("first", "select 1");
    ask("first", "create table numbers as select generate_series(1, 100000) as number");
    ask("first", "create index on numbers (number)");
    world.mica(["stop", "-t", "30", "first"]).success();
    assert_eq!(world.inspect("first", "{{.State.ExitCode}}"), "0");
    world.mica(["start", "first"]).success();
    assert_eq!(ask("first", "select count(*), sum(number) from numbers"), "100000|5000050000\n");
    // Killed in the middle of its work, it recovers; another container has the same volume.
    ask("first", "insert into numbers values (0)");
    world.mica(["rm", "-f", "first"]).success();
    start("second");
    assert_eq!(ask("second", "select count(*) from numbers"), "100001\n");
    world.mica(["rm", "-f", "second"]).success();
}

fn redis_keeps_what_was_saved(world: &World) {
    let words =
        ["run", "-d", "--name", "redis", "-v", "redis:/data", IMAGE, "redis-server", "--dir", "/data"];
    world.mica(words.iter().chain(&["--save", "60", "1"])).success();
    until_it_answers(world, "redis", &["redis-cli", "set", "key", "value"]);
    world.mica(["stop", "redis"]).success();
    assert_eq!(world.inspect("redis", "{{.State.ExitCode}}"), "0");
    world.mica(["start", "redis"]).success();
    let deadline = Instant::now() + LIMIT;
    while until_it_answers(world, "redis", &["redis-cli", "get", "key"]) != "value\n" {
        assert!(Instant::now() < deadline, "the value is lost");
    }
    world.mica(["rm", "-f", "redis"]).success();
}

fn nginx_serves_on_the_host_s_network(world: &World) {
    let script = "echo served > /var/www/html/index.html; \
                  sed -i 's/listen 80 /listen 127.0.0.1:8088 /; /listen \\[/d' /etc/nginx/sites-enabled/default; \
                  exec nginx -g 'daemon off;'";
    world.mica(["run", "-d", "--name", "web", "--network", "host", IMAGE, "sh", "-c", script]).success();
    let deadline = Instant::now() + LIMIT;
    let mut stream = loop {
        match TcpStream::connect("127.0.0.1:8088") {
            Ok(stream) => break stream,
            Err(error) => {
                assert!(Instant::now() < deadline, "{error}: {}", world.mica(["logs", "web"]).describe())
            }
        }
    };
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("served\n"), "{answer}");
    world.mica(["stop", "web"]).success();
    assert_eq!(world.inspect("web", "{{.State.ExitCode}}"), "0");
    world.mica(["rm", "web"]).success();
}

fn python_runs_processes_and_threads(world: &World) {
    let script = "import multiprocessing, sqlite3, subprocess, threading\n\
                  print(sum(multiprocessing.Pool(2).map(abs, range(-99, 1))))\n\
                  thread = threading.Thread(target=print, args=['thread'])\n\
                  thread.start(); thread.join()\n\
                  print(subprocess.check_output(['uname']).decode().strip())\n\
                  print(sqlite3.connect(':memory:').execute('select 40 + 2').fetchone()[0])\n";
    let words = ["run", "-i", "--rm", IMAGE, "python3", "-"];
    world.invoke(words).stdin(script).run().success().stdout_is("4950\nthread\nLinux\n42\n");
}

fn gcc_builds_what_runs(world: &World) {
    let program = "#include <pthread.h>\n#include <stdio.h>\n\
                   static void *say(void *word) { puts(word); return 0; }\n\
                   int main(void) { pthread_t t; pthread_create(&t, 0, say, \"built\"); pthread_join(t, 0); return 7; }\n";
    let words = [
        "run",
        "-i",
        "--rm",
        IMAGE,
        "sh",
        "-c",
        "gcc -O2 -Wall -Werror -pthread -x c -o /tmp/a - && exec /tmp/a",
    ];
    world.invoke(words).stdin(program).run().code(7).stdout_is("built\n");
}

fn tmux_is_at_home_on_a_terminal(world: &World) {
    let words = [
        "run",
        "-it",
        "--rm",
        "-e",
        "LC_ALL=C.UTF-8",
        IMAGE,
        "tmux",
        "new-session",
        "-s",
        "work",
        "bash --norc",
    ];
    let mut terminal = world.terminal(words);
    terminal.expect("[work]");
    terminal.send("echo $((40+2)) $TERM; stty size\r");
    terminal.expect("42 ");
    // A line of the 24 is tmux's own.
    terminal.expect("23 80");
    terminal.resize(40, 100);
    terminal.send("clear; stty size\r");
    terminal.expect("39 100");
    // A second window, and back.
    terminal.send("\u{2}c");
    terminal.expect("1:bash");
    // What is typed before a shell asks for it may be lost to it.
    terminal.expect(":/# ");
    terminal.send("exit\r");
    terminal.expect("0:bash*");
    terminal.send("exit\r");
    assert_eq!(terminal.finish().1, 0);
}
