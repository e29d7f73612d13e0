//! From archives to layers to mounts and back.

use super::*;
use crate::{ChangeKind, LayerKey, OverlayMount, UpperSource, changes, export_tree, tar_of_changes};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, symlink};

fn register(world: &World, corpus: &Corpus) -> LayerKey {
    let layer = world.ingest(corpus).unwrap();
    world.store.sync().unwrap();
    layer.register(None).unwrap()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_layer_gives_its_archive_again_until_it_is_damaged() {
    let world = World::new();
    let mut corpus = Corpus::default();
    corpus.directory("etc").file("etc/passwd", b"root").file("big", &vec![0; 300_000]).link("same", "big");
    let key = register(&world, &corpus);
    assert_eq!(register(&world, &corpus), key, "again");
    assert_eq!(world.store.find(&key.diff_id, &[]).unwrap(), Some(key));
    let mut again = Vec::new();
    world.store.write_tar(&key, &mut again).unwrap();
    assert!(again == corpus.finish());
    assert_eq!(fs::metadata(world.store.tree(&key).join("big")).unwrap().blocks(), 0, "zeros are a hole");
    fs::write(world.store.tree(&key).join("etc/passwd"), "evil").unwrap();
    let damaged = world.store.write_tar(&key, std::io::sink()).unwrap_err();
    assert_eq!(damaged.kind(), mica_model::ErrorKind::DataLoss);
    world.store.remove(&key).unwrap();
    assert!(matches!(world.store.record(&key), Err(Error::UnknownLayer { .. })));
    let wrong = mica_model::Digest::from_bytes([0; 32]);
    assert!(matches!(
        world.ingest(&corpus).unwrap().register(Some(&wrong)),
        Err(Error::DigestMismatch { .. })
    ));
    world.check();
}

#[test]
#[ignore = "needs root"]
fn privileged_debts_are_paid_from_below() {
    let world = World::new();
    let mut base = Corpus::default();
    base.entry("srv", EntryKind::Directory, Metadata { uid: 5, gid: 6, ..metadata(0o2750) });
    base.directory("bin").file_with("bin/tool", b"tool", Metadata { uid: 7, ..metadata(0o4755) });
    let base = register(&world, &base);
    let mut upper = Corpus::default();
    upper
        .file("srv/new", b"x")
        .file("opt/deep/f", b"y")
        .link("bin/alias", "bin/tool")
        .link("third", "bin/alias");
    let mut layer = world.ingest(&upper).unwrap();
    assert!(layer.has_debts());
    layer.settle(&[base.diff_id], &[world.store.tree(&base)]).unwrap();
    let stat = |name| fs::metadata(layer.tree().join(name)).unwrap();
    let srv = stat("srv");
    assert_eq!((srv.mode() & 0o7777, srv.uid(), srv.gid(), srv.mtime()), (0o2750, 5, 6, 1_000_000_000));
    assert_eq!((stat("opt").mode() & 0o7777, stat("opt").uid()), (0o755, 0));
    assert_eq!((stat("bin/tool").ino(), stat("bin/tool").mode() & 0o7777), (stat("third").ino(), 0o4755));
    assert_eq!((stat("bin").mtime(), stat("bin/alias").uid()), (1_000_000_000, 7));
    let key = layer.register(None).unwrap();
    assert_eq!(key.chain, Some(base.diff_id));
    assert_eq!(world.store.find(&key.diff_id, &[base.diff_id]).unwrap(), Some(key));
    assert_eq!(world.store.find(&key.diff_id, &[]).unwrap(), None);
    assert!(world.store.list().unwrap().contains(&key));
    let mut again = Vec::new();
    world.store.write_tar(&key, &mut again).unwrap();
    assert!(again == upper.finish());
    assert!(matches!(world.ingest(&upper).unwrap().register(None), Err(Error::Unsettled { .. })));
}

#[test]
#[ignore = "needs root"]
fn privileged_tidy_leaves_what_lives() {
    let world = World::new();
    let alive = world.ingest(Corpus::default().file("f", b"x")).unwrap();
    fs::create_dir_all(world.store.ingests().join("dead/diff/d")).unwrap();
    fs::write(world.store.ingests().join("dead.lock"), "").unwrap();
    fs::create_dir(world.store.ingests().join("lockless")).unwrap();
    world.store.tidy().unwrap();
    assert!(alive.tree().join("f").exists());
    assert_eq!(fs::read_dir(world.store.ingests()).unwrap().count(), 2);
    drop(alive);
    world.check();
}

#[test]
#[ignore = "needs root"]
fn privileged_changes_of_a_container_become_a_layer() {
    let world = World::new();
    let mut base = Corpus::default();
    base.directory("etc").file("etc/hosts", b"old").file("etc/kept", b"k").file("etc/gone", b"g");
    base.directory("var").directory("var/cache").file("var/cache/a", b"a").file("var/cache/b", b"b");
    base.directory("same").file("same/f", b"f").directory("tmp");
    let base = register(&world, &base);
    let lowers = vec![world.store.tree(&base)];
    let scratch = world.canary.parent().unwrap();
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let mount = OverlayMount {
        lowers: lowers.clone(),
        upper: Some(upper.clone()),
        work: Some(work),
        volatile: false,
    };
    let root = mount.mount_detached(false).unwrap();
    let at = |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", root.as_raw_fd()));
    change(at);
    let _socket = std::os::unix::net::UnixListener::bind(at("tmp/socket")).unwrap();

    let mut exported = Vec::new();
    export_tree(root.as_fd(), &mut exported).unwrap();
    drop(root);
    let found: Vec<_> = changes(&upper, &lowers)
        .unwrap()
        .iter()
        .map(|c| (letter(c.kind), c.path.display().to_string()))
        .collect();
    let expected = [
        ('C', "/etc"),
        ('D', "/etc/gone"),
        ('C', "/etc/hosts"),
        ('C', "/tmp"),
        ('A', "/tmp/link"),
        ('A', "/tmp/new"),
        ('A', "/tmp/other"),
        ('A', "/tmp/socket"),
        ('C', "/var"),
        ('C', "/var/cache"),
        ('D', "/var/cache/a"),
        ('C', "/var/cache/b"),
    ];
    assert_eq!(found, expected.map(|(kind, path)| (kind, path.to_owned())));

    let mut archive = Vec::new();
    tar_of_changes(&upper, &mut archive).unwrap();
    let copied = world.store.ingest_upper(&upper, UpperSource::Copy).unwrap();
    let consumed = world.store.ingest_upper(&upper, UpperSource::Consume).unwrap();
    assert!(!upper.exists());
    assert_eq!(copied.diff_id(), consumed.diff_id());
    assert_eq!(copied.record(), consumed.record());
    for layer in [copied, consumed] {
        assert!(!layer.has_debts());
        assert!(is_whiteout(&layer.tree().join("etc/gone")) && is_opaque(&layer.tree().join("var/cache")));
        let stacked =
            OverlayMount { lowers: vec![layer.tree(), lowers[0].clone()], ..OverlayMount::default() };
        let root = stacked.mount_detached(true).unwrap();
        let mut again = Vec::new();
        export_tree(root.as_fd(), &mut again).unwrap();
        assert!(again == exported, "the same tree as the container's");
        drop(root);
        let key = layer.register(None).unwrap();
        let mut written = Vec::new();
        world.store.write_tar(&key, &mut written).unwrap();
        assert!(written == archive);
    }
    world.check();
}

/// What the container of the test above does.
fn change(at: impl Fn(&str) -> PathBuf) {
    fs::write(at("etc/hosts"), "changed").unwrap();
    fs::remove_file(at("etc/gone")).unwrap();
    fs::remove_dir_all(at("var/cache")).unwrap();
    fs::create_dir(at("var/cache")).unwrap();
    fs::write(at("var/cache/b"), "new b").unwrap();
    fs::write(at("tmp/new"), "n").unwrap();
    fs::hard_link(at("tmp/new"), at("tmp/other")).unwrap();
    symlink("/etc/hosts", at("tmp/link")).unwrap();
    fs::set_permissions(at("same"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

fn letter(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_an_opaque_root_hides_all_below() {
    let world = World::new();
    let base = register(&world, Corpus::default().file("old", b"x"));
    let upper = register(&world, Corpus::default().file(".wh..wh..opq", b"").file("new", b"x"));
    let lowers = [&upper, &base].map(|key| world.store.tree(key)).to_vec();
    let root = OverlayMount { lowers, ..OverlayMount::default() }.mount_detached(true).unwrap();
    let names = crate::node::names(root.as_fd()).unwrap();
    assert_eq!(names, [c"new".to_owned()]);
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_34_what_is_hard_to_archive_survives() {
    let world = World::new();
    let upper = world.canary.parent().unwrap().join("upper");
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    fs::create_dir_all(upper.join("d".repeat(200))).unwrap();
    fs::write(upper.join(&long), "long").unwrap();
    std::os::unix::fs::chown(upper.join(&long), Some(3_000_000), Some(4_000_000_000)).unwrap();
    let before_1970 = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
    let file = fs::File::options().write(true).open(upper.join(&long)).unwrap();
    file.set_modified(before_1970).unwrap();
    fs::File::create(upper.join("holes")).unwrap().set_len(100 << 20).unwrap();
    symlink("/etc/absolute", upper.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();

    let layer = world.store.ingest_upper(&upper, UpperSource::Copy).unwrap();
    let stat = fs::metadata(layer.tree().join(&long)).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mtime()), (3_000_000, 4_000_000_000, -1));
    let holes = fs::metadata(layer.tree().join("holes")).unwrap();
    assert_eq!(holes.len(), 100 << 20);
    assert!(holes.blocks() < 200, "only the ends of what was read at once are written");
    assert_eq!(fs::read_link(layer.tree().join("link")).unwrap(), Path::new("/etc/absolute"));
    assert!(!layer.tree().join("socket").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_08_swapping_directories_meanwhile_does_not_lead_outside() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = World::new();
    let root = world.canary.parent().unwrap().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    symlink(&world.canary, root.join("link")).unwrap();
    let mut corpus = Corpus::default();
    for index in 0..3000 {
        corpus.file(&format!("d/{index}"), b"x").directory("e");
    }
    let (archive, stop) = (corpus.finish(), AtomicBool::new(false));
    let directory = crate::remove::open_root(&root).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&directory, "d", &directory, "link", exchange).unwrap();
            }
        });
        for _ in 0..20 {
            // Failing is right, so is succeeding; only writing to the canary is not.
            let options = crate::archive::WriteOptions::default();
            let _ = crate::archive::write_archive(directory.as_fd(), b"/", &archive[..], options);
        }
        stop.store(true, Ordering::Relaxed);
    });
    world.check();
}

#[test]
#[ignore = "needs root"]
fn privileged_many_processes_may_register_the_same_layer() {
    let world = World::new();
    let mut corpus = Corpus::default();
    corpus.file("f", b"x");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| register(&world, &corpus))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    world.check();
}
