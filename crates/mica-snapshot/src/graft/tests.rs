//! What is found, told apart and copied.

use super::*;
use crate::remove::open_root;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn all(_: &SourcePath<'_>) -> Verdict {
    Verdict::Take
}

fn context() -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    let at = |path: &str| context.path().join(path);
    fs::create_dir_all(at("source/deep")).unwrap();
    fs::write(at("source/one.txt"), "one").unwrap();
    fs::write(at("source/deep/two.txt"), "two").unwrap();
    symlink("one.txt", at("source/link")).unwrap();
    symlink("/source/deep", at("inward")).unwrap();
    symlink("/etc", at("outward")).unwrap();
    fs::hard_link(at("source/one.txt"), at("source/twin.txt")).unwrap();
    context
}

fn paths(root: &Path, pattern: &str) -> Result<Vec<String>> {
    let root = open_root(root)?;
    let found = find(root.as_fd(), pattern.as_bytes(), &all)?;
    Ok(found.iter().map(|source| String::from_utf8_lossy(source.path()).into_owned()).collect())
}

#[test]
fn names_lead_to_what_is_in_the_tree_and_nowhere_else() {
    let context = context();
    assert_eq!(paths(context.path(), "source/*.txt").unwrap(), ["source/one.txt", "source/twin.txt"]);
    assert_eq!(paths(context.path(), "/source/../source/./deep/").unwrap(), ["source/deep"]);
    assert_eq!(paths(context.path(), "inward/two.txt").unwrap(), ["source/deep/two.txt"]);
    assert_eq!(paths(context.path(), "../..").unwrap(), [""]);
    assert!(paths(context.path(), "nothing*").unwrap().is_empty());
    for absent in ["outward", "outward/passwd", "../../../../etc/passwd", "nothing"] {
        assert!(paths(context.path(), absent).is_err(), "{absent}");
    }
}

fn copy(context: &Path, pattern: &str, target: &Path, path: &str, filter: Filter<'_>) -> Result<()> {
    let (root, target) = (open_root(context)?, open_root(target)?);
    let options = GraftOptions { keep_owners: true, ..GraftOptions::default() };
    for source in find(root.as_fd(), pattern.as_bytes(), filter)? {
        let destination =
            Destination { root: target.as_fd(), path: path.as_bytes(), is_directory: path.ends_with('/') };
        graft(&source, filter, &destination, &options)?;
    }
    Ok(())
}

#[test]
fn a_directory_gives_what_is_in_it_and_a_file_itself() {
    let (context, target) = (context(), tempfile::tempdir().unwrap());
    let at = |path: &str| target.path().join(path);
    copy(context.path(), "source", target.path(), "/app", &all).unwrap();
    assert_eq!(fs::read(at("app/deep/two.txt")).unwrap(), b"two");
    assert_eq!(fs::read_link(at("app/link")).unwrap(), Path::new("one.txt"));
    assert_eq!(at("app/one.txt").metadata().unwrap().ino(), at("app/twin.txt").metadata().unwrap().ino());
    copy(context.path(), "source/one.txt", target.path(), "/app/new/name", &all).unwrap();
    assert_eq!(fs::read(at("app/new/name")).unwrap(), b"one");
    copy(context.path(), "inward/two.txt", target.path(), "/app/new", &all).unwrap();
    assert_eq!(fs::read(at("app/new/two.txt")).unwrap(), b"two");
    let error = copy(context.path(), "source", target.path(), "/app/one.txt", &all).unwrap_err();
    assert!(matches!(error, Error::NotDirectory { .. }), "{error}");
}

#[test]
fn a_directory_that_was_named_gives_its_permissions_only_when_asked() {
    let (context, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(context.path().join("top/below")).unwrap();
    for path in ["top", "top/below"] {
        fs::set_permissions(context.path().join(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let (root, tree) = (open_root(context.path()).unwrap(), open_root(target.path()).unwrap());
    for (name, keep_top, mode) in [("plain", false, 0o755), ("kept", true, 0o700)] {
        let options = GraftOptions { keep_owners: true, keep_top, ..GraftOptions::default() };
        let destination = Destination { root: tree.as_fd(), path: name.as_bytes(), is_directory: false };
        for source in find(root.as_fd(), b"top", &all).unwrap() {
            graft(&source, &all, &destination, &options).unwrap();
        }
        let mode_of = |path: &str| target.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode_of(name), mode_of(&format!("{name}/below"))), (mode, 0o700));
    }
}

#[test]
fn links_in_the_target_stay_within_it() {
    let (context, target) = (context(), tempfile::tempdir().unwrap());
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), target.path().join("out")).unwrap();
    fs::create_dir(target.path().join("real")).unwrap();
    symlink("/real", target.path().join("in")).unwrap();
    copy(context.path(), "source/one.txt", target.path(), "/in/", &all).unwrap();
    assert_eq!(fs::read(target.path().join("real/one.txt")).unwrap(), b"one");
    let _ = copy(context.path(), "source/one.txt", target.path(), "/out/", &all);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn what_a_filter_hides_is_not_there() {
    let (context, target) = (context(), tempfile::tempdir().unwrap());
    let filter = |path: &SourcePath<'_>| match path.in_tree {
        b"source/deep/two.txt" | b"" => Verdict::Take,
        _ if path.is_directory => Verdict::Skip,
        _ => Verdict::SkipAll,
    };
    copy(context.path(), ".", target.path(), "/", &filter).unwrap();
    assert!(target.path().join("source/deep/two.txt").exists());
    assert_eq!(fs::read_dir(target.path().join("source")).unwrap().count(), 1);
    assert!(copy(context.path(), "source/one.txt", target.path(), "/", &filter).is_err());
    assert!(copy(context.path(), "source/link", target.path(), "/", &filter).is_err());
}

fn digest_of(context: &Path, memory: Option<&Path>) -> mica_model::Digest {
    let root = open_root(context).unwrap();
    let source = find(root.as_fd(), b".", &all).unwrap().remove(0);
    let mut memory = memory.map(|path| HashMemory::open(path).unwrap());
    let found = digest(&source, &all, true, memory.as_mut()).unwrap();
    if let Some(memory) = memory {
        memory.save().unwrap();
    }
    found
}

#[test]
fn digests_see_every_change_but_that_of_time() {
    let context = context();
    let file = context.path().join("source/one.txt");
    let before = digest_of(context.path(), None);
    fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(digest_of(context.path(), None), before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let other = digest_of(context.path(), None);
    assert_ne!(other, before);
    fs::write(&file, "eno").unwrap();
    assert_ne!(digest_of(context.path(), None), other);
}

#[test]
fn a_memory_gives_the_digests_that_reading_gives() {
    let (context, scratch) = (context(), tempfile::tempdir().unwrap());
    let memory = scratch.path().join("memory");
    // Names that sort otherwise as paths than as components.
    for name in ["source/deep-er", "source/deep.txt", "a"] {
        fs::write(context.path().join(name), name).unwrap();
    }
    let old = std::time::SystemTime::now();
    while old.elapsed().unwrap() < std::time::Duration::from_millis(60) {
        std::thread::yield_now();
    }
    let plain = digest_of(context.path(), None);
    assert_eq!(digest_of(context.path(), Some(&memory)), plain);
    assert!(fs::metadata(&memory).unwrap().len() > 5 * 82);
    assert_eq!(digest_of(context.path(), Some(&memory)), plain);
    fs::write(context.path().join("source/deep/two.txt"), "owt").unwrap();
    let changed = digest_of(context.path(), Some(&memory));
    assert_ne!(changed, plain);
    assert_eq!(changed, digest_of(context.path(), None));
    fs::write(&memory, "damaged").unwrap();
    assert_eq!(digest_of(context.path(), Some(&memory)), changed);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn many_files_are_copied_by_several_threads_and_none_is_another() {
    let (context, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = |number: usize| vec![u8::try_from(number % 251).unwrap(); number * 37 % 20_000];
    for number in 0..400 {
        let directory = context.path().join(format!("source/{}", number % 7));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(number.to_string());
        fs::write(&file, content(number)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640 + u32::from(number % 2 == 0))).unwrap();
    }
    // More than is read in one piece, more than this process copies itself, and names of one file.
    fs::write(context.path().join("source/large"), vec![3; 9 << 20]).unwrap();
    fs::write(context.path().join("source/medium"), vec![4; 3 << 20]).unwrap();
    fs::hard_link(context.path().join("source/large"), context.path().join("source/twin")).unwrap();
    copy(context.path(), "source", target.path(), "/", &all).unwrap();
    for number in 0..400 {
        let path = format!("{}/{number}", number % 7);
        let (from, to) = (context.path().join("source").join(&path), target.path().join(&path));
        assert_eq!(fs::read(&to).unwrap(), content(number), "{number}");
        let status =
            |path: &Path| path.metadata().map(|status| (status.mode(), status.mtime(), status.mtime_nsec()));
        assert_eq!(status(&from).unwrap(), status(&to).unwrap(), "{number}");
    }
    assert_eq!(fs::read(target.path().join("large")).unwrap(), vec![3; 9 << 20]);
    assert_eq!(fs::read(target.path().join("medium")).unwrap(), vec![4; 3 << 20]);
    let inode = |name: &str| target.path().join(name).metadata().unwrap().ino();
    assert_eq!(inode("large"), inode("twin"));
}

#[test]
fn holes_stay_holes() {
    use std::os::unix::fs::FileExt;
    let (context, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(context.path().join("source")).unwrap();
    for (name, size, pieces) in [
        ("empty", 64 << 20, &[][..]),
        ("ends", 64 << 20, &[0, (64 << 20) - 6]),
        ("middle", 64 << 20, &[20 << 20, 40 << 20]),
        ("none", 1 << 20, &[]),
    ] {
        let file = fs::File::create(context.path().join("source").join(name)).unwrap();
        file.set_len(size).unwrap();
        pieces.iter().for_each(|offset| file.write_all_at(b"pieces", *offset).unwrap());
    }
    copy(context.path(), "source", target.path(), "/", &all).unwrap();
    for name in ["empty", "ends", "middle", "none"] {
        let (from, to) = (context.path().join("source").join(name), target.path().join(name));
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap(), "{name}");
        let blocks = |path: &Path| path.metadata().unwrap().blocks();
        assert!(
            blocks(&to) <= blocks(&from),
            "{name} has {} blocks instead of {}",
            blocks(&to),
            blocks(&from)
        );
    }
}

#[test]
fn many_files_are_digested_by_several_threads_in_the_order_of_their_names() {
    let context = tempfile::tempdir().unwrap();
    let tree = context.path().join("source");
    for number in 0..300 {
        let directory = tree.join((number % 7).to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), vec![u8::try_from(number % 251).unwrap(); number * 61])
            .unwrap();
    }
    let root = open_root(context.path()).unwrap();
    let remembered = context.path().join("memory");
    let take = |path: &SourcePath<'_>| match path.in_tree.starts_with(b"source") {
        true => Verdict::Take,
        false => Verdict::SkipAll,
    };
    let now = |memory: bool| {
        let source = &find(root.as_fd(), b"source", &take).unwrap()[0];
        let mut memory = memory.then(|| HashMemory::open(&remembered).unwrap());
        let digest = digest(source, &take, false, memory.as_mut()).unwrap();
        memory.into_iter().for_each(|memory| memory.save().unwrap());
        digest
    };
    let first = now(false);
    assert_eq!([now(true), now(true), now(false)], [first; 3]);
    // Two files change places: all contents are there, in another order.
    fs::rename(tree.join("0/7"), tree.join("0/x")).unwrap();
    fs::rename(tree.join("0/14"), tree.join("0/7")).unwrap();
    fs::rename(tree.join("0/x"), tree.join("0/14")).unwrap();
    let second = now(true);
    assert_ne!(first, second);
    assert_eq!(now(false), second);
}
