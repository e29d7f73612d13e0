//! Registries that are slow, broken, overloaded, or lead elsewhere.

use e2e::Stage;
use e2e::registry::{Answer, MANIFEST_TYPE, Manner};
use std::time::{Duration, Instant};

fn unavailable() -> Answer {
    Answer::status(503)
}

#[test]
#[ignore = "needs root"]
fn privileged_registries_that_hardly_answer_are_given_up() {
    let stage = Stage::new();
    let honest = stage.honest.manifest.to_string();
    for manner in [Manner::Trickle, Manner::TrickleHead, Manner::Silent] {
        let answer = Answer::new(MANIFEST_TYPE, honest.clone()).manner(manner);
        stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
        stage.registry.put(&stage.manifest("latest"), answer);
        stage.registry.hold();
        stage.refuses(&["Error"]);
        stage.registry.release();
        stage.reset();
        stage.send_layer(1, manner);
        stage.registry.hold();
        stage.refuses(&[&stage.honest.layers[1]]);
        stage.registry.release();
    }
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_socket_that_only_accepts_is_given_up_and_a_pull_can_be_interrupted() {
    let stage = Stage::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/silent", listener.local_addr().unwrap());
    stage.refuses_name(&name, &["Error"]);
    std::fs::write(stage.world.directory().join("config.toml"), "").unwrap();
    let mut pull = stage.world.invoke(["pull", &name]).spawn();
    drop(listener.accept().unwrap());
    let connection = listener.accept();
    pull.signal(rustix::process::Signal::INT);
    let begun = Instant::now();
    let output = pull.wait(Duration::from_secs(5));
    assert!(begun.elapsed() < Duration::from_secs(1));
    output.code(130);
    drop(connection);
    stage.has_nothing();
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_connections_that_always_break_end_the_pull_after_some_attempts() {
    let stage = Stage::new();
    let layer = stage.blob(&stage.honest.layers[0]);
    for manner in [Manner::DropAfter(0), Manner::DropAfter(100)] {
        let before = stage.registry.count(&layer);
        stage.send_layer(0, manner);
        stage.refuses(&[&stage.honest.layers[0]]);
        let attempts = stage.registry.count(&layer) - before;
        assert!((2..=30).contains(&attempts), "{attempts} attempts");
        stage.takes();
    }
    stage.send_layer(0, Manner::DropOnce(100));
    stage.takes_as_it_is();
    let dropped = Answer::new(MANIFEST_TYPE, stage.honest.manifest.to_string()).manner(Manner::DropOnce(100));
    stage.registry.put(&stage.manifest("latest"), dropped);
    stage.takes_as_it_is();
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_range_that_is_not_the_one_asked_for_is_refused() {
    let stage = Stage::new();
    let bytes = stage.layers[0].clone();
    let answer = |manner| Answer::new("application/octet-stream", bytes.clone()).manner(manner);
    let layer = stage.blob(&stage.honest.layers[0]);
    stage.registry.put_all(&layer, [answer(Manner::DropAfter(100)), answer(Manner::WrongRange)]);
    stage.refuses(&["another range than was asked for"]);
    stage.registry.put_all(&layer, [answer(Manner::DropAfter(100)), answer(Manner::WithoutRanges)]);
    stage.takes_as_it_is();
    // Under the right name, but other bytes: the digest is over all of them.
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let lie = Answer::new("application/octet-stream", other);
    stage.registry.put_all(&layer, [answer(Manner::DropAfter(100)), lie]);
    stage.refuses(&[&stage.honest.layers[0]]);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_an_overloaded_registry_is_asked_again_but_not_for_ever() {
    let stage = Stage::new();
    let manifest = stage.manifest("latest");
    let honest = Answer::new(MANIFEST_TYPE, stage.honest.manifest.to_string());
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
    stage.registry.put_all(&manifest, [unavailable(), unavailable(), honest.clone()]);
    stage.takes_as_it_is();
    let before = stage.registry.count(&manifest);
    stage.registry.put(&manifest, unavailable());
    stage.refuses(&["503"]);
    assert_eq!(stage.registry.count(&manifest) - before, 5);
    let before = stage.registry.count(&manifest);
    stage.registry.put(&manifest, Answer::status(429).header("Retry-After", "999999"));
    let begun = Instant::now();
    stage.refuses(&["429"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(stage.registry.count(&manifest) - before, 1);
    stage.registry.put_all(&manifest, [Answer::status(429).header("Retry-After", "1"), honest]);
    stage.takes_as_it_is();
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_registry_that_never_believes_is_asked_a_few_times() {
    let stage = Stage::new();
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", stage.registry.address());
    let manifest = stage.manifest("latest");
    stage.registry.put(&manifest, Answer::status(401).header("WWW-Authenticate", realm));
    stage.registry.put("GET /token", Answer::new("application/json", r#"{"token":"abc"}"#));
    stage.refuses(&["pull access denied"]);
    assert!(stage.registry.count(&manifest) <= 4 && stage.registry.count("GET /token") <= 4);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_only_http_is_followed_and_never_to_the_local_link() {
    let stage = Stage::new();
    let manifest = stage.manifest("latest");
    let away = |location: &str| Answer::status(307).header("Location", location);
    for (location, words) in [
        ("file:///etc/passwd", "only plain http and https addresses are followed"),
        ("gopher://127.0.0.1/", "only plain http and https addresses are followed"),
        ("http://user:secret@127.0.0.1/", "only plain http and https addresses are followed"),
        ("http://169.254.169.254/latest/meta-data/", "address of the local link"),
        ("http://[fe80::1]/", "address of the local link"),
    ] {
        stage.registry.put(&manifest, away(location));
        stage.refuses(&[words]).stderr_lacks("secret");
        stage.reset();
        stage.registry.put(&stage.blob(&stage.honest.layers[0]), away(location));
        stage.refuses(&[words]);
        stage.reset();
    }
    stage.registry.put(&manifest, away("/v2/team/lie/manifests/latest"));
    stage.refuses(&["too many redirects"]);
    stage.reset();
    stage.registry.put("GET /blob", Answer::new("", stage.layers[0].clone()));
    stage.registry.put(&stage.blob(&stage.honest.layers[0]), away("/blob?signature=x"));
    stage.takes_as_it_is();
    assert!(stage.registry.count("GET /blob") > 0);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_tokens_come_by_http_and_are_short() {
    let stage = Stage::new();
    let manifest = stage.manifest("latest");
    let challenge = |realm: &str| {
        let header = format!("Bearer realm=\"{realm}\",service=\"s\"");
        stage.registry.put(&manifest, Answer::status(401).header("WWW-Authenticate", header));
    };
    let own = format!("http://{}/token", stage.registry.address());
    challenge("file:///etc/passwd");
    stage.refuses(&["only plain http and https addresses are followed"]);
    challenge("http://169.254.169.254/token");
    stage.refuses(&["address of the local link"]);
    for (answer, words) in [
        (Answer::new("application/json", "").manner(Manner::Endless), "larger than the limit"),
        (Answer::new("application/json", r#"{"token":"a\r\nX-Evil: 1"}"#), "no usable token"),
        (Answer::new("application/json", "{}"), "no usable token"),
        (Answer::status(302).header("Location", "http://127.0.0.1:1/"), "not fetched by redirects"),
    ] {
        challenge(&own);
        stage.registry.put("GET /token", answer);
        stage.refuses(&[words]);
    }
    stage.takes();
}
