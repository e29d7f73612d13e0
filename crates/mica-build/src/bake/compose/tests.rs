//! Compose files in, builds out.

use crate::bake::{Bake, BakeError, BakeFile, Settings, Target};

fn read(texts: &[&str], names: &[&str]) -> Result<Vec<Target>, BakeError> {
    let file = |text: &&str| BakeFile { name: "compose.yaml".to_owned(), text: (*text).to_owned() };
    let settings = Settings {
        variables: [("HERE".to_owned(), "environment".to_owned())].into(),
        dotenv: "HERE=dotenv\nVERSION=3\n".to_owned(),
        ..Settings::default()
    };
    let files: Vec<_> = texts.iter().map(file).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Bake::read(&files, &settings)?.resolve(&names, &[])?.targets)
}

#[test]
fn services_that_are_built_are_targets() {
    let text = r#"
services:
  db: { image: postgres }
  web.front:
    image: web:${VERSION}
    build:
      context: ./web
      dockerfile: Web.Dockerfile
      target: final
      args: [A=1, HERE, NONE]
      labels: { l: 2 }
      additional_contexts: { base: "service:base", files: ./files }
      cache_from: [ "type=local,src=x" ]
      extra_hosts: [ "h:1.2.3.4" ]
      ssh: [ default ]
      shm_size: 64m
      network: none
      no_cache: "true"
      pull: false
      ulimits: { nofile: { soft: 10, hard: 20 }, nproc: 5 }
      secrets: [ s, { source: t, target: id } ]
      platforms: [ linux/amd64 ]
      entitlements: [ network.host ]
      x-bake: { output: "type=cacheonly", tags: [ "a:1", "b:2" ] }
  base: { build: base }
secrets:
  s: { file: ./s.txt }
  t: { environment: T }
"#;
    let targets = read(&[text], &["web_front"]).unwrap();
    let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["base", "web_front"]);
    let document = targets[1].document();
    let expected = serde_json::json!({
        "args": {"A": "1", "HERE": "environment"},
        "cache-from": ["type=local,src=x"],
        "context": "./web",
        "contexts": {"base": "target:base", "files": "./files"},
        "dockerfile": "Web.Dockerfile",
        "entitlements": ["network.host"],
        "extra-hosts": {"h": "1.2.3.4"},
        "labels": {"l": "2"},
        "network": "none",
        "no-cache": true,
        "output": ["type=cacheonly"],
        "platforms": ["linux/amd64"],
        "pull": false,
        "secret": ["id=s,src=./s.txt", "id=id,env=T"],
        "shm-size": "64m",
        "ssh": ["default"],
        "tags": ["a:1", "b:2"],
        "target": "final",
        "ulimits": ["nofile=10:20", "nproc=5"],
    });
    assert_eq!(document, expected);
    assert_eq!(read(&[text], &[]).unwrap().len(), 2);
}

#[test]
fn later_files_come_on_top_and_anchors_are_followed() {
    let first = "x-all: &all { context: ., args: { A: 1, B: 1 } }\nservices:\n  one: { image: one, build: { <<: *all } }\n";
    let second = "services:\n  one: { build: { args: { B: 2 } } }\n";
    let targets = read(&[first, second], &[]).unwrap();
    let arguments: Vec<_> = targets[0].map("args").values().cloned().collect();
    assert_eq!(
        (arguments, targets[0].list("tags")),
        (vec!["1".to_owned(), "2".to_owned()], &["one".to_owned()][..])
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let error = |text: &str| read(&[text], &[]).unwrap_err().to_string();
    assert!(error("services:\n  a: [\n  b: }\n").contains("line 3"));
    assert!(error("services:\n  a: { build: { contxt: . } }\n").contains("did you mean context?"));
    assert!(error("services:\n  a: { build: { args: 5 } }\n").contains("service a.build.args"));
    assert!(error("services:\n  a: { build: \"${X?no x}\" }\n").contains("no x"));
    assert!(error("services:\n  a: { build: { secrets: [ x ] } }\n").contains("neither a file nor"));
    assert!(error("services: 5\n").contains("an object"));
}

/// Reads `compose.yaml` among some files.
fn read_among(files: &[(&str, &str)], names: &[&str]) -> Result<Vec<Target>, BakeError> {
    let text_of =
        |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let first =
        BakeFile { name: "compose.yaml".to_owned(), text: text_of("compose.yaml").unwrap_or_default() };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Bake::read_with(&[first], &Settings::default(), &text_of)?.resolve(&names, &[])?.targets)
}

#[test]
fn services_of_other_files_are_included_and_their_paths_begin_there() {
    let files = [
        (
            "compose.yaml",
            "include: [ parts/one.yaml, { path: [two.yaml], project_directory: elsewhere } ]\nservices:\n  own: { build: . }\n",
        ),
        (
            "parts/one.yaml",
            "include: [ deep/three.yaml ]\nservices:\n  one: { build: { dockerfile: D, additional_contexts: { more: ./files, base: 'service:three' } } }\n",
        ),
        ("parts/deep/three.yaml", "services:\n  three: { build: ./app }\n"),
        (
            "two.yaml",
            "services:\n  two: { build: { context: 'https://host/a.git' } }\n  none: { image: x }\n",
        ),
    ];
    let targets = read_among(&files, &["own", "one", "two", "three"]).unwrap();
    let context = |name: &str| {
        let target = targets.iter().find(|target| target.name == name).unwrap();
        target.text("context").unwrap_or_default().to_owned()
    };
    assert_eq!(
        [context("own"), context("one"), context("three"), context("two")],
        [".", "parts", "parts/deep/app", "https://host/a.git"]
    );
    let one = targets.iter().find(|target| target.name == "one").unwrap();
    assert_eq!(one.document()["contexts"]["more"], "parts/files");
    let twice = [
        ("compose.yaml", "include: [a.yaml]\nservices: { x: { build: . } }\n"),
        ("a.yaml", "services: { x: { build: . } }\n"),
    ];
    assert!(read_among(&twice, &[]).unwrap_err().to_string().contains("conflicts with imported resource"));
    assert!(
        read_among(&[("compose.yaml", "include: [absent.yaml]\n")], &[])
            .unwrap_err()
            .to_string()
            .contains("absent.yaml")
    );
    assert!(read_among(&[("compose.yaml", "include: [compose.yaml]\n")], &[]).is_err());
}

#[test]
fn a_service_extends_others_of_this_file_and_of_other_ones() {
    let files = [
        (
            "compose.yaml",
            "services:\n  app:\n    extends: { file: common/base.yaml, service: base }\n    build: { args: { B: own }, tags: [ own:1 ] }\n\
            \x20 tool:\n    extends: app\n    build: { target: tool }\n",
        ),
        (
            "common/base.yaml",
            "services:\n  root: { build: . }\n  base:\n    extends: { service: root }\n    image: base:1\n    build: { args: { A: 1, B: base }, tags: [ base:2 ] }\n",
        ),
    ];
    let targets = read_among(&files, &["app", "tool"]).unwrap();
    let [app, tool] =
        ["app", "tool"].map(|name| targets.iter().find(|target| target.name == name).unwrap().document());
    assert_eq!(
        (&app["context"], &app["args"]["A"], &app["args"]["B"]),
        (&"common".into(), &"1".into(), &"own".into())
    );
    assert_eq!(app["tags"], serde_json::json!(["base:2", "own:1"]));
    assert_eq!((&tool["target"], &tool["args"]["B"]), (&"tool".into(), &"own".into()));
    for wrong in [
        "services: { a: { extends: a, build: . } }\n",
        "services: { a: { extends: b } }\n",
        "services: { a: { extends: { file: x } } }\n",
    ] {
        assert!(read_among(&[("compose.yaml", wrong)], &[]).is_err(), "{wrong}");
    }
}
