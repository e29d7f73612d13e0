//! Command lines and plans in, requests out.

use super::*;
use crate::config::{Config, Environment, GlobalOptions};
use crate::context::{Streams, Terminals};
use crate::output::ui::{Colour, Ui};
use mica_api::types::bake::BakeTarget;
use mica_api::types::build::BuildContext;

fn context<'a>() -> Context<'a> {
    let pairs: [(&str, &str); 1] = [("HERE", "value")];
    let config = Config { environment: Environment::from_iter(pairs), options: GlobalOptions::default() };
    let ui = Ui::standard(Colour::Never);
    let streams = Streams { ui, descriptors: None, terminals: Terminals::default() };
    Context::new("mica".to_owned(), config, streams, &|_| Err(mica_api::Error::unsupported("engine")))
}

fn target(attributes: Value) -> BakeTarget {
    let Value::Object(attributes) = attributes else { panic!() };
    BakeTarget { name: "app".to_owned(), attributes }
}

fn plan(attributes: Value) -> BakePlan {
    BakePlan { targets: vec![target(attributes)], ..BakePlan::default() }
}

#[test]
fn a_target_becomes_a_build() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("D"), "FROM scratch\n").unwrap();
    let app = target(json!({
        "context": directory.path(),
        "dockerfile": "D",
        "args": {"A": "1", "B": "x=y"},
        "labels": {"l": "v"},
        "contexts": {"Base": "target:base", "img": "docker-image://busybox"},
        "extra-hosts": {"h": "1.2.3.4"},
        "tags": ["a:1", "b:2"],
        "target": "final",
        "no-cache": true,
        "pull": false,
        "platforms": ["linux/amd64"],
        "entitlements": ["network.host"],
        "ulimits": ["nofile=10:20"],
        "shm-size": "1m",
        "output": ["type=cacheonly"],
    }));
    let request = target::request(&app, build::request, &context()).unwrap();
    assert!(matches!(&request.context, BuildContext::Directory(path) if path == directory.path()));
    assert_eq!(request.arguments["B"], "x=y");
    assert_eq!(request.contexts["base"], "target:base");
    assert_eq!(request.contexts["img"], "docker-image://busybox");
    assert_eq!((request.tags.len(), request.target.as_str()), (2, "final"));
    assert!(request.no_cache && !request.pull && !request.store);
    assert_eq!((request.shm_size_bytes, request.ulimits.len()), (1 << 20, 1));
    assert_eq!(request.extra_hosts, ["h=1.2.3.4"]);
}

#[test]
fn an_inline_dockerfile_is_the_text_itself() {
    let app = target(json!({ "dockerfile-inline": "FROM scratch\n", "context": "." }));
    let request = target::request(&app, build::request, &context()).unwrap();
    let Some(mica_api::types::build::BuildFile::Text { text, .. }) = request.dockerfile else { panic!() };
    assert_eq!(text, "FROM scratch\n");
    assert!(request.store);
}

#[test]
fn overrides_take_values_from_the_environment() {
    assert_eq!(complete("*.args.HERE", &context()), "*.args.HERE=value");
    assert_eq!(complete("*.args.NOT", &context()), "*.args.NOT");
    assert_eq!(complete("*.args.HERE=", &context()), "*.args.HERE=");
}

#[test]
fn what_lies_outside_needs_leave() {
    let granted = |allowed: &[&str], attributes: Value| {
        let allowed: Vec<String> = allowed.iter().map(|one| (*one).to_owned()).collect();
        Privileges::new(&allowed).unwrap().are_granted(&plan(attributes), &context()).unwrap()
    };
    assert!(granted(&[], json!({ "context": ".", "output": ["type=local,dest=out"] })));
    assert!(!granted(&[], json!({ "context": "/etc" })));
    assert!(!granted(&[], json!({ "context": ".", "contexts": { "x": "../.." } })));
    assert!(!granted(&[], json!({ "context": ".", "secret": ["id=x,src=/etc/shadow"] })));
    assert!(!granted(&[], json!({ "context": ".", "dockerfile": "../../../../etc/passwd" })));
    assert!(!granted(&["fs.read=/"], json!({ "context": ".", "output": ["/etc/out"] })));
    assert!(granted(&["fs=/etc"], json!({ "context": "/etc", "output": ["/etc/out"] })));
    assert!(granted(&["fs.read=*"], json!({ "context": "/etc" })));
    assert!(!granted(&[], json!({ "context": ".", "network": "host" })));
    assert!(!granted(&["network.host"], json!({ "context": ".", "ssh": ["default"] })));
    assert!(granted(
        &["security.insecure"],
        json!({ "context": ".", "entitlements": ["security.insecure"] })
    ));
    assert!(Privileges::new(&["everything".to_owned()]).is_err());
}
