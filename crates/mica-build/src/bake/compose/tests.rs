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
