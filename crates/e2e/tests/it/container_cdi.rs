//! Devices of vendors: `--device vendor.com/class=name` and `--gpus`.

use e2e::{Output, World};
use std::fs;

/// A world that looks for vendors' files in a directory of its own.
struct Shop {
    world: World,
}

impl Shop {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = World::with_busybox();
        let directory = world.scratch().join("cdi");
        fs::create_dir(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        let config = format!("cdi_spec_dirs = [{:?}]\n", directory.display().to_string());
        fs::write(world.scratch().join("config.toml"), config).unwrap();
        Self { world }
    }

    fn run(&self, flags: &[&str], script: &str) -> Output {
        let command = ["busybox", "sh", "-c", script];
        let arguments = ["run", "--rm"].iter().chain(flags).chain(&command);
        self.world.invoke(arguments).env("MICA_CONFIG", self.world.scratch().join("config.toml")).run()
    }

    fn build(&self, dockerfile: &str, flags: &[&str]) -> Output {
        let directory = self.world.scratch().join("context");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
        let arguments = [&["build", "--progress=plain", "."], flags].concat();
        let build = self.world.invoke(arguments).directory(directory);
        build.env("MICA_CONFIG", self.world.scratch().join("config.toml")).run()
    }
}

const YAML: &str = "\
cdiVersion: 0.6.0
kind: example.com/toy
containerEdits:
  env: [TOYS=yes]
devices:
- name: one
  containerEdits:
    env: [TOY=one]
    additionalGids: [4242]
    deviceNodes:
    - {path: /dev/toy, hostPath: /dev/kmsg, permissions: r}
    mounts:
    - {hostPath: /etc/hostname, containerPath: /toys/manual, options: [ro, nosuid]}
- name: hooked
  containerEdits:
    hooks: [{hookName: createContainer, path: /usr/bin/toy-hook}]
";

const GPUS: &str = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
    {"name": "0", "containerEdits": {"env": ["GPU0=1"]}},
    {"name": "1", "containerEdits": {"env": ["GPU1=1"]}},
    {"name": "all", "containerEdits": {"env": ["GPUS=all"]}}]}"#;

#[test]
#[ignore = "needs root"]
fn privileged_a_device_of_a_vendor_brings_all_that_its_file_says() {
    let shop = Shop::new(&[("toy.yaml", YAML)]);
    let script = "echo $TOY $TOYS; id -G; test -c /dev/toy && head -c 1 /dev/toy | wc -c; cat /toys/manual; \
                  : > /toys/manual; : > /dev/toy";
    let output = shop.run(&["--cap-add", "syslog", "--device", "example.com/toy=one"], script);
    let manual = fs::read_to_string("/etc/hostname").unwrap();
    output.code(1).stdout_is(&format!("one yes\n0 4242\n1\n{manual}"));
    assert!(output.stderr().contains("Read-only file system"), "{}", output.stderr());
    // Without it nothing of the kind is there.
    shop.run(&[], "test -e /dev/toy || echo $TOYS none").success().stdout_is("none\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_devices_that_cannot_be_had_are_named() {
    let shop = Shop::new(&[("toy.yaml", YAML), ("torn.json", "{")]);
    let refused = |flags: &[&str], words: &str| {
        shop.run(flags, "true").code(125).stderr_contains(words);
    };
    let missing = "CDI device injection failed: unresolvable CDI devices example.com/toy=two";
    refused(&["--device", "example.com/toy=two"], missing);
    refused(&["--device", "example.com/toy=two"], "torn.json");
    refused(&["--device", "example.com/toy=hooked"], "createContainer hook /usr/bin/toy-hook");
    let unmet = "could not select device driver \"\" with capabilities: [[gpu]]";
    refused(&["--gpus", "all"], unmet);
    refused(&["--gpus", "x=y"], "unexpected key 'x' in 'x=y'");
}

#[test]
#[ignore = "needs root"]
fn privileged_graphics_processors_are_given_by_number_and_by_name() {
    let shop = Shop::new(&[("gpus.json", GPUS)]);
    let script = "echo $GPU0 $GPU1 $GPUS";
    shop.run(&["--gpus", "all"], script).success().stdout_is("all\n");
    shop.run(&["--gpus", "2"], script).success().stdout_is("1 1\n");
    shop.run(&["--gpus", "device=1"], "echo $GPU0,$GPU1").success().stdout_is(",1\n");
    shop.run(&["--gpus", "3"], script).code(125).stderr_contains("could not select device driver");
}

const FREE: &str = "\
cdiVersion: 0.6.0
kind: example.com/free
annotations:
  org.mobyproject.buildkit.device.autoallow: true
devices:
- name: first
  containerEdits: {env: [FIRST=1]}
- name: second
  annotations: {org.mobyproject.buildkit.device.class: game}
  containerEdits: {env: [SECOND=2]}
";

#[test]
#[ignore = "needs root"]
fn privileged_commands_of_builds_get_the_devices_that_they_ask_for_and_may_have() {
    let shop = Shop::new(&[("toy.yaml", YAML), ("free.yaml", FREE)]);
    let toy = "FROM busybox\nRUN --device=example.com/toy=one test -c /dev/toy && echo a toy: $TOY\n";
    shop.build(toy, &[]).code(1).stderr_contains("--allow device=example.com/toy=one");
    for allowed in ["device", "device=example.com/toy", "device=example.com/toy=one"] {
        shop.build(toy, &["--no-cache", "--allow", allowed]).success().stderr_contains("a toy: one");
    }
    let free = "FROM busybox\nRUN --device=example.com/free echo class $FIRST $SECOND\n\
                RUN --device=example.com/free=* echo all $FIRST $SECOND\nRUN --device=game echo game $SECOND\n\
                RUN --device=example.com/absent echo without\n";
    let built = shop.build(free, &[]);
    built.success().stderr_contains("class 1\n").stderr_contains("all 1 2\n").stderr_contains("game 2\n");
    built.stderr_contains("device example.com/absent is not here");
    let required = "FROM busybox\nRUN --device=example.com/absent,required true\n";
    shop.build(required, &["--allow", "device"])
        .code(1)
        .stderr_contains("required device \"example.com/absent\" is not registered");
    shop.build("FROM busybox\nRUN --device=required true\n", &[]).code(1).stderr_contains("Dockerfile:2");
}
