//! `mica create`: what is written down, and what is refused before anything is.

use e2e::World;
use std::fs;

#[test]
#[ignore = "needs root"]
fn privileged_create_writes_down_what_was_asked_for() {
    let world = World::with_busybox();
    let flags = "create --name box -m 64m --cpus 1 --cpu-shares 512 --pids-limit 10 -u daemon -w /tmp -e A=1 -l x=y \
                 -h inside --stop-signal SIGINT --stop-timeout 3 --read-only --network none --entrypoint /bin/echo \
                 busybox hi";
    let id = world.mica(flags.split(' ').filter(|word| !word.is_empty())).success().line();
    assert_eq!(id.len(), 64);
    let template = "{{.State.Status}} {{.Config.User}} {{.Config.WorkingDir}} {{.Config.Hostname}} \
                    {{.Config.StopSignal}} {{.Config.StopTimeout}} {{index .Config.Labels \"x\"}} {{.HostConfig.Memory}} \
                    {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.ReadonlyRootfs}} {{.Path}} {{.Args}}";
    assert_eq!(
        world.inspect("box", template),
        "created daemon /tmp inside SIGINT 3 y 67108864 1000000000 10 true /bin/echo [hi]"
    );
    world.mica(["start", "-a", "box"]).success().stdout_is("hi\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_create_refuses_a_name_that_is_taken_or_none() {
    let world = World::with_busybox();
    let id = world.mica(["create", "--name", "box", "busybox"]).success().line();
    let conflict = format!("The container name \"/box\" is already in use by container \"{id}\"");
    world.mica(["create", "--name", "box", "busybox"]).code(1).stderr_contains(&conflict);
    world.mica(["run", "--name", "box", "busybox"]).code(125).stderr_contains(&conflict);
    world.mica(["create", "--name", "a/b", "busybox"]).failure().stderr_contains("Invalid container name");
    world.mica(["ps", "-aq"]).success().stdout_is(&format!("{}\n", &id[..12]));
    let named = world.mica(["create", "busybox"]).success().line();
    let name = world.inspect(&named, "{{.Name}}");
    assert!(name.contains('_'), "{name} is no name like brave_turing");
}

#[test]
#[ignore = "needs root"]
fn privileged_create_takes_variables_and_labels_from_files() {
    let world = World::with_busybox();
    let file = world.scratch().join("env");
    fs::write(&file, "A=1\n# comment\n\nHERE\nABSENT\nC=x y=z\n  D=1\n").unwrap();
    let output = world
        .invoke(["run", "--rm", "--env-file", file.to_str().unwrap(), "-e", "A=2", "busybox", "env"])
        .env("HERE", "yes")
        .run();
    let mut lines = output.success().lines();
    lines.retain(|line| ["A=", "HERE", "ABSENT", "C=", "D="].iter().any(|name| line.starts_with(name)));
    lines.sort();
    assert_eq!(lines, ["A=2", "C=x y=z", "D=1", "HERE=yes"]);
    for (text, words) in
        [("A B=1\n", "variable 'A B' contains whitespaces"), ("=1\n", "no variable name on line")]
    {
        fs::write(&file, text).unwrap();
        world
            .mica(["run", "--rm", "--env-file", file.to_str().unwrap(), "busybox", "env"])
            .code(125)
            .stderr_contains(words);
    }
    fs::write(&file, "a=b\n#x\nno-value\n").unwrap();
    world.mica(["create", "--name", "box", "--label-file", file.to_str().unwrap(), "busybox"]).success();
    assert_eq!(world.inspect("box", "{{json .Config.Labels}}"), "{\"a\":\"b\"}");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_id_file_is_new_and_goes_with_a_failure() {
    let world = World::with_busybox();
    let file = world.scratch().join("cid");
    let path = file.to_str().unwrap();
    world.mica(["run", "--rm", "--cidfile", path, "busybox", "true"]).success();
    assert_eq!(fs::read_to_string(&file).unwrap().len(), 64);
    world.mica(["run", "--cidfile", path, "busybox"]).code(125).stderr_contains("container ID file found");
    world.mica(["create", "--cidfile", path, "busybox"]).code(1).stderr_contains("container ID file found");
    world.mica(["run", "--cidfile", "/no/such/cid", "busybox"]).code(125).stderr_contains("/no/such/cid");
    fs::remove_file(&file).unwrap();
    world.mica(["create", "--cidfile", path, "no-such-image"]).code(1);
    assert!(!file.exists(), "an id file without an id");
    world.mica(["create", "--cidfile", "/no/such/cid", "busybox"]).code(1).stderr_contains("/no/such/cid");
}

#[test]
#[ignore = "needs root"]
fn privileged_pull_never_asks_nobody() {
    let world = World::with_busybox();
    let output = world.mica(["run", "--pull", "never", "--rm", "no-such-image"]);
    output.code(125).stderr_contains("No such image: no-such-image:latest");
    world.mica(["run", "--pull", "soon", "busybox"]).code(125).stderr_contains("invalid pull option: 'soon'");
    let output = world.mica(["run", "Bad:Name:x"]);
    output.code(125).stderr_contains("invalid reference format");
    assert!(!output.stderr().contains("Unable to find"), "{}", output.stderr());
}

#[test]
#[ignore = "needs root"]
fn privileged_there_is_one_runtime_and_one_store_by_whatever_name() {
    let world = World::with_busybox();
    let flags = ["--runtime", "runc", "--isolation", "default", "--disable-content-trust"];
    let words = ["run", "--name", "box"].into_iter().chain(flags).chain(["busybox", "echo", "well"]);
    world.mica(words).success().stdout_is("well\n");
    assert_eq!(world.inspect("box", "{{.HostConfig.Runtime}}"), "runc");
    for (flag, value, words) in [
        ("--runtime", "kata", "unknown or invalid runtime name: kata"),
        ("--isolation", "hyperv", "invalid isolation 'hyperv' on linux"),
        ("--storage-opt", "size=1g", "overlay over xfs with 'pquota' mount option"),
        ("--storage-opt", "size", "invalid storage option"),
    ] {
        world.mica(["run", "--rm", flag, value, "busybox", "true"]).code(125).stderr_contains(words);
    }
    let words = ["run", "--rm", "--disable-content-trust=false", "busybox", "true"];
    world.mica(words).code(125).stderr_contains("cannot be false");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_not_there_yet_is_refused_and_not_ignored() {
    let world = World::with_busybox();
    for command in ["create", "run"] {
        let output = world.mica([command, "--use-api-socket", "busybox", "true"]);
        output.code(125).stderr_contains("--use-api-socket is not supported yet");
    }
    world.mica(["ps", "-aq"]).success().stdout_is("");
}
