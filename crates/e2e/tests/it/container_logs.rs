//! `mica logs` and the drivers of logs: what a container said, while it runs and after.

use e2e::{Authority, Identity, World};
use rustix::process::{Pid, Signal};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root"]
fn privileged_logs_keep_both_streams_apart_and_tail() {
    let world = World::with_busybox();
    world
        .mica(["run", "--name", "talker", "busybox", "sh", "-c", "echo one; echo two; echo bad >&2"])
        .success();
    let output = world.mica(["logs", "talker"]);
    output.success().stdout_is("one\ntwo\n");
    assert_eq!(output.stderr(), "bad\n");
    world.mica(["run", "--name", "counter", "busybox", "seq", "100"]).success();
    world.mica(["logs", "-n", "2", "counter"]).success().stdout_is("99\n100\n");
    world.mica(["logs", "no-such"]).code(1).stderr_contains("No such container: no-such");
}

#[test]
#[ignore = "needs root"]
fn privileged_logs_follow_until_the_end() {
    let world = World::with_busybox();
    let script = "echo first; read word; echo last";
    world.mica(["create", "-i", "--name", "live", "busybox", "sh", "-c", script]).success();
    world.mica(["start", "live"]).success();
    let mut following = world.invoke(["logs", "-f", "live"]).spawn();
    following.stdout_until("first", Duration::from_secs(20));
    world.invoke(["attach", "live"]).stdin("go\n").run().success();
    following.wait(Duration::from_secs(20)).success().stdout_is("first\nlast\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_long_lines_come_back_whole_with_one_time_each() {
    let world = World::with_busybox();
    for length in [16383, 16384, 16385, 65536, 1 << 20] {
        let script = format!("head -c {length} /dev/zero | tr '\\0' x; echo; echo next");
        for driver in ["json-file", "local"] {
            let name = format!("{driver}-{length}");
            world
                .mica(["run", "--name", &name, "--log-driver", driver, "busybox", "sh", "-c", &script])
                .success();
            let expected = format!("{}\nnext\n", "x".repeat(length));
            assert_eq!(world.mica(["logs", &name]).success().stdout(), expected, "{name}");
            let stamped = world.mica(["logs", "-t", &name]).success().stdout();
            assert_eq!(stamped.matches('Z').count(), 2, "{name}");
            world.mica(["logs", "-n", "1", &name]).success().stdout_is("next\n");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_local_log_keeps_every_byte() {
    let world = World::with_busybox();
    let script = r"printf 'a\0b\r\n\377\376\nend'";
    world.mica(["run", "--name", "bytes", "--log-driver", "local", "busybox", "sh", "-c", script]).success();
    let output = world.scratch().join("output");
    let read = format!("exec \"$@\" > {}", output.display());
    world.invoke_by("sh", &["-c", &read, "sh"], ["logs", "bytes"]).run().success();
    // A line that has no end is given one, as docker does: the format does not tell them apart.
    assert!(fs::read(output).unwrap().starts_with(b"a\0b\r\n\xff\xfe\nend"));
    assert_eq!(world.inspect("bytes", "{{.LogPath}}{{.HostConfig.LogConfig.Type}}"), "local");
}

#[test]
#[ignore = "needs root"]
fn privileged_entries_tell_the_labels_and_variables_that_were_asked_for() {
    let world = World::with_busybox();
    let options = ["--log-opt", "labels=colour", "--log-opt", "env=LEVEL", "--log-opt", "tag={{.Name}}"];
    let rest = ["-l", "colour=blue", "-e", "LEVEL=a b", "--name", "web", "busybox", "echo", "hi"];
    world.mica(["run"].iter().chain(&options).chain(&rest)).success();
    world.mica(["logs", "--details", "web"]).success().stdout_is("LEVEL=a+b,colour=blue,tag=web hi\n");
    let log = fs::read_to_string(world.inspect("web", "{{.LogPath}}")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(log.trim_end()).unwrap();
    assert_eq!(entry["attrs"], serde_json::json!({"LEVEL": "a b", "colour": "blue", "tag": "web"}));
    assert_eq!((&entry["log"], &entry["stream"]), (&"hi\n".into(), &"stdout".into()));
}

#[test]
#[ignore = "needs root"]
fn privileged_without_a_log_there_is_nothing_to_read() {
    let world = World::with_busybox();
    world.mica(["run", "--name", "silent", "--log-driver", "none", "busybox", "echo", "hi"]).success();
    world
        .mica(["logs", "silent"])
        .code(1)
        .stderr_contains("configured logging driver does not support reading");
    assert_eq!(world.inspect("silent", "{{.LogPath}}"), "");
    let id = world.inspect("silent", "{{.Id}}");
    let names = fs::read_dir(world.root().join("container").join(id)).unwrap();
    let names: Vec<String> = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
    assert!(!names.iter().any(|name| name.contains("log")), "{names:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_wrong_log_options_are_refused_before_anything_is_made() {
    let world = World::with_busybox();
    let cases: [(&[&str], &str); 5] = [
        (&["--log-driver", "foo"], "error looking up logging plugin foo: plugin \"foo\" not found"),
        (&["--log-opt", "foo=1"], "unknown log opt 'foo' for json-file log driver"),
        (&["--log-opt", "max-size=zz"], "failed to initialize logging driver: invalid size: 'zz'"),
        (&["--log-driver", "none", "--log-opt", "tag=x"], "invalid logging opts for driver none"),
        (&["--log-opt", "mode=x"], "logger: logging mode not supported: x"),
    ];
    for (flags, words) in cases {
        let arguments = ["run"].iter().chain(flags).chain(&["busybox", "true"]);
        world.mica(arguments).code(125).stderr_contains(words);
    }
    let absent = ["run", "--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:9"];
    let refused = "failed to initialize logging driver: dial tcp 127.0.0.1:9: connect: connection refused";
    world.mica(absent.iter().chain(&["--rm", "busybox", "true"])).code(125).stderr_contains(refused);
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_full_log_is_turned_over_and_compressed_and_followed_without_a_gap() {
    let world = World::with_busybox();
    for driver in ["json-file", "local"] {
        // More files than are ever written: nothing may be missing.
        let options = ["max-size=100k", "max-file=1000", "compress=true"].map(|option| ["--log-opt", option]);
        let start = ["create", "--name", driver, "--log-driver", driver];
        let script = "for i in $(seq 100); do seq 1 1000; done; echo end";
        let rest = ["busybox", "sh", "-c", script];
        world.mica(start.iter().chain(options.as_flattened()).chain(&rest)).success();
        world.mica(["start", driver]).success();
        let mut following = world.invoke(["logs", "-f", driver]).spawn();
        let expected =
            format!("{}end\n", (1..=1000).map(|line| format!("{line}\n")).collect::<String>().repeat(100));
        let followed = following.wait(LIMIT).success().stdout();
        assert!(followed == expected, "{driver}: {} bytes of {}", followed.len(), expected.len());
        let read = world.mica(["logs", driver]).success().stdout();
        assert!(read == expected, "{driver}: {} bytes of {}", read.len(), expected.len());
        let id = world.inspect(driver, "{{.Id}}");
        let names = fs::read_dir(world.root().join("container").join(id)).unwrap();
        let names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
        assert!(names.iter().any(|name| name.ends_with("log.2.gz")), "{names:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_rotated_log_is_bounded_and_keeps_the_newest() {
    let world = World::with_busybox();
    let options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=3"];
    let rest = ["--name", "bounded", "busybox", "seq", "10000"];
    world.mica(["run"].iter().chain(&options).chain(&rest)).success();
    let lines = world.mica(["logs", "bounded"]).success().lines();
    assert_eq!(lines.last().map(String::as_str), Some("10000"));
    let numbers: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() < 10000 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    let log = PathBuf::from(world.inspect("bounded", "{{.LogPath}}"));
    assert!(log.with_extension("log.2").exists() && !log.with_extension("log.3").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_damage_in_a_log_hides_nothing_after_it() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "torn", "busybox", "echo", "said"]).success();
    world.mica(["start", "-a", "torn"]).success();
    let log = world.inspect("torn", "{{.LogPath}}");
    let mut damage = vec![0; 4096];
    damage.extend(b"{\"log\":\"hal");
    fs::OpenOptions::new()
        .append(true)
        .open(log)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &damage))
        .unwrap();
    world.mica(["logs", "torn"]).success().stdout_is("said\n");
    // The line that the damage runs into is lost with it, and nothing else.
    for _ in 0..2 {
        world.mica(["start", "-a", "torn"]).success();
    }
    world.mica(["logs", "torn"]).success().stdout_is("said\nsaid\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_syslog_gets_every_line_and_logs_reads_the_copy() {
    let world = World::with_busybox();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let address = format!("syslog-address=udp://{}", socket.local_addr().unwrap());
    let receive = || {
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let options = ["--log-opt", &address, "--log-opt", "syslog-format=rfc5424", "--log-opt", "tag={{.Name}}"];
    let start = ["run", "--name", "web", "--log-driver", "syslog", "--log-opt", "syslog-facility=local0"];
    let rest = ["busybox", "sh", "-c", "echo out; echo err >&2"];
    world.mica(start.iter().chain(&options).chain(&rest)).success();
    let mut messages = [receive(), receive()];
    messages.sort();
    assert!(messages[0].starts_with("<131>1 ") && messages[0].ends_with(" web - err\n"), "{messages:?}");
    assert!(messages[1].starts_with("<134>1 ") && messages[1].ends_with(" web - out\n"), "{messages:?}");
    world.mica(["logs", "web"]).success().stdout_is("out\n");
    let start = ["run", "--name", "bare", "--log-driver", "syslog", "--log-opt", "cache-disabled=true"];
    world.mica(start.iter().chain(&["--log-opt", &address, "busybox", "echo", "hi"])).success();
    let id = world.inspect("bare", "{{.Id}}");
    let message = receive();
    assert!(message.contains(&format!(" {}[", &id[..12])) && message.ends_with("]: hi\n"), "{message}");
    world
        .mica(["logs", "bare"])
        .code(1)
        .stderr_contains("configured logging driver does not support reading");
}

/// A receiver of openssl's that prints what it is sent, and gives up by itself.
struct SecureReceiver {
    process: Child,
    printed: BufReader<ChildStdout>,
    address: String,
}

impl SecureReceiver {
    fn new(server: &Identity, more: &[&str]) -> Self {
        let mut process = Command::new("timeout")
            .args(["60", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert"])
            .arg(&server.certificate)
            .arg("-key")
            .arg(&server.key)
            .args(more)
            // It ends with its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = BufReader::new(process.stdout.take().unwrap());
        let mut receiver = Self { process, printed, address: String::new() };
        let line = receiver.line_with("ACCEPT 127.0.0.1:");
        receiver.address = line.trim().trim_start_matches("ACCEPT ").to_owned();
        receiver
    }

    #[track_caller]
    fn line_with(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.printed.read_line(&mut line).unwrap() > 0, "{part:?} never came");
        }
        line
    }
}

impl Drop for SecureReceiver {
    fn drop(&mut self) {
        // Its timeout passes that on, but could not pass on a KILL.
        let process = Pid::from_child(&self.process);
        rustix::process::kill_process(process, Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_syslog_over_tls_goes_to_whom_it_is_meant_for_and_to_nobody_else() {
    let world = World::with_busybox();
    let authority = Authority::new(&world.scratch().join("authority"));
    let server = authority.issue("server", "IP:127.0.0.1", 2);
    let client = authority.issue("client", "DNS:client", 2);
    let trusted = authority.certificate().display().to_string();
    let run = |receiver: &SecureReceiver, options: &[String]| {
        let address = format!("syslog-address=tcp+tls://{}", receiver.address);
        let mut words = vec!["run", "--rm", "--log-driver", "syslog", "--log-opt", &address];
        words.extend(["--log-opt", "tag=web"]);
        options.iter().for_each(|option| words.extend(["--log-opt", option]));
        world.mica(words.into_iter().chain(["busybox", "echo", "hello"]))
    };
    let demands = ["-Verify", "1", "-verify_return_error", "-CAfile", &trusted];
    let mut strict = SecureReceiver::new(&server, &demands);
    let known = [
        format!("syslog-tls-ca-cert={trusted}"),
        format!("syslog-tls-cert={}", client.certificate.display()),
        format!("syslog-tls-key={}", client.key.display()),
        "syslog-format=rfc5424".to_owned(),
    ];
    run(&strict, &known).success();
    let line = strict.line_with(" web - hello");
    let counted: usize = line.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(line.split_once(' ').unwrap().1.len(), counted, "{line:?}");
    // Nobody whom this machine believes has signed that.
    run(&strict, &[]).code(125).stderr_contains("failed to initialize logging driver: tls: ");
    let wrong = ["syslog-tls-ca-cert=/no/such/file".to_owned()];
    run(&strict, &wrong).code(125).stderr_contains("could not read CA certificate \"/no/such/file\"");
    drop(strict);
    let stranger = authority.issue("stranger", "DNS:elsewhere", 2);
    let mut receiver = SecureReceiver::new(&stranger, &[]);
    run(&receiver, &known[..1]).code(125).stderr_contains("tls: ");
    run(&receiver, &["syslog-tls-skip-verify=1".to_owned()]).success();
    assert!(receiver.line_with("]: hello").starts_with("<30>"));
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_syslog_that_does_not_read_holds_the_output_and_never_the_state() {
    let world = World::with_busybox();
    let path = world.scratch().join("syslog.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = format!("syslog-address=unix://{}", path.display());
    let start = ["run", "-d", "--name", "loud", "--log-driver", "syslog", "--log-opt", &address];
    world.mica(start.iter().chain(&["busybox", "sh", "-c", "yes"])).success();
    let (mut peer, _) = listener.accept().unwrap();
    // It has said something, and is held up by now or soon: nobody reads.
    let mut buffer = [0; 1];
    peer.read_exact(&mut buffer).unwrap();
    world.mica(["exec", "loud", "true"]).success();
    world.invoke(["kill", "loud"]).limit(LIMIT).run().success();
    world.mica(["wait", "loud"]).success().stdout_is("137\n");
    world.mica(["rm", "loud"]).success();
    let mut text = Vec::new();
    peer.read_to_end(&mut text).unwrap();
    assert!(text.ends_with(b"]: y\n"));
}

#[test]
#[ignore = "needs root"]
fn privileged_the_journal_gets_fields() {
    let world = World::with_busybox();
    let directory = world.scratch().join("journal");
    fs::create_dir(&directory).unwrap();
    let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    // A /run of its own, in which the journal is ours.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
         mount --bind {} /run/systemd/journal && exec \"$@\"",
        directory.display()
    );
    let start = ["run", "--name", "web", "--log-driver", "journald", "--log-opt", "labels=com.example/role"];
    let rest = ["-l", "com.example/role=front", "busybox", "sh", "-c", "echo; echo hello >&2"];
    let leading = ["--mount", "sh", "-c", &script, "sh"];
    world.invoke_by("unshare", &leading, start.iter().chain(&rest)).run().success();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("an entry");
    let entry = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let id = world.inspect("web", "{{.Id}}");
    let fields = [
        "PRIORITY=3".to_owned(),
        "MESSAGE=hello".to_owned(),
        "CONTAINER_NAME=web".to_owned(),
        format!("CONTAINER_ID={}", &id[..12]),
        format!("CONTAINER_ID_FULL={id}"),
        format!("CONTAINER_TAG={}", &id[..12]),
        format!("SYSLOG_IDENTIFIER={}", &id[..12]),
        "IMAGE_NAME=busybox".to_owned(),
        "COM_EXAMPLE_ROLE=front".to_owned(),
    ];
    for field in fields {
        assert!(entry.lines().any(|line| line == field), "{field} in {entry}");
    }
    let absent = ["run", "--rm", "--log-driver", "journald", "busybox", "true"];
    let elsewhere = ["--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "sh"];
    world
        .invoke_by("unshare", &elsewhere, absent)
        .run()
        .code(125)
        .stderr_contains("failed to initialize logging driver: journald is not enabled on this host");
}
