//! `mica login` and `mica logout`: what is kept, where, and who gets to see it.

use e2e::docker_registry::{PASSWORD, Setup, USER};
use e2e::registry::Answer;
use e2e::{DockerRegistry, Registry, World};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn config(world: &World) -> PathBuf {
    world.directory().join("home/.docker/config.json")
}

/// Fails if a text is in any file below a directory.
#[track_caller]
fn assert_nowhere(directory: &Path, text: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            assert_nowhere(&entry.path(), text);
        } else if kind.is_file() {
            let content = fs::read(entry.path()).unwrap();
            let found = content.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!found, "{text:?} is in {}", entry.path().display());
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_containers_and_builds_get_the_proxies_of_config_json() {
    let world = World::with_busybox();
    let file = world.directory().join("home/.docker/config.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let proxies =
        r#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"a,b"},"tcp://x":{"ftpProxy":"f"}}}"#;
    fs::write(&file, proxies).unwrap();
    let run = |flags: &[&str]| {
        let words = ["run", "--rm", "--network", "none"].iter().chain(flags).copied();
        world.mica(words.chain(["busybox", "env"])).success().stdout()
    };
    let all = run(&[]);
    for pair in ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "NO_PROXY=a,b", "no_proxy=a,b"] {
        assert!(all.lines().any(|line| line == pair), "{pair} in {all}");
    }
    assert!(
        !all.to_lowercase().contains("ftp_proxy") && !all.to_lowercase().contains("https_proxy"),
        "{all}"
    );
    let own = run(&["-e", "http_proxy=mine", "-e", "NO_PROXY"]);
    assert!(own.contains("HTTP_PROXY=http://p:1\n") && own.contains("http_proxy=mine\n"), "{own}");
    assert!(!own.contains("NO_PROXY=") && own.contains("no_proxy=a,b\n"), "{own}");
    fs::write(world.scratch().join("Dockerfile"), "FROM busybox\nRUN echo is=$http_proxy > /made\n").unwrap();
    let context = world.scratch().display().to_string();
    let build = |flags: &[&str]| {
        let words = ["build", "-q", "--network", "none", "-t", "made"].iter().chain(flags).copied();
        world.mica(words.chain([context.as_str()])).success();
        world.mica(["run", "--rm", "--network", "none", "made", "cat", "/made"]).success().stdout()
    };
    assert_eq!(build(&[]), "is=http://p:1\n");
    assert_eq!(build(&["--no-cache", "--build-arg", "http_proxy=other"]), "is=other\n");
    // They are no part of the image.
    assert!(!world.inspect("made", "{{json .Config.Env}}").to_lowercase().contains("proxy"));
}

#[test]
#[ignore = "needs root"]
fn privileged_login_lets_push_and_pull_and_logout_ends_it() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::start("127.0.0.1", Setup { password: true, tls: true });
    let name = registry.name("private/app");
    world.mica(["tag", "busybox", &name]).success();
    let denied = world.mica(["push", &name]).code(1).clone();
    denied.stderr_contains("denied").stderr_contains("login");
    let login = |password: &str| {
        let words = ["login", "--username", USER, "--password-stdin", registry.address()];
        world.invoke(words).stdin(format!("{password}\n")).run()
    };
    login("wrong-wrong").code(1).stderr_contains("unauthorized");
    assert!(!config(&world).exists());
    fs::create_dir(world.directory().join("home/.docker")).unwrap();
    fs::write(config(&world), r#"{"psFormat": "table {{.ID}}", "unknown": {"b": 1, "a": 2}}"#).unwrap();
    login(PASSWORD).success().stdout_is("Login Succeeded\n").stderr_contains("stored unencrypted");
    assert_eq!(fs::metadata(config(&world)).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(config(&world)).unwrap();
    assert!(text.contains("\"psFormat\"") && text.find("\"b\"") < text.find("\"a\""), "{text}");
    world.mica(["push", "-q", &name]).success();
    world.mica(["pull", "-q", &name]).success();
    let debug = world.mica(["-D", "push", &name]).success().clone();
    assert!(!debug.describe().contains(PASSWORD));
    world.mica(["inspect", &name]).success().stdout_lacks(PASSWORD);
    world.mica(["info"]).success().stdout_lacks(PASSWORD);
    for secret in [PASSWORD, "c29tZWJvZHk6"] {
        assert_nowhere(&world.root(), secret);
        assert_nowhere(&world.run_directory(), secret);
    }
    // What is known is used again.
    world.mica(["login", registry.address()]).success().stdout_contains("existing credentials");
    let logout = world.mica(["logout", registry.address()]).success().clone();
    logout.stdout_is(&format!("Removing login credentials for {}\n", registry.address()));
    let left: Value = serde_json::from_slice(&fs::read(config(&world)).unwrap()).unwrap();
    assert_eq!(left["auths"], json!({}));
    assert_eq!(left["unknown"], json!({"b": 1, "a": 2}));
    world.mica(["push", &name]).code(1);
    world.mica(["logout", registry.address()]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_many_logins_at_once_lose_nothing_and_leave_the_link_a_link() {
    let world = World::new();
    let registries: Vec<Registry> = (2..10).map(|last| Registry::at(&format!("127.0.0.{last}"))).collect();
    let (docker, elsewhere) = (world.directory().join("home/.docker"), world.scratch().join("shared.json"));
    fs::create_dir_all(&docker).unwrap();
    fs::write(&elsewhere, r#"{"detachKeys": "ctrl-x"}"#).unwrap();
    std::os::unix::fs::symlink(&elsewhere, config(&world)).unwrap();
    let login = |registry: &Registry| {
        let words = ["login", "-u", "user", "-p", "secret-word", registry.address()];
        world.invoke(words).spawn()
    };
    let mut logins: Vec<_> = registries.iter().chain(&registries).map(login).collect();
    for login in &mut logins {
        login.wait(std::time::Duration::from_secs(60)).success();
    }
    assert!(fs::symlink_metadata(config(&world)).unwrap().is_symlink());
    assert_eq!(fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&fs::read(&elsewhere).unwrap()).unwrap();
    assert_eq!(kept["detachKeys"], "ctrl-x");
    for registry in &registries {
        assert_eq!(kept["auths"][registry.address()]["auth"], "dXNlcjpzZWNyZXQtd29yZA==", "{kept}");
    }
    let names = fs::read_dir(world.scratch()).unwrap().flatten().map(|entry| entry.file_name());
    let hidden: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".config.json")).collect();
    assert_eq!(hidden, [".config.json.lock"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_login_asks_on_a_terminal_without_showing_the_password() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::start("127.0.0.1", Setup { password: true, tls: false });
    let mut terminal = world.terminal(["login", registry.address()]);
    terminal.expect("Username: ");
    terminal.send(format!("{USER}\n"));
    terminal.expect("Password: ");
    terminal.send(format!("{PASSWORD}\n"));
    let (screen, code) = terminal.finish();
    assert!(!screen.contains(PASSWORD) && screen.contains("Login Succeeded"), "{screen}");
    assert_eq!(code, 0);
    let mut terminal = world.terminal(["login", "-u", USER, registry.address()]);
    terminal.expect("Password: ");
    terminal.send("half\u{3}");
    assert_eq!(terminal.finish().1, 130);
    world.mica(["login", "-u", USER, registry.address()]).code(1).stderr_contains("non TTY");
    let both = ["login", "-u", USER, "-p", "x", "--password-stdin", registry.address()];
    world.mica(both).code(1).stderr_contains("mutually exclusive");
    let nameless = ["login", "--password-stdin", registry.address()];
    world.mica(nameless).code(1).stderr_contains("Must provide --username");
    let typed = ["login", "-u", USER, "-p", PASSWORD, registry.address()];
    world.mica(typed).success().stderr_contains("insecure");
}

/// A registry that wants tokens, which `realm` gives.
fn with_tokens(realm: &str) -> Registry {
    let registry = Registry::new();
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    let refused = Answer::status(401).header("WWW-Authenticate", challenge);
    registry.put_all("GET /v2/", [refused.clone(), Answer::new("application/json", "{}"), refused]);
    registry
}

#[test]
#[ignore = "needs root"]
fn privileged_login_keeps_the_token_that_comes_instead_of_the_password() {
    let world = World::new();
    let giver = Registry::new();
    let answer = json!({"token": "short", "refresh_token": "the-long-lived-one"}).to_string();
    giver.put("GET /token", Answer::new("application/json", answer));
    let registry = with_tokens(&format!("http://{}/token", giver.address()));
    let login = ["login", "-u", USER, "--password-stdin", registry.address()];
    world.invoke(login).stdin(PASSWORD).run().success();
    let asked = giver.asked().remove(0);
    assert!(asked.query.contains("offline_token=true") && asked.query.contains("service=s"), "{asked:?}");
    assert!(asked.headers["authorization"].starts_with("Basic "));
    let kept: Value = serde_json::from_slice(&fs::read(config(&world)).unwrap()).unwrap();
    assert_eq!(kept["auths"][registry.address()]["identitytoken"], "the-long-lived-one");
    assert!(!kept.to_string().contains("Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_password_goes_to_nobody_in_another_domain() {
    let world = World::new();
    let thief = Registry::at("127.0.0.2");
    thief.put("GET /token", Answer::new("application/json", r#"{"token": "t"}"#));
    let registry = with_tokens(&format!("http://{}/token", thief.address()));
    let login = ["login", "-u", USER, "--password-stdin", registry.address()];
    let refused = world.invoke(login).stdin(PASSWORD).run().code(1).clone();
    refused.stderr_contains("127.0.0.2").stderr_contains("token_hosts");
    assert!(thief.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
    assert!(!config(&world).exists());
    // Unless whoever runs the machine trusts it.
    let registry = with_tokens(&format!("http://{}/token", thief.address()));
    let login = ["login", "-u", USER, "--password-stdin", registry.address()];
    fs::write(world.directory().join("config.toml"), "[registry]\ntoken_hosts = [\"127.0.0.2\"]\n").unwrap();
    world.invoke(login).stdin(PASSWORD).run().success();
    assert!(thief.asked().iter().any(|asked| asked.headers.contains_key("authorization")));
}

#[test]
#[ignore = "needs root"]
fn privileged_helpers_keep_what_they_are_named_for() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::start("127.0.0.1", Setup { password: true, tls: false });
    let directory = world.directory().join("helpers");
    fs::create_dir(&directory).unwrap();
    let script = format!(
        "#!/bin/sh\nread input || true\necho \"$1 $input\" >> {0}/log\ncase $1 in\n\
         store) echo \"$input\" > {0}/kept;;\nget) test -f {0}/kept && cat {0}/kept || \
         {{ echo 'credentials not found in native keychain'; exit 1; }};;\nerase) rm -f {0}/kept;;\nesac\n",
        directory.display()
    );
    let helper = directory.join("docker-credential-box");
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.directory().join("home/.docker")).unwrap();
    let own = json!({"credHelpers": {registry.address(): "box"}});
    fs::write(config(&world), own.to_string()).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let login = ["login", "-u", USER, "--password-stdin", registry.address()];
    let done = world.invoke(login).env("PATH", &path).stdin(PASSWORD).run().success().clone();
    done.stderr_is_empty();
    let kept: Value = serde_json::from_slice(&fs::read(directory.join("kept")).unwrap()).unwrap();
    assert_eq!(kept, json!({"ServerURL": registry.address(), "Username": USER, "Secret": PASSWORD}));
    assert!(!fs::read_to_string(config(&world)).unwrap().contains("\"auth\""));
    world.invoke(["login", registry.address()]).env("PATH", &path).run().success();
    world.invoke(["logout", registry.address()]).env("PATH", &path).run().success();
    assert!(!directory.join("kept").exists());
}
