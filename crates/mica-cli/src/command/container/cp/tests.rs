//! Copies both ways through an engine that only remembers, and archives that mean harm.

use super::place::Placement;
use super::unpack::{Target, UnpackError, unpack};
use crate::fake::{FakeEngine, run_in};
use mica_api::types::container::PathStat;
use mica_model::Timestamp;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o640 });
    header.set_mtime(1_000_000_000);
    header.set_size(size);
    // Written by hand, because the builder refuses what a hostile archive holds.
    let bytes = name.as_bytes();
    header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
    header
}

fn add(archive: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &str) {
    let size = if kind == EntryType::Regular { content.len() as u64 } else { 0 };
    let mut header = header(name, kind, size);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name(content).unwrap();
    }
    header.set_cksum();
    archive.append(&header, &content.as_bytes()[..usize::try_from(size).unwrap()]).unwrap();
}

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    entries.iter().for_each(|(name, kind, content)| add(&mut archive, name, *kind, content));
    archive.into_inner().unwrap()
}

fn unpack_into(directory: &Path, name: &str, entries: &[(&str, EntryType, &str)]) -> Result<(), UnpackError> {
    let placement = Placement { directory: directory.to_owned(), name: PathBuf::from(name) };
    unpack(archive(entries).as_slice(), Target::open(&placement, false).unwrap())
}

fn stat(name: &str, mode: u32) -> PathStat {
    PathStat { name: name.to_owned(), size: 0, mode, mtime: Timestamp::NEVER, link_target: String::new() }
}

const DIRECTORY: u32 = 1 << 31 | 0o755;

#[test]
fn a_tree_gets_the_name_it_is_given() {
    let scratch = tempfile::tempdir().unwrap();
    unpack_into(
        scratch.path(),
        "new",
        &[
            ("old/", EntryType::Directory, ""),
            ("old/file", EntryType::Regular, "content"),
            ("old/link", EntryType::Symlink, "/etc/passwd"),
            ("old/same", EntryType::Link, "old/file"),
        ],
    )
    .unwrap();
    let new = scratch.path().join("new");
    assert_eq!(fs::read_to_string(new.join("same")).unwrap(), "content");
    assert_eq!(fs::read_link(new.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(fs::metadata(new.join("file")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn nothing_is_written_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    let inside = scratch.path().join("inside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&inside).unwrap();
    let outside_name = outside.to_str().unwrap();
    for entries in [
        vec![("r/", EntryType::Directory, ""), ("r/../../outside/x", EntryType::Regular, "bad")],
        vec![("r/", EntryType::Directory, ""), ("s/x", EntryType::Regular, "bad")],
        vec![
            ("r/", EntryType::Directory, ""),
            ("r/a", EntryType::Symlink, outside_name),
            ("r/a/x", EntryType::Regular, "bad"),
        ],
        vec![("r/", EntryType::Directory, ""), ("r/b", EntryType::Link, "../outside/secret")],
        vec![
            ("r/", EntryType::Directory, ""),
            ("r/c", EntryType::Symlink, outside_name),
            ("r/c/", EntryType::Directory, ""),
        ],
    ] {
        assert!(unpack_into(&inside, "r", &entries).is_err(), "{entries:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{entries:?}");
    }
}

#[test]
fn links_at_the_destination_are_replaced_not_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let secret = scratch.path().join("secret");
    let inside = scratch.path().join("inside");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(&inside).unwrap();
    symlink(&secret, inside.join("file")).unwrap();
    unpack_into(&inside, "file", &[("file", EntryType::Regular, "new")]).unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_to_string(inside.join("file")).unwrap(), "new");
}

#[test]
fn directories_and_files_never_replace_each_other() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("x")).unwrap();
    let file = unpack_into(scratch.path(), "x", &[("x", EntryType::Regular, "new")]);
    assert!(matches!(file, Err(UnpackError::Overwrite { .. })), "{file:?}");
}

#[test]
fn a_file_is_copied_out_under_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let engine = FakeEngine {
        paths: vec![("/etc/hosts".to_owned(), stat("hosts", 0o644))],
        archive: archive(&[("hosts", EntryType::Regular, "localhost\n")]),
        ..FakeEngine::new()
    };
    let to = scratch.path().to_str().unwrap();
    let ran = run_in(&["cp", "web:/etc/hosts", to], &[], &engine);
    assert_eq!((ran.code, ran.error.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(scratch.path().join("hosts")).unwrap(), "localhost\n");
    let renamed = scratch.path().join("other");
    let ran = run_in(&["cp", "-q=false", "web:/etc/hosts", renamed.to_str().unwrap()], &[], &engine);
    assert_eq!(fs::read_to_string(&renamed).unwrap(), "localhost\n");
    assert!(ran.error.starts_with("Successfully copied "), "{}", ran.error);
    let stream = run_in(&["cp", "web:/etc/hosts", "-"], &[], &engine);
    assert_eq!(stream.output.len(), engine.archive.len());
}

#[test]
fn a_tree_is_copied_in_by_name_or_contents() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/file"), "content").unwrap();
    let engine = FakeEngine {
        paths: vec![("/".to_owned(), stat("/", DIRECTORY)), ("/srv".to_owned(), stat("srv", DIRECTORY))],
        ..FakeEngine::new()
    };
    let names = |from: String, to: &str| {
        engine.received.lock().unwrap().clear();
        let ran = run_in(&["cp", &from, to], &[], &engine);
        assert_eq!(ran.code, 0, "{}", ran.error);
        let bytes = engine.received.lock().unwrap().clone();
        let names: Vec<_> = tar::Archive::new(bytes.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        (ran.requests.last().cloned().unwrap(), names)
    };
    let tree = tree.to_str().unwrap();
    let into = |directory: &str| format!("unpack into {directory} web");
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let whole = list(&["tree", "tree/sub", "tree/sub/file"]);
    assert_eq!(names(tree.to_owned(), "web:/srv"), (into("/srv"), whole));
    assert_eq!(names(format!("{tree}/."), "web:/srv"), (into("/srv"), list(&[".", "sub", "sub/file"])));
    assert_eq!(names(tree.to_owned(), "web:/new"), (into("/"), list(&["new", "new/sub", "new/sub/file"])));
}

#[test]
fn wrong_copies_are_refused() {
    let engine = FakeEngine::new();
    for (arguments, words) in [
        (["a", "b"], "must specify at least one container source\n"),
        (["a:b", "c:d"], "copying between containers is not supported\n"),
        (["/does/not/exist", "web:/srv"], "lstat /does/not/exist: no such file or directory\n"),
        (["web:/missing", "/tmp"], "Error: Could not find the file /missing in container web\n"),
        (["./a:b", "c"], "must specify at least one container source\n"),
    ] {
        let engine =
            FakeEngine { paths: vec![("/srv".to_owned(), stat("srv", DIRECTORY))], ..engine.clone() };
        let ran = run_in(&["cp", arguments[0], arguments[1]], &[], &engine);
        assert_eq!((ran.code, ran.error.as_str()), (1, words));
    }
}
