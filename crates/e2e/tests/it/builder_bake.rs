//! `mica bake`: files describe many builds, which are done at the same time.

use e2e::{DockerRegistry, Output, World};
use std::fs;
use std::path::PathBuf;

/// A directory with these files.
fn directory(world: &World, files: &[(&str, &str)]) -> PathBuf {
    let directory = world.scratch().join("bake");
    fs::create_dir_all(&directory).unwrap();
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn bake(world: &World, files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = directory(world, files);
    let arguments = ["bake"].iter().chain(arguments);
    world.invoke(arguments.copied().collect::<Vec<_>>()).directory(directory).run()
}

const FILE: &str = r#"
variable "TAG" { default = "1" }
group "default" { targets = ["app", "tool"] }
target "_common" {
  args = { WHO = "common" }
  labels = { made = "by-bake" }
}
target "base" {
  context = "base"
  dockerfile-inline = "FROM busybox\nRUN echo base > /base\nENV BASE=yes\n"
}
target "app" {
  inherits = ["_common"]
  contexts = { parent = "target:base", files = "files" }
  dockerfile-inline = <<EOT
FROM parent
ARG WHO
COPY --from=files one /one
RUN echo $WHO > /who
EOT
  tags = ["app:${TAG}", "app:also"]
}
target "tool" {
  inherits = ["_common"]
  contexts = { other = "target:base" }
  dockerfile-inline = "FROM busybox\nARG WHO\nCOPY --from=other /base /copied\nRUN echo tool $WHO > /who\n"
  args = { WHO = "tool" }
  tags = ["tool:${TAG}"]
}
"#;

const FILES: &[(&str, &str)] = &[("docker-bake.hcl", FILE), ("base/x", ""), ("files/one", "one")];

#[test]
#[ignore = "needs root"]
fn privileged_targets_are_built_together_and_use_each_others_results() {
    let world = World::with_busybox();
    let built = bake(&world, FILES, &["--metadata-file", "meta.json"]);
    built.success();
    built.stderr_contains("[internal] load local bake definitions");
    built.stderr_contains("[app 2/3] COPY --from=files one /one").stderr_contains("[base 2/2] RUN");
    let cat = |image: &str, path: &str| world.mica(["run", "--rm", image, "cat", path]).success().stdout();
    assert_eq!((cat("app:1", "/base"), cat("app:1", "/one")), ("base\n".into(), "one".into()));
    assert_eq!((cat("app:also", "/who"), cat("tool:1", "/who")), ("common\n".into(), "tool tool\n".into()));
    assert_eq!(cat("tool:1", "/copied"), "base\n");
    assert_eq!(
        world.inspect("app:1", "{{.Config.Labels.made}} {{.Config.Env}}").split(' ').next(),
        Some("by-bake")
    );
    assert!(world.inspect("app:1", "{{.Config.Env}}").contains("BASE=yes"));
    // What only others need is no image.
    assert_eq!(world.mica(["images", "-q", "base"]).success().stdout(), "");
    let history =
        world.mica(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app:1"]).success().stdout();
    assert!(history.contains("echo base"), "{history}");
    let metadata = fs::read_to_string(world.scratch().join("bake/meta.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["app"]["containerimage.config.digest"], world.inspect("app:1", "{{.Id}}").as_str());
    assert!(metadata["base"].is_object(), "{metadata}");
    let again = bake(&world, FILES, &["--set", "*.labels.made=again", "--var", "TAG=2", "app"]);
    assert!(again.success().stderr().matches("CACHED").count() >= 3, "{}", again.stderr());
    assert_eq!(world.inspect("app:2", "{{.Config.Labels.made}}"), "again");
    world.mica(["image", "inspect", "tool:2"]).failure();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_that_two_targets_share_is_done_once() {
    let world = World::with_busybox();
    let file = r#"
group "default" { targets = ["one", "two"] }
target "one" { target = "one" }
target "two" { target = "two" }
"#;
    // The mount tells how often the command ran.
    let dockerfile = "FROM busybox AS base\nRUN --mount=type=cache,target=/c echo ran >> /c/log && sleep 0.2\n\
                      FROM base AS one\nFROM base AS two\n\
                      FROM busybox AS log\nARG N\nRUN --mount=type=cache,target=/c cat /c/log\n";
    let files = [("docker-bake.hcl", file), ("Dockerfile", dockerfile)];
    bake(&world, &files, &[]).success();
    let directory = world.scratch().join("bake");
    let log = world.invoke(["build", "--target", "log", "."]).directory(directory).run();
    assert_eq!(log.success().stderr().matches(" ran\n").count(), 1, "{}", log.stderr());
}

#[test]
#[ignore = "needs root"]
fn privileged_one_failure_ends_all_and_names_its_target() {
    let world = World::with_busybox();
    let file = r#"
group "default" { targets = ["slow", "wrong"] }
target "slow" { dockerfile-inline = "FROM busybox\nRUN sleep 600\n" }
target "wrong" { dockerfile-inline = "FROM busybox\nRUN echo words of the end; exit 9\n" }
"#;
    let failed = bake(&world, &[("docker-bake.hcl", file)], &[]);
    failed.code(1);
    failed.stderr_contains("target wrong: failed to solve").stderr_contains("exit code: 9");
    failed.stderr_contains("words of the end").stderr_contains(">>> RUN echo words");
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_compose_files_and_json_are_baked_too() {
    let world = World::with_busybox();
    let compose = "services:\n  web:\n    image: web:${VERSION:-none}\n    build:\n      context: .\n      \
                   dockerfile_inline: |\n        FROM busybox\n        ARG A\n        RUN echo $$A > /a\n      \
                   args: { A: \"${VERSION}\" }\n      secrets: [ token ]\n  db: { image: postgres }\n\
                   secrets:\n  token: { file: ./token }\n";
    let json = r#"{"target": {"web": {"labels": {"from": "json"}}}}"#;
    let files = [
        ("compose.yaml", compose),
        ("docker-bake.json", json),
        (".env", "VERSION=7 # seven\n"),
        ("token", "t"),
    ];
    bake(&world, &files, &[]).success();
    world.mica(["run", "--rm", "web:7", "cat", "/a"]).success().stdout_is("7\n");
    assert_eq!(world.inspect("web:7", "{{.Config.Labels.from}}"), "json");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_would_be_built_can_be_seen_and_nothing_is_built() {
    let world = World::with_busybox();
    let shown = bake(&world, FILES, &["--print", "--no-cache", "app"]).success().stdout();
    let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(document["target"]["app"]["tags"], serde_json::json!(["app:1", "app:also"]));
    assert_eq!(document["target"]["app"]["no-cache"], true);
    assert_eq!(document["target"]["base"]["output"], serde_json::json!(["type=cacheonly"]));
    let listed = bake(&world, FILES, &["--list", "targets"]).success().lines();
    assert_eq!(listed.len(), 5, "{listed:?}");
    let listed = bake(&world, FILES, &["--list=type=variables,format=json"]).success().stdout();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["value"], "1");
    let checked = bake(
        &world,
        &[("docker-bake.hcl", "target \"default\" { dockerfile-inline = \"from busybox\\nCMD x\\n\" }")],
        &["--check"],
    );
    checked.code(1);
    assert_eq!(world.mica(["images", "-q", "app"]).success().stdout(), "");
}

#[test]
#[ignore = "needs root"]
fn privileged_mistakes_are_told_with_line_and_column_and_nothing_outside_is_touched() {
    let world = World::with_busybox();
    let said = |file: &str, arguments: &[&str]| {
        let failed = bake(&world, &[("docker-bake.hcl", file)], arguments);
        failed.failure();
        failed.stderr()
    };
    let wrong = said("target \"default\" {\n  tgas = []\n}\n", &[]);
    assert!(
        wrong.contains("docker-bake.hcl:2:3: target default: unknown attribute \"tgas\", did you mean tags?"),
        "{wrong}"
    );
    assert!(said("target \"default\" {\n  tags = [\n}\n", &[]).contains("docker-bake.hcl:3:"), "syntax");
    assert!(said(FILE, &["ap"]).contains("did you mean app?"));
    assert!(said(FILE, &["--set", "app"]).contains("invalid override"));
    let circle = "target \"default\" { contexts = { a = \"target:b\" } }\ntarget \"b\" { contexts = { a = \"target:default\" } }\n";
    assert!(said(circle, &[]).contains("depends on itself"));
    fs::write(world.scratch().join("canary"), "canary").unwrap();
    let outside =
        "target \"default\" { dockerfile-inline = \"FROM scratch\\nCOPY canary /\\n\", context = \"..\" }";
    let outside =
        outside.replace(", context", "\n context").replace("{ docker", "{\n docker").replace(" }", "\n}");
    let refused = said(&outside, &[]);
    assert!(refused.contains("Read access to path") && refused.contains("--allow=fs.read="), "{refused}");
    bake(&world, &[], &["--allow", "fs.read=.."]).success();
    let host = "target \"default\" {\n dockerfile-inline = \"FROM busybox\\n\"\n network = \"host\"\n}";
    assert!(said(host, &[]).contains("--allow=network.host"));
}

#[test]
#[ignore = "needs root"]
fn privileged_definitions_may_come_from_a_repository_and_then_the_paths_begin_there() {
    let world = World::with_busybox();
    let file = r#"
group "default" { targets = ["top", "part"] }
target "top" {
  dockerfile-inline = "FROM busybox\nCOPY mark /mark\nRUN cat /mark\n"
}
target "part" {
  context = "part"
  contexts = { top = ".", here = "cwd://mine" }
  tags = ["part:1"]
}
"#;
    let dockerfile = "FROM busybox\nCOPY own /own\nCOPY --from=top mark /mark\nCOPY --from=here file /file\n";
    let repository = world.scratch().join("repository.git");
    let files = [
        ("docker-bake.hcl", file),
        ("mark", "marked\n"),
        ("part/Dockerfile", dockerfile),
        ("part/own", "own\n"),
    ];
    for (name, content) in files {
        let path = repository.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for words in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "x"]] {
        let person = ["-c", "user.name=n", "-c", "user.email=n@example.com"];
        let mut command = std::process::Command::new("git");
        assert!(command.arg("-C").arg(&repository).args(person).args(words).status().unwrap().success());
    }
    let address = format!("file://{}#main", repository.display());
    let local = [
        ("mine/file", "of this machine\n"),
        ("own.hcl", "target \"top\" {\n labels = { own = \"yes\" }\n tags = [\"top:1\"]\n}\n"),
    ];
    let allowed = format!("--allow=fs.read={}", repository.display());
    bake(&world, &local, &[&allowed, &address]).success().stderr_contains("marked");
    let show = ["run", "--rm", "part:1", "cat", "/own", "/mark", "/file"];
    world.mica(show).success().stdout_is("own\nmarked\nof this machine\n");
    let both = ["-f", "docker-bake.hcl", "-f", "cwd://own.hcl", &allowed, &address, "top"];
    bake(&world, &local, &both).success();
    assert_eq!(world.inspect("top:1", "{{.Config.Labels.own}}"), "yes");
    bake(&world, &local, &["-f", "absent.hcl", &allowed, &address])
        .failure()
        .stderr_contains("absent.hcl not found in");
    bake(&world, &local, &[&format!("file://{}/absent", repository.display())]).failure();
}

#[test]
#[ignore = "needs root"]
fn privileged_results_are_pushed_under_their_names() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::new();
    let names = ["one", "two"].map(|name| registry.name(&format!("team/{name}:1")));
    let file = format!(
        "group \"default\" {{ targets = [\"one\", \"two\"] }}\n\
         target \"one\" {{\n dockerfile-inline = \"FROM busybox\\nRUN echo one > /name\"\n tags = [\"{}\"]\n}}\n\
         target \"two\" {{\n dockerfile-inline = \"FROM busybox\\nRUN echo two > /name\"\n tags = [\"{}\"]\n}}\n",
        names[0], names[1]
    );
    bake(&world, &[("docker-bake.hcl", &file)], &["--push"])
        .success()
        .stderr_contains(&format!("pushing {}", names[0]));
    let other = World::new();
    for (name, said) in names.iter().zip(["one\n", "two\n"]) {
        other.mica(["run", "--rm", "--network", "none", name, "cat", "/name"]).success().stdout_is(said);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_targets_share_is_done_once_even_without_a_cache() {
    let world = World::with_busybox();
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n dockerfile-inline = \"FROM busybox\\nRUN cat /proc/sys/kernel/random/uuid > /shared\\n\
             RUN echo {name} > /own\"\n tags = [\"{name}\"]\n}}\n"
        )
    };
    let file =
        format!("group \"default\" {{ targets = [\"one\", \"two\"] }}\n{}{}", target("one"), target("two"));
    let shared = || {
        bake(&world, &[("docker-bake.hcl", &file)], &["--no-cache"]).success();
        ["one", "two"].map(|name| world.mica(["run", "--rm", name, "cat", "/shared"]).success().line())
    };
    let (first, second) = (shared(), shared());
    assert_eq!((&first[0], &second[0]), (&first[1], &second[1]));
    assert_ne!(first[0], second[0]);
}
