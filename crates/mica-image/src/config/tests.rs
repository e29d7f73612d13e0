//! Tests of reading and making configs.

use super::*;
use crate::document::digest_of;

fn parse(text: &str) -> Result<ImageConfig> {
    ImageConfig::parse(Document::from_bytes(text.as_bytes().to_vec()))
}

#[test]
fn reads_what_docker_writes_and_keeps_the_bytes() {
    let text = r#" {"architecture":"amd64","config":{"Hostname":"x","Env":["PATH=/bin"],"Cmd":["sh"],
        "Entrypoint":null,"Labels":{"a":"b","n":null},"OnBuild":null,"Volumes":{"/v":{}},
        "ExposedPorts":{"80/tcp":{}},"User":null,"ArgsEscaped":true,"Shell":["/bin/ash","-c"],
        "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000}},
        "container_config":{"Cmd":7},"created":"2024-01-02T03:04:05.6Z","docker_version":"1",
        "history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD x","comment":"why"},
                   {"created_by":"CMD","empty_layer":true,"comment":"last"}],
        "os":"linux","rootfs":{"type":"layers","diff_ids":[]},"unknown":[1]} "#;
    let image = parse(text).unwrap();
    assert_eq!(image.bytes(), text.as_bytes());
    assert_eq!(*image.id(), digest_of(text.as_bytes()));
    let config = image.config();
    assert_eq!(config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert_eq!(config.entrypoint, None);
    assert_eq!(config.labels["n"], "");
    assert!(config.volumes.contains("/v") && config.exposed_ports.contains("80/tcp"));
    assert_eq!(config.healthcheck.as_ref().unwrap().interval, 1_000_000_000);
    assert_eq!(image.created().to_string(), "2024-01-02T03:04:05.6Z");
    assert_eq!(image.comment(), "last");
    assert!(image.history()[1].empty_layer);
}

#[test]
fn reads_a_command_of_one_string_and_a_config_of_null() {
    let image = parse(r#"{"config":{"Cmd":"sh"},"rootfs":{"type":"layers","diff_ids":null}}"#).unwrap();
    assert_eq!(image.config().cmd.as_deref(), Some(&["sh".to_owned()][..]));
    let image = parse(r#"{"config":null,"history":null,"created":null,"rootfs":{}}"#).unwrap();
    assert_eq!(image.config(), &Config::default());
    assert!(image.created().is_never());
}

#[test]
fn tar_31_malformed_configs_are_errors() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"rootfs":null}"#,
        r#"{"rootfs":{"type":"other"}}"#,
        r#"{"rootfs":{"diff_ids":"x"}}"#,
        r#"{"rootfs":{},"config":{"Healthcheck":{"Test":["CMD"]}}}"#,
        r#"{"rootfs":{},"config":{"Healthcheck":{"Test":["CMD-SHELL"]}}}"#,
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    for test in ["[]", "null", r#"["NONE"]"#] {
        let text = format!(r#"{{"rootfs":{{}},"config":{{"Healthcheck":{{"Test":{test}}}}}}}"#);
        parse(&text).unwrap();
    }
    let image = parse(r#"{"rootfs":{"diff_ids":[]}}"#).unwrap();
    assert!(matches!(image.check_layer_count(1), Err(Error::LayerCount { layers: 1, diff_ids: 0, .. })));
    image.check_layer_count(0).unwrap();
}

#[test]
fn tar_30_a_path_is_no_diff_id() {
    assert!(parse(r#"{"rootfs":{"diff_ids":["sha256:../../../../etc/passwd"]}}"#).is_err());
}

#[test]
fn makes_the_same_bytes_from_the_same_parts() {
    let mut new = NewImage {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        created: Timestamp::from_seconds(1_700_000_000),
        ..NewImage::default()
    };
    new.config.cmd = Some(vec!["sh".to_owned()]);
    new.push_layer(digest_of(b"layer"), History { created_by: "import".to_owned(), ..History::default() });
    let image = new.clone().into_config().unwrap();
    assert_eq!(
        String::from_utf8_lossy(image.bytes()),
        format!(
            r#"{{"architecture":"amd64","config":{{"Cmd":["sh"]}},"created":"2023-11-14T22:13:20Z","history":[{{"created_by":"import"}}],"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest_of(b"layer")
        )
    );
    assert_eq!(new.clone().into_config().unwrap().id(), image.id());
    let child = NewImage::from_parent(&image);
    assert_eq!((child.config, child.diff_ids), (new.config, new.diff_ids));
}
