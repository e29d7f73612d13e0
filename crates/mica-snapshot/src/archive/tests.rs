//! The container is hostile: links, names and special files must never lead out of it.

use super::*;
use crate::tests::Corpus;
use std::fs;
use std::os::unix::fs::symlink;

struct Tree {
    _scratch: tempfile::TempDir,
    outside: PathBuf,
    path: PathBuf,
    root: OwnedFd,
}

fn tree() -> Tree {
    let scratch = tempfile::tempdir().unwrap();
    let (path, outside) = (scratch.path().join("root"), scratch.path().join("outside"));
    fs::create_dir(&path).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "SECRET").unwrap();
    fs::create_dir_all(path.join("etc/sub")).unwrap();
    fs::write(path.join("etc/hosts"), "hosts").unwrap();
    symlink("/etc", path.join("absolute")).unwrap();
    symlink("../../../..", path.join("up")).unwrap();
    symlink(&outside, path.join("out")).unwrap();
    symlink("nowhere/../x", path.join("dangling")).unwrap();
    let root = open_tree_root(&path).unwrap();
    Tree { _scratch: scratch, outside, path, root }
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(archive, NoTap);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.name).unwrap());
    }
    names
}

fn read(tree: &Tree, path: &str, link: LastLink) -> Result<Vec<String>> {
    let mut out = Vec::new();
    read_path(tree.root.as_fd(), path.as_bytes(), link, &mut out)?;
    Ok(names(&out))
}

#[test]
fn names_of_what_is_read_are_dockers() {
    let tree = tree();
    assert_eq!(read(&tree, "/etc", LastLink::Keep).unwrap(), ["etc/", "etc/hosts", "etc/sub/"]);
    assert_eq!(read(&tree, "etc/.", LastLink::Keep).unwrap(), ["./", "./hosts", "./sub/"]);
    assert_eq!(read(&tree, "/absolute/", LastLink::Keep).unwrap()[0], "absolute/");
    assert_eq!(read(&tree, "/absolute", LastLink::Keep).unwrap(), ["absolute"]);
    assert_eq!(read(&tree, "/absolute", LastLink::Follow).unwrap()[1], "absolute/hosts");
    assert_eq!(read(&tree, "/absolute/hosts", LastLink::Keep).unwrap(), ["hosts"]);
    assert!(read(&tree, "/absolute/none", LastLink::Keep).is_err());
}

#[test]
fn cp_04_links_are_read_within_the_root() {
    let tree = tree();
    assert!(read(&tree, "/out/secret", LastLink::Keep).is_err());
    assert!(read(&tree, "/out", LastLink::Follow).is_err());
    assert_eq!(read(&tree, "/up/etc/hosts", LastLink::Keep).unwrap(), ["hosts"]);
    assert_eq!(read(&tree, "/../../etc/hosts", LastLink::Keep).unwrap(), ["hosts"]);
}

#[test]
fn stat_is_dockers() {
    let tree = tree();
    let stat = |path: &str| stat_path(tree.root.as_fd(), path.as_bytes()).unwrap();
    assert_eq!((stat("/etc").mode >> 31, stat("/etc").name), (1, "etc".into()));
    assert_eq!(stat("/etc/hosts").size, 5);
    assert_eq!(stat("/absolute").link_target, Some("/etc".into()));
    assert_eq!(stat("/up").link_target, Some("/".into()));
    assert_eq!(stat("/dangling").link_target, Some("/x".into()));
    assert_eq!(stat("/absolute/").link_target, None);
    assert_eq!(stat("/absolute").mode >> 27, 1);
}

#[test]
fn cp_07_special_files_are_not_read() {
    let tree = tree();
    let fifo = rustix::fs::mknodat(&tree.root, "fifo", FileType::Fifo, Mode::RUSR, 0);
    fifo.unwrap();
    assert_eq!(read(&tree, "/fifo", LastLink::Keep).unwrap(), ["fifo"]);
    let _listener = std::os::unix::net::UnixListener::bind(tree.path.join("etc/socket")).unwrap();
    assert_eq!(read(&tree, "/etc", LastLink::Keep).unwrap(), ["etc/", "etc/hosts", "etc/sub/"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_cp_01_writing_through_links_stays_inside() {
    let tree = tree();
    let mut corpus = Corpus::default();
    corpus.file("f", b"new").symlink("l", tree.outside.to_str().unwrap()).file("sub/g", b"g");
    let write = |path: &str, archive: &[u8]| {
        write_archive(tree.root.as_fd(), path.as_bytes(), archive, WriteOptions::default())
    };
    let archive = corpus.finish();
    assert!(write("/out", &archive).is_err(), "its target is not inside");
    assert!(matches!(write("/etc/hosts", &archive), Err(Error::NotDirectory { .. })));
    write("/absolute", &archive).unwrap();
    assert_eq!(fs::read(tree.path.join("etc/f")).unwrap(), b"new");
    assert_eq!(fs::read(tree.path.join("etc/sub/g")).unwrap(), b"g");
    let mut through = Corpus::default();
    through.file("l/planted", b"x");
    assert!(write("/etc", &through.finish()).is_err());
    let mut twin = Corpus::default();
    twin.file("absolute/inside", b"x");
    write("/", &twin.finish()).unwrap();
    assert_eq!(fs::read(tree.path.join("etc/inside")).unwrap(), b"x");
    assert_eq!(fs::read_dir(&tree.outside).unwrap().count(), 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_kinds_are_kept_if_asked() {
    let tree = tree();
    let mut corpus = Corpus::default();
    corpus.file("sub", b"now a file");
    let archive = corpus.finish();
    let keep = WriteOptions { keep_kinds: true, owner: None };
    let error = write_archive(tree.root.as_fd(), b"/etc", &archive[..], keep).unwrap_err();
    assert!(matches!(error, Error::Overwrite { kind: "directory", .. }), "{error}");
    let owned = WriteOptions { keep_kinds: false, owner: Some((7, 8)) };
    write_archive(tree.root.as_fd(), b"/etc", &archive[..], owned).unwrap();
    let stat = node::stat(tree.root.as_fd(), c"etc/sub").unwrap().unwrap();
    assert_eq!((stat.st_uid, stat.st_gid), (7, 8));
}
