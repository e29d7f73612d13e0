//! Stores that were damaged, or written by a newer version: what is wrong is said, and loading again mends it.

use crate::fault::{check_invariants, names_in};
use e2e::World;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

fn layer(world: &World) -> PathBuf {
    let layers = world.root().join("layer/sha256");
    let [name] = <[String; 1]>::try_from(names_in(&layers)).unwrap();
    layers.join(name)
}

fn config(world: &World) -> PathBuf {
    let blobs = world.root().join("image/blobs/sha256");
    let [name] = <[String; 1]>::try_from(names_in(&blobs)).unwrap();
    blobs.join(name)
}

/// Damages, checks that `command` says so, and that loading the image again mends it.
#[track_caller]
fn damaged(damage: impl Fn(&World), command: &[&str], said: &str) {
    let world = World::with_busybox();
    damage(&world);
    world.mica(command).failure().stderr_contains(said);
    world.mica(["ps", "-a"]).success();
    world.mica(["images"]).success();
    world.load_busybox();
    world.mica(["run", "--rm", "busybox", "true"]).success();
    world.mica(["save", "-o", "/dev/null", "busybox"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_cr_05_a_damaged_layer_is_told_and_mended_by_loading_it_again() {
    let save = ["save", "-o", "/dev/null", "busybox"];
    let run = ["run", "--rm", "busybox", "true"];
    damaged(|world| fs::remove_dir_all(layer(world).join("diff")).unwrap(), &run, "is damaged");
    damaged(|world| fs::remove_dir_all(layer(world)).unwrap(), &run, "is damaged");
    damaged(|world| fs::write(layer(world).join("layer.json"), "").unwrap(), &save, "layer.json");
    damaged(|world| fs::remove_file(layer(world).join("recipe.zst")).unwrap(), &save, "is damaged");
}

#[test]
#[ignore = "needs root"]
fn privileged_cr_05_a_flipped_bit_is_found_by_save() {
    let world = World::with_busybox();
    let program = layer(&world).join("diff/etc/passwd");
    let mut file = fs::OpenOptions::new().write(true).open(program).unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    file.write_all(b"!").unwrap();
    let output = world.scratch().join("saved.tar");
    world.mica(["save", "-o", output.to_str().unwrap(), "busybox"]).failure().stderr_contains("is damaged");
    assert!(!output.exists(), "a broken archive was left");
    world.mica(["rmi", "busybox"]).success();
    world.load_busybox();
    world.mica(["save", "-o", output.to_str().unwrap(), "busybox"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_cr_05_a_damaged_config_is_told_and_mended() {
    let inspect = ["history", "busybox"];
    damaged(|world| fs::write(config(world), "{}").unwrap(), &inspect, "has digest");
    damaged(|world| fs::remove_file(config(world)).unwrap(), &inspect, "is missing");
}

#[test]
#[ignore = "needs root"]
fn privileged_cr_11_a_store_of_a_newer_version_is_refused_and_not_touched() {
    let world = World::with_busybox();
    let path = world.root().join("mica.db");
    // Folded into one file, the header of which holds the version (SQLite, "Database File Format", 1.3).
    let log = fs::metadata(world.root().join("mica.db-wal")).unwrap().len();
    assert!(log > 0, "the store has no log to copy the version from");
    let mut bytes = fs::read(&path).unwrap();
    let newer = World::new();
    fs::create_dir_all(newer.root()).unwrap();
    if bytes.len() < 100 {
        bytes.resize(100, 0);
    }
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    let place = newer.root().join("mica.db");
    fs::write(&place, &bytes).unwrap();
    for command in [&["ps", "-a"][..], &["images"], &["load", "-i", "/dev/null"]] {
        newer.mica(command).code(1).stderr_contains("has format 99").stderr_contains("newer mica");
    }
    assert_eq!(fs::read(&place).unwrap(), bytes, "the newer store was changed");
    fs::remove_file(&place).unwrap();
    drop(fs::remove_file(newer.root().join("mica.db-wal")));
    drop(fs::remove_file(newer.root().join("mica.db-shm")));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_database_of_noise_is_told() {
    let world = World::new();
    let noise: Vec<u8> = (0..8192u32).map(|number| ((number * 7919) >> 3) as u8).collect();
    fs::write(world.root().join("mica.db"), noise).unwrap();
    world.mica(["ps"]).code(1).stderr_contains("mica.db").stderr_contains("not a database");
    fs::remove_file(world.root().join("mica.db")).unwrap();
}
