//! `mica images`, `tag`, `rmi`, `history`, `prune`, `system df`: names and stacks.

use e2e::{Output, World};

#[test]
#[ignore = "needs root"]
fn privileged_images_are_listed_tagged_and_untagged() {
    let world = World::with_busybox();
    world.mica(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success().stdout_is("busybox:latest\n");
    world.mica(["tag", "busybox", "other:v1"]).success();
    let first = world.mica(["images", "-q", "--no-trunc", "other"]).success().line();
    assert_eq!(first, world.inspect("busybox", "{{.Id}}"));
    world.mica(["rmi", "other:v1"]).success().stdout_contains("Untagged: other:v1");
    world.mica(["create", "--name", "user", "busybox"]).success();
    world.mica(["rmi", "BUSY"]).code(1).stderr_contains("must be lowercase");
    world.mica(["rmi", "busybox"]).code(1).stderr_contains("container");
    world.mica(["rm", "user"]).success();
    world.mica(["rmi", "busybox"]).success().stdout_contains("Deleted: sha256:");
    world.mica(["images", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_history_walks_the_stack() {
    let world = World::with_busybox();
    world.mica(["history", "busybox"]).success().stdout_contains("layer 1").stdout_contains("CREATED BY");
    let id = stack(&world, "busybox", "top");
    let base = world.inspect("busybox", "{{.Id}}");
    world.mica(["history", "-q", "--no-trunc", "top"]).success().stdout_is(&format!("{id}\n{base}\n"));
    let paths = world.mica(["history", "--format", "{{.LayerPath}}", "top"]).success().lines();
    assert!(paths.len() == 2 && paths.iter().all(|path| std::path::Path::new(path).is_dir()), "{paths:?}");
    let tree = world.mica(["image", "tree"]).success().stdout();
    assert!(tree.contains("busybox:latest") && tree.contains(&paths[0]), "{tree}");
}

/// Makes an image of `base` and one more file; answers its id.
#[track_caller]
fn stack(world: &World, base: &str, name: &str) -> String {
    let script = format!("echo {name} > /{name}");
    let container = format!("makes-{name}");
    world.mica(["run", "--name", &container, "--network", "none", base, "sh", "-c", &script]).success();
    let id = world.mica(["commit", &container, name]).success().line();
    world.mica(["rm", &container]).success();
    id
}

fn images(world: &World, options: &[&str]) -> Vec<String> {
    let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    let mut names = world.mica(format.iter().chain(options)).success().lines();
    names.sort();
    names
}

#[test]
#[ignore = "needs root"]
fn privileged_images_are_filtered_as_docker_does() {
    let world = World::with_busybox();
    for name in ["foo/a:1", "foo/b:2", "reg:5000/foo/a:1"] {
        world.mica(["tag", "busybox", name]).success();
    }
    let cases: [(&[&str], &[&str]); 9] = [
        (&["foo/a"], &["foo/a:1"]),
        (&["foo/a:9"], &[]),
        (&["--filter", "reference=foo/*"], &["foo/a:1", "foo/b:2"]),
        (&["--filter", "reference=*:latest"], &["busybox:latest"]),
        (&["--filter", "reference=foo/[ab]"], &["foo/a:1", "foo/b:2"]),
        (&["--filter", "reference=*/*/*"], &["reg:5000/foo/a:1"]),
        (&["--filter", "dangling=true"], &[]),
        (&["--filter", "label=absent"], &[]),
        (&["--filter", "before=busybox"], &[]),
    ];
    for (options, expected) in cases {
        assert_eq!(images(&world, options), expected, "{options:?}");
    }
    stack(&world, "busybox", "newer");
    assert_eq!(images(&world, &["--filter", "since=busybox"]), ["newer:latest"]);
    assert_eq!(images(&world, &["--filter", "before=newer"]).len(), 4);
    world.mica(["images", "--filter", "bogus=1"]).code(1).stderr_contains("nvalid filter 'bogus'");
    world
        .mica(["images", "--filter", "since=nosuch"])
        .code(1)
        .stderr_contains("No such image: nosuch:latest");
}

/// The lines without their digests.
fn steps(output: &Output) -> Vec<String> {
    output.lines().iter().map(|line| line.split(" sha256:").next().unwrap_or_default().to_owned()).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_rmi_follows_dockers_rules() {
    let world = World::with_busybox();
    let middle = stack(&world, "busybox", "middle");
    let top = stack(&world, "middle", "top");
    // A name that something stands on goes, the image stays, hidden but for -a.
    assert_eq!(steps(world.mica(["rmi", "middle"]).success()), ["Untagged: middle:latest"]);
    assert_eq!(images(&world, &[]), ["busybox:latest", "top:latest"]);
    assert_eq!(images(&world, &["-a"]).len(), 3);
    world.mica(["rmi", &middle]).code(1).stderr_contains("image has dependent child images");
    // With force a middle one goes; what stands on it works on, with all its layers.
    world.mica(["rmi", "-f", &middle]).success().stdout_is(&format!("Deleted: {middle}\n"));
    assert_eq!(images(&world, &["-a"]).len(), 2);
    world
        .mica(["run", "--rm", "--network", "none", "top", "cat", "/middle", "/top"])
        .success()
        .stdout_is("middle\ntop\n");
    assert_eq!(world.inspect("top", "{{.Parent}}"), world.inspect("busybox", "{{.Id}}"));
    // Several names need force by id; a running container forbids even that.
    world.mica(["tag", "top", "also:1"]).success();
    world.mica(["rmi", &top]).code(1).stderr_contains("referenced in multiple repositories");
    world.mica(["run", "-d", "--name", "user", "--network", "none", "top", "sleep", "1000"]).success();
    world.mica(["rmi", "-f", &top]).code(1).stderr_contains("image is being used by running container");
    world.mica(["rmi", "-f", "nosuch"]).success();
    world.mica(["rmi", "nosuch"]).code(1).stderr_contains("No such image: nosuch:latest");
    world.mica(["kill", "user"]).success();
    world.mica(["wait", "user"]).success();
    world.mica(["rmi", "-f", &top]).success();
    // The stopped container keeps its layers and starts without its image.
    world.mica(["start", "user"]).success();
    world.mica(["exec", "user", "cat", "/top"]).success().stdout_is("top\n");
    world.mica(["rm", "-f", "user"]).success();
    // The last name takes the image, its layers and its nameless ancestors along.
    assert_eq!(
        steps(world.mica(["rmi", "busybox"]).success())[..2],
        ["Untagged: busybox:latest", "Deleted:"]
    );
    world.mica(["images", "-aq"]).success().stdout_is("");
    let layers = std::fs::read_dir(world.root().join("layer/sha256")).unwrap().count();
    assert_eq!(layers, 0, "layers that nobody uses stayed");
}

#[test]
#[ignore = "needs root"]
fn privileged_prunes_take_what_nobody_uses() {
    let world = World::with_busybox();
    stack(&world, "busybox", "kept");
    stack(&world, "busybox", "loose");
    world.mica(["tag", "kept", "loose"]).success();
    // Now the image that was `loose` dangles.
    assert_eq!(images(&world, &["--filter", "dangling=true"]), ["<none>:<none>"]);
    world.mica(["image", "prune", "-f", "--filter", "label=absent"]).success().stdout_contains("0B");
    world
        .mica(["image", "prune", "-f"])
        .success()
        .stdout_contains("Deleted Images:")
        .stdout_contains("deleted: sha256:");
    assert_eq!(images(&world, &["-a"]).len(), 3);
    world.mica(["create", "--name", "user", "--network", "none", "kept"]).success();
    world.mica(["rmi", "loose"]).success();
    world.mica(["image", "prune", "-af"]).success();
    // The base of a used image loses its name only.
    assert_eq!(images(&world, &[]), ["kept:latest"]);
    assert_eq!(images(&world, &["-a"]), ["<none>:<none>", "kept:latest"]);
    let usage =
        world.mica(["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).success().lines();
    assert_eq!(usage[..2], ["Images 1 1", "Containers 1 0"]);
    world.mica(["system", "df", "-v"]).success().stdout_contains("SHARED SIZE").stdout_contains("user");
    world.mica(["system", "prune", "-af"]).success().stdout_contains("Total reclaimed space:");
    world.mica(["images", "-aq"]).success().stdout_is("");
    world.mica(["ps", "-aq"]).success().stdout_is("");
}
