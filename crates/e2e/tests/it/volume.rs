//! `volume create`, `ls`, `inspect`, `rm`, `prune`: data that outlives containers.

use e2e::World;
use std::fs;
use std::time::Duration;

#[test]
#[ignore = "needs root"]
fn privileged_a_volume_is_made_shown_and_removed() {
    let world = World::new();
    world.mica(["volume", "create", "--label", "a=b", "data"]).success().stdout_is("data\n");
    // Once more is no error, and changes nothing.
    world.mica(["volume", "create", "data"]).success().stdout_is("data\n");
    let unnamed = world.mica(["volume", "create"]);
    let unnamed = unnamed.success().line();
    assert_eq!(unnamed.len(), 64);
    world
        .mica(["volume", "ls", "--format", "{{.Name}}"])
        .success()
        .stdout_contains("data\n")
        .stdout_contains(&unnamed);
    world.mica(["volume", "ls", "-q", "-f", "label=a=b"]).success().stdout_is("data\n");
    world.mica(["volume", "ls", "-q", "-f", "name=dat"]).success().stdout_is("data\n");
    world.mica(["volume", "ls", "-f", "colour=red"]).code(1).stderr_contains("invalid filter");
    let shown = world.mica(["volume", "inspect", "data"]).success().json();
    let place = shown[0]["Mountpoint"].as_str().unwrap().to_owned();
    assert_eq!(shown[0]["Labels"]["a"], "b");
    assert_eq!(shown[0]["Driver"], "local");
    assert!(fs::metadata(&place).unwrap().is_dir());
    assert_eq!(world.inspect("data", "{{.Name}} {{.Scope}}"), "data local");
    world.mica(["volume", "rm", "data", &unnamed]).success();
    assert!(fs::metadata(&place).is_err());
    world.mica(["volume", "ls", "-q"]).success().stdout_is("");
    world.mica(["volume", "rm", "data"]).code(1).stderr_contains("get data: no such volume");
    world.mica(["volume", "rm", "-f", "data"]).success();
    world.mica(["volume", "inspect", "data"]).code(1).stderr_contains("get data: no such volume");
    let told = world.mica(["events", "--since", "10m", "--until", "0s", "--filter", "type=volume"]);
    told.success().stdout_contains("volume create data").stdout_contains("volume destroy data");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_cannot_be_a_volume_is_refused() {
    let world = World::new();
    for (arguments, words) in [
        (&["x"][..], "too short"),
        (&["a/b"], "includes invalid characters for a local volume name"),
        (&[".."], "includes invalid characters"),
        (&["-d", "cloud", "data"], "plugin \"cloud\" not found"),
        (&["-o", "type=tmpfs", "data"], "missing required option: \"device\""),
        (&["-o", "colour=red", "data"], "invalid option: \"colour\""),
    ] {
        world.mica([&["volume", "create"], arguments].concat()).code(1).stderr_contains(words);
    }
    for name in ["../container", "..", "a/b", ""] {
        world.mica(["volume", "rm", name]).code(1).stderr_contains("no such volume");
    }
    world.mica(["volume", "ls", "-q"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_volume_in_use_stays() {
    let world = World::with_busybox();
    let id = world.mica(["create", "--name", "user", "-v", "data:/data", "-v", "/unnamed", "busybox"]);
    let id = id.success().line();
    world
        .mica(["volume", "rm", "data"])
        .code(1)
        .stderr_contains(&format!("remove data: volume is in use - [{id}]"));
    world.mica(["volume", "rm", "-f", "data"]).code(1).stderr_contains("in use");
    world.mica(["volume", "prune", "-af"]).success().stdout_is("Total reclaimed space: 0B\n");
    world.mica(["volume", "ls", "-q", "-f", "dangling=true"]).success().stdout_is("");
    assert_eq!(world.mica(["volume", "ls", "-q", "-f", "dangling=false"]).success().lines().len(), 2);
    world.mica(["rm", "user"]).success();
    assert_eq!(world.mica(["volume", "ls", "-q", "-f", "dangling=true"]).success().lines().len(), 2);
    world.mica(["volume", "rm", "data"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_prune_takes_what_nobody_named_unless_told_to_take_all() {
    let world = World::with_busybox();
    let fill = "dd if=/dev/zero of=/unnamed/file bs=1000 count=5 2>/dev/null";
    world.mica(["run", "--name", "one", "-v", "/unnamed", "-v", "data:/data", "busybox", "sh", "-c", fill]);
    world.mica(["rm", "one"]).success();
    world
        .mica(["system", "df"])
        .success()
        .stdout_contains("Local Volumes   2         0         5kB       5kB (100%)");
    let rows = world.mica(["system", "df", "-v"]).success().lines();
    let cells: Vec<_> =
        rows.iter().filter(|row| row.starts_with("data ")).flat_map(|row| row.split_whitespace()).collect();
    assert_eq!(cells, ["data", "0", "0B"]);
    world.mica(["system", "prune", "-f"]).success();
    assert_eq!(world.mica(["volume", "ls", "-q"]).success().lines().len(), 2);
    let pruned = world.mica(["system", "prune", "-f", "--volumes"]);
    pruned.success().stdout_contains("Deleted Volumes:\n").stdout_contains("Total reclaimed space: 5kB");
    world.mica(["volume", "ls", "-q"]).success().stdout_is("data\n");
    world.mica(["volume", "prune", "-f"]).success().stdout_is("Total reclaimed space: 0B\n");
    world
        .mica(["volume", "prune", "-f", "-a"])
        .success()
        .stdout_is("Deleted Volumes:\ndata\n\nTotal reclaimed space: 0B\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_data_whose_record_was_lost_is_still_a_volume() {
    let world = World::with_busybox();
    let data = world.root().join("volume/saved/_data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), "precious").unwrap();
    world.mica(["volume", "prune", "-f"]).success();
    world
        .mica(["run", "--rm", "-v", "saved:/d", "busybox", "cat", "/d/file"])
        .success()
        .stdout_is("precious");
    world.mica(["volume", "ls", "-q"]).success().stdout_is("saved\n");
    world.mica(["volume", "rm", "saved"]).success();
    assert!(!data.exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_options_of_the_driver_say_where_the_data_is() {
    let world = World::with_busybox();
    let host = world.scratch().join("host");
    fs::create_dir(&host).unwrap();
    let device = format!("device={}", host.display());
    world.mica(["volume", "create", "-o", "type=none", "-o", &device, "-o", "o=bind", "bound"]).success();
    world.mica(["run", "--rm", "-v", "bound:/d", "busybox", "sh", "-c", "echo there > /d/file"]).success();
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "there\n");
    let memory = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7,noexec"];
    world.mica([&["volume", "create"], &memory[..], &["memory"]].concat()).success();
    let look = "stat -c %u /d; grep ' /d ' /proc/mounts";
    world
        .mica(["run", "--rm", "-v", "memory:/d", "busybox", "sh", "-c", look])
        .success()
        .stdout_contains("7\n")
        .stdout_contains("tmpfs /d tmpfs rw,noexec,relatime,size=1024k");
    let mount = format!("dst=/d,volume-opt=type=none,volume-opt=o=bind,volume-opt={device},src=other");
    world
        .mica(["run", "--rm", "--mount", &mount, "busybox", "cat", "/d/file"])
        .success()
        .stdout_is("there\n");
    world.mica(["volume", "rm", "bound", "memory", "other"]).success();
    assert!(host.join("file").exists(), "what lies elsewhere is not ours to delete");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_volume_in_memory_is_shared_as_long_as_somebody_has_it() {
    let world = World::with_busybox();
    world
        .mica([
            "volume",
            "create",
            "-o",
            "type=tmpfs",
            "-o",
            "device=tmpfs",
            "-o",
            "o=size=1m,mode=750",
            "memory",
        ])
        .success();
    let run = |name: &str, flags: &[&str]| {
        let words = ["run", "-d", "--name", name].into_iter().chain(flags.iter().copied());
        world.mica(words.chain(["busybox", "sleep", "1000"])).success();
    };
    let exec = |name: &str, script: &str| world.mica(["exec", name, "sh", "-c", script]).success().stdout();
    run("first", &["-v", "memory:/one"]);
    exec("first", "mkdir /one/part; echo word > /one/part/note");
    run("second", &["-v", "memory:/two"]);
    assert_eq!(exec("second", "cat /two/part/note; echo more >> /two/part/note"), "word\n");
    assert_eq!(exec("first", "cat /one/part/note; stat -c %a /one"), "word\nmore\n750\n");
    run("reader", &["-v", "memory:/r:ro"]);
    assert_eq!(exec("reader", "touch /r/x 2>/dev/null || cat /r/part/note"), "word\nmore\n");
    let mount = "type=volume,source=memory,target=/p,volume-subpath=part";
    run("part", &["--mount", mount]);
    assert_eq!(exec("part", "ls /p"), "note\n");
    // Whoever is still there keeps it.
    world.mica(["rm", "-f", "first", "part", "reader"]).success();
    run("third", &["-v", "memory:/three"]);
    assert_eq!(exec("third", "cat /three/part/note"), "word\nmore\n");
    world.mica(["rm", "-f", "second", "third"]).success();
    run("later", &["-v", "memory:/later"]);
    assert_eq!(exec("later", "ls /later"), "", "memory without anybody is gone");
}

#[test]
#[ignore = "needs root"]
fn privileged_containers_that_start_at_once_have_the_same_volumes_in_memory() {
    let world = World::with_busybox();
    for name in ["one", "two"] {
        let words = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", name];
        world.mica(words).success();
    }
    let names: Vec<String> = (0..8).map(|number| format!("box{number}")).collect();
    for (name, volumes) in names.iter().zip([["one:/1", "two:/2"], ["two:/2", "one:/1"]].iter().cycle()) {
        let words = ["create", "--name", name, "-v", volumes[0], "-v", volumes[1], "busybox"];
        world.mica(words.into_iter().chain(["sleep", "1000"])).success();
    }
    let mut starts: Vec<_> = names.iter().map(|name| world.invoke(["start", name]).spawn()).collect();
    for start in &mut starts {
        start.wait(Duration::from_secs(60)).success();
    }
    for name in &names {
        world.mica(["exec", name, "touch", &format!("/1/{name}"), &format!("/2/{name}")]).success();
    }
    for name in &names {
        assert_eq!(world.mica(["exec", name, "ls", "/1"]).success().lines(), names, "of {name}");
        assert_eq!(world.mica(["exec", name, "ls", "/2"]).success().lines(), names, "of {name}");
    }
}
