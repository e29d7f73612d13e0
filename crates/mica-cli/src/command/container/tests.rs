//! From command lines to requests, and from answers to output.

use crate::fake::{FakeEngine, Ran, id, run, run_in};
use mica_api::Error;
use mica_api::types::container::{CreateRequest, FilesystemChange, LogEntry};
use mica_model::frame::FrameKind;
use mica_model::{ErrorKind, Timestamp};

fn created(arguments: &str) -> CreateRequest {
    let engine = FakeEngine::new();
    let ran = run(arguments, &engine);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let request = engine.created.lock().unwrap().pop();
    request.unwrap()
}

fn refused(arguments: &str) -> Ran {
    let engine = FakeEngine::new();
    let ran = run(arguments, &engine);
    assert_eq!(ran.requests, Vec::<String>::new(), "{arguments} reached the engine");
    ran
}

#[test]
fn run_defines_a_container() {
    let request = created(
        "run -d --name web --rm --hostname host -w /work -u 1:2 -e A=1 -e B= -l x=y --entrypoint /bin/sh \
         --read-only --stop-signal INT --stop-timeout 3 -m 64m --cpus 1.5 --pids-limit 7 --network host box -c true",
    );
    assert_eq!(request.name, "web");
    let config = &request.config;
    assert_eq!(
        (config.hostname.as_str(), config.working_dir.as_str(), config.user.as_str()),
        ("host", "/work", "1:2")
    );
    assert_eq!(config.env, Some(vec!["A=1".to_owned(), "B=".to_owned()]));
    assert_eq!(config.cmd, Some(vec!["-c".to_owned(), "true".to_owned()]));
    assert_eq!(config.entrypoint, Some(vec!["/bin/sh".to_owned()]));
    assert_eq!((config.stop_signal.as_deref(), config.stop_timeout), (Some("INT"), Some(3)));
    assert_eq!(config.labels.as_ref().and_then(|labels| labels.get("x")).map(String::as_str), Some("y"));
    assert!(!config.attach_stdout && !config.attach_stdin && !config.open_stdin);
    let host = &request.host_config;
    assert!(host.auto_remove && host.readonly_rootfs);
    assert_eq!(host.network_mode, "host");
    assert_eq!((host.resources.memory, host.resources.nano_cpus), (64 << 20, 1_500_000_000));
    assert_eq!(host.resources.pids_limit, Some(7));
}

#[test]
fn flags_after_the_image_are_the_commands() {
    assert_eq!(
        created("create box ls -l --name x -- y").config.cmd.unwrap(),
        ["ls", "-l", "--name", "x", "--", "y"]
    );
    assert_eq!(created("create -- box -it").config.cmd.unwrap(), ["-it"]);
    assert_eq!(created("create box").config.cmd, None);
    assert_eq!(created("create --net host box").host_config.network_mode, "host");
}

#[test]
fn switches_are_read_as_pflag_does() {
    let request = created("create -it --read-only=false --rm=1 box");
    assert!(request.config.tty && request.config.open_stdin && request.config.stdin_once);
    assert!(request.host_config.auto_remove && !request.host_config.readonly_rootfs);
    assert_eq!(created("create --name a --name b box").name, "b");
    assert_eq!(created("create --name=--odd box").name, "--odd");
    assert_eq!(created("create --name --odd box").name, "--odd");
}

#[test]
fn streams_are_chosen_by_attach() {
    let config = created("create -a stdout -a STDERR -i box").config;
    assert!(!config.attach_stdin && config.attach_stdout && config.attach_stderr && config.open_stdin);
    assert!(!config.stdin_once);
}

#[test]
fn bare_variables_are_imported() {
    let engine = FakeEngine::new();
    run_in(&["create", "-e", "HERE", "-e", "ABSENT", "box"], &[("HERE", "yes")], &engine);
    assert_eq!(engine.created.lock().unwrap()[0].config.env, Some(vec!["HERE=yes".to_owned()]));
}

#[test]
fn run_copies_output_and_answers_the_exit_code() {
    let engine = FakeEngine {
        output: vec![(FrameKind::Stdout, b"out\n".to_vec()), (FrameKind::Stderr, b"err\n".to_vec())],
        exit_code: 7,
        ..FakeEngine::new()
    };
    let ran = run("run --rm box", &engine);
    assert_eq!((ran.code, ran.output.as_str(), ran.error.as_str()), (7, "out\n", "err\n"));
    assert_eq!(
        ran.requests,
        ["create box".to_owned(), format!("start {}", id()), format!("remove {}", id())]
    );
}

#[test]
fn run_in_the_background_prints_the_id() {
    let engine = FakeEngine::new();
    let ran = run("run -d --rm box", &engine);
    assert_eq!((ran.code, ran.output), (0, format!("{}\n", id())));
    assert_eq!(ran.requests, ["create box".to_owned(), format!("start {}", id())]);
}

#[test]
fn run_reports_programs_that_cannot_start() {
    for (kind, code) in
        [(ErrorKind::CommandNotFound, 127), (ErrorKind::CannotExecute, 126), (ErrorKind::Internal, 125)]
    {
        let engine =
            FakeEngine { start_failure: Some(Error::new(kind, "exec nope: reason")), ..FakeEngine::new() };
        let ran = run("run --rm box nope", &engine);
        assert_eq!(ran.code, code);
        assert_eq!(ran.error, "mica: exec nope: reason\n\nRun 'mica run --help' for more information\n");
        assert_eq!(ran.requests.last(), Some(&format!("remove by force {}", id())));
    }
}

#[test]
fn a_missing_image_is_fetched_unless_told_otherwise() {
    let engine = FakeEngine::new();
    let ran = run("run -d other", &engine);
    assert_eq!(ran.code, 125);
    assert!(
        ran.error
            .starts_with("Unable to find image 'other:latest' locally\nmica: manifest for other not found")
    );
    assert_eq!(ran.requests, ["create other", "inspect image other", "pull other"]);
    let ran = run("run -d --pull never other", &engine);
    assert_eq!((ran.code, ran.requests), (125, vec!["create other".to_owned()]));
    let ran = run("run -d --pull always box", &engine);
    assert_eq!((ran.code, ran.requests), (125, vec!["pull box".to_owned()]));
}

#[test]
fn the_id_file_must_not_exist_and_holds_the_id() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("id");
    let engine = FakeEngine::new();
    let arguments = ["run", "-d", "--cidfile", path.to_str().unwrap(), "box"];
    assert_eq!(run_in(&arguments, &[], &engine).code, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), id());
    let again = run_in(&arguments, &[], &engine);
    assert_eq!(again.code, 125);
    assert!(again.error.contains("container ID file found"), "{}", again.error);
    std::fs::remove_file(&path).unwrap();
    let other = ["run", "-d", "--cidfile", path.to_str().unwrap(), "other"];
    assert_eq!(run_in(&other, &[], &engine).code, 125);
    assert!(!path.exists());
}

#[test]
fn wrong_uses_never_reach_the_engine() {
    for (arguments, code, words) in [
        (
            "run",
            1,
            "mica: 'mica run' requires at least 1 argument\n\nUsage:  mica run [OPTIONS] IMAGE [COMMAND] [ARG...]\n",
        ),
        ("run --foo box", 125, "unknown flag: --foo\n\nUsage:  mica run [OPTIONS]"),
        ("run -iZt box", 125, "unknown shorthand flag: 'Z' in -Zt\n"),
        ("run --name", 125, "flag needs an argument: --name\n"),
        ("run -e", 125, "flag needs an argument: 'e' in -e\n"),
        (
            "run --rm=maybe box",
            125,
            "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n",
        ),
        ("run -m abc box", 125, "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'\n"),
        (
            "run -a foo box",
            125,
            "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR\n",
        ),
        ("run -d -a stdout box", 1, "conflicting options: cannot specify both --attach and --detach\n"),
        ("run --pull soon box", 125, "mica: invalid pull option: 'soon': must be one of"),
        ("run --network= box", 125, "mica: no name set for network\n"),
        ("run -v a:b:c:d box", 125, "mica: invalid spec: a:b:c:d: too many colons\n"),
        ("run --mount type=x, box", 125, "invalid argument \"type=x,\" for \"--mount\" flag: invalid field"),
        (
            "run -p 80:x box",
            125,
            "invalid argument \"80:x\" for \"-p, --publish\" flag: invalid containerPort: x\n",
        ),
        ("run -it box", 1, "the input device is not a TTY\n"),
        (
            "run --env-file /does/not/exist box",
            125,
            "mica: open /does/not/exist: no such file or directory\n",
        ),
        ("run --detach-keys ctrl-A-b -t box", 1, "invalid detach keys"),
        ("stop -t abc x", 125, "invalid argument \"abc\" for \"-t, --timeout\" flag: strconv.ParseInt"),
        ("rename a", 1, "mica: 'mica rename' requires 2 arguments\n"),
        ("container rm", 1, "mica: 'mica container rm' requires at least 1 argument\n"),
        ("exec web", 1, "mica: 'mica exec' requires at least 2 arguments\n"),
        ("update web", 1, "you must provide one or more flags when using this command\n"),
        ("start -a one two", 1, "you cannot start and attach multiple containers at once\n"),
        ("frobnicate", 1, "mica: unknown command: mica frobnicate\n"),
        ("restrat web", 1, "mica: unknown command: mica restrat\nhint: did you mean 'mica restart'?\n"),
        ("context ls", 1, "'mica context' is not supported yet by mica; it comes with the Engine API\n"),
    ] {
        let ran = refused(arguments);
        assert!(ran.error.starts_with(words), "{arguments}: {}", ran.error);
        assert_eq!(ran.code, code, "{arguments}");
    }
}

#[test]
fn many_targets_go_on_after_an_error() {
    let failing = vec![("two".to_owned(), Error::not_found("No such container: two"))];
    let engine = FakeEngine { failing, ..FakeEngine::new() };
    let ran = run("rm one two three", &engine);
    assert_eq!((ran.code, ran.output.as_str()), (1, "one\nthree\n"));
    assert_eq!(ran.error, "Error: No such container: two\n");
    let ran = run("rm -f one two", &engine);
    assert_eq!((ran.code, ran.output.as_str()), (0, "one\n"));
    assert_eq!(ran.requests, ["remove by force one", "remove by force two"]);
}

#[test]
fn failures_are_summed_up_as_docker_does() {
    let missing = |name: &str| (name.to_owned(), Error::not_found(format!("No such container: {name}")));
    let engine = FakeEngine { failing: vec![missing("one"), missing("two")], ..FakeEngine::new() };
    let ran = run("start one web two", &engine);
    assert_eq!((ran.code, ran.output.as_str()), (1, "web\n"));
    assert_eq!(
        ran.error,
        "Error: No such container: one\nError: No such container: two\nError: failed to start containers: one, two\n"
    );
    let ran = run("rename one other", &engine);
    assert_eq!(ran.error, "Error: No such container: one\nError: failed to rename container named one\n");
    let ran = run("create other", &engine);
    assert!(ran.code == 1 && ran.error.contains("\nError: manifest for other not found"), "{}", ran.error);
}

#[test]
fn what_needs_no_change_has_gone_well() {
    let failing =
        vec![("web".to_owned(), Error::new(ErrorKind::NotModified, "container is stopped already"))];
    let engine = FakeEngine { failing, ..FakeEngine::new() };
    for arguments in ["stop web", "start web"] {
        let ran = run(arguments, &engine);
        assert_eq!((ran.code, ran.output.as_str(), ran.error.as_str()), (0, "web\n", ""), "{arguments}");
    }
}

#[test]
fn verbs_become_requests() {
    for (arguments, output, requests) in [
        ("stop -s INT -t 3 web", "web\n", &["stop web", "with Some(\"INT\") Some(3)"][..]),
        ("container stop --time 4 web", "web\n", &["stop web", "with None Some(4)"]),
        ("kill web", "web\n", &["kill SIGKILL web"]),
        ("kill -sHUP web", "web\n", &["kill HUP web"]),
        ("pause web", "web\n", &["pause web"]),
        ("unpause web", "web\n", &["unpause web"]),
        ("restart web", "web\n", &["restart web"]),
        ("rename web www", "", &["rename to www web"]),
        ("wait web", "0\n", &["wait web"]),
        ("update -m 1g web", "web\n", &["update memory=1073741824 web"]),
        ("top web aux", "PID                 CMD\n7                   sleep 1\n", &["top web", "ps aux"]),
        ("export web", "archive", &["export web"]),
    ] {
        let ran = run(arguments, &FakeEngine::new());
        assert_eq!((ran.code, ran.output.as_str()), (0, output), "{arguments}: {}", ran.error);
        assert_eq!(ran.requests, requests, "{arguments}");
    }
}

#[test]
fn commit_pauses_unless_told_otherwise() {
    let ran = run("commit -m words --pause=false web name:tag", &FakeEngine::new());
    assert_eq!(ran.output, format!("sha256:{}\n", id()));
    assert_eq!(ran.requests, ["commit as name:tag pause=false web"]);
    assert_eq!(run("commit web", &FakeEngine::new()).requests, ["commit as  pause=true web"]);
    assert_eq!(run("commit --no-pause web", &FakeEngine::new()).requests, ["commit as  pause=false web"]);
}

#[test]
fn exec_is_one_request_and_answers_the_exit_code() {
    let engine = FakeEngine { exit_code: 3, ..FakeEngine::new() };
    let ran = run("exec -i -e A=1 -u 5 -w /tmp --privileged web sh -c x", &engine);
    assert_eq!(ran.code, 3);
    let request = engine.executed.lock().unwrap().pop().unwrap();
    assert_eq!(request.command, ["sh", "-c", "x"]);
    assert_eq!((request.env, request.user.as_str()), (vec!["A=1".to_owned()], "5"));
    assert!(request.attach.stdin && request.attach.stdout && request.privileged && !request.terminal);
    assert_eq!(run("exec -d web true", &engine).code, 0);
    assert!(!engine.executed.lock().unwrap()[0].attach.stdout);
}

#[test]
fn exec_maps_programs_that_cannot_start() {
    let failing = vec![("web".to_owned(), Error::new(ErrorKind::CommandNotFound, "nope: not found"))];
    assert_eq!(run("exec web nope", &FakeEngine { failing, ..FakeEngine::new() }).code, 127);
}

#[test]
fn logs_go_to_their_streams() {
    let entry = |stderr, line: &str| LogEntry {
        time: Timestamp::from_nanoseconds(1_500_000_000_120_000_000),
        stderr,
        line: line.as_bytes().to_vec(),
        details: "a=b".to_owned(),
        continues: line == "more\n",
    };
    let log = vec![entry(false, "one "), entry(false, "more\n"), entry(true, "two\n")];
    let engine = FakeEngine { log, ..FakeEngine::new() };
    let ran = run("logs -t --details -n 5 web", &engine);
    assert_eq!(ran.output, "2017-07-14T02:40:00.120000000Z a=b one more\n");
    assert_eq!(ran.error, "2017-07-14T02:40:00.120000000Z a=b two\n");
    assert_eq!(ran.requests, ["logs web", "follow=false tail=Some(5)"]);
}

#[test]
fn changes_have_letters_and_no_control_characters() {
    let change = |path: &str, kind| FilesystemChange { path: path.to_owned(), kind };
    let changes = vec![change("/etc", 0), change("/new\u{1b}[2J", 1), change("/old", 2)];
    let ran = run("diff web", &FakeEngine { changes, ..FakeEngine::new() });
    assert_eq!(ran.output, "C /etc\nA /new\\x1b[2J\nD /old\n");
}

#[test]
fn prune_tells_what_it_freed() {
    let ran = run("container prune -f", &FakeEngine::new());
    assert_eq!(ran.output, format!("Deleted Containers:\n{}\n\nTotal reclaimed space: 1.5kB\n", id()));
}
