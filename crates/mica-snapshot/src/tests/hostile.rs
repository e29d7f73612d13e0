//! One test per row of the list of known attacks on layer extraction, with harmless twins.

use super::*;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

#[test]
#[ignore = "needs root"]
fn privileged_tar_01_names_that_lead_outside_are_refused() {
    let world = World::new();
    for name in ["../x", "/../x", "a/../../x", "..", "a/..", "../l-evil/x"] {
        world.refuses(Corpus::default().file(name, b"x"));
        world.refuses(Corpus::default().directory("a").link("l", name));
    }
    let layer = world.settled(Corpus::default().file("/..a/./b..", b"x"), &[]).unwrap();
    assert_eq!(fs::read(layer.tree().join("..a/b..")).unwrap(), b"x");
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_02_03_06_links_do_not_lead_outside() {
    let world = World::new();
    let canary = world.canary.to_str().unwrap().to_owned();
    world.refuses(Corpus::default().symlink("l", &canary).file("l/secret", b"owned"));
    world.refuses(Corpus::default().symlink("l", "../../../canary").file("l/new", b"owned"));
    let two_hops = Corpus::default()
        .directory("inner")
        .symlink("inner/up", "..")
        .symlink("inner/up/escape", "../../canary")
        .file("inner/up/escape/new", b"owned")
        .finish();
    world.refuses_bytes(&two_hops);
    // A directory of the name of a link replaces it; its mode must not reach the target.
    let before = fs::metadata(&world.canary).unwrap().permissions();
    let corpus = Corpus::default()
        .symlink("l", &canary)
        .entry("l", EntryKind::Directory, metadata(0o777))
        .file("l/f", b"in")
        .finish();
    let layer = world.store.ingest(&corpus[..]).unwrap();
    assert_eq!(fs::read(layer.tree().join("l/f")).unwrap(), b"in");
    assert_eq!(fs::metadata(&world.canary).unwrap().permissions(), before);
    drop(layer);
    world.check();
    // The twin: a link within the layer is followed.
    let corpus = Corpus::default().directory("usr").symlink("lib", "/usr").file("lib/f", b"in").finish();
    let layer = world.store.ingest(&corpus[..]).unwrap();
    assert_eq!(fs::read(layer.tree().join("usr/f")).unwrap(), b"in");
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_04_links_of_lower_layers_are_not_followed() {
    let world = World::new();
    let lower = world.canary.parent().unwrap().join("lower");
    fs::create_dir(&lower).unwrap();
    std::os::unix::fs::symlink(&world.canary, lower.join("l")).unwrap();
    let mut corpus = Corpus::default();
    corpus.file("l/secret", b"x").file("l/.wh.secret", b"").file("l/.wh..wh..opq", b"");
    let layer = world.settled(&corpus, &[lower]).unwrap();
    assert!(layer.tree().join("l").is_dir());
    drop(layer);
    world.check();
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_05_the_last_entry_of_a_name_counts_and_the_archive_is_kept() {
    let world = World::new();
    let mut corpus = Corpus::default();
    corpus.directory("d").file("d/f", b"first").symlink("d", "/etc").directory("d").file("d/f", b"second");
    corpus.file("d/f", b"third").link("h", "d/f").file("d/f", b"fourth").file("e", b"1").directory("e");
    let layer = world.ingest(&corpus).unwrap();
    let tree = layer.tree();
    assert_eq!(fs::read(tree.join("d/f")).unwrap(), b"fourth");
    assert_eq!(fs::read(tree.join("h")).unwrap(), b"third");
    assert!(tree.join("e").is_dir());
    let key = layer.register(None).unwrap();
    let mut again = Vec::new();
    world.store.write_tar(&key, &mut again).unwrap();
    assert_eq!(again, corpus.finish());
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_07_hard_links_stay_inside() {
    let world = World::new();
    let secret = world.canary.join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    for target in [secret.to_str().unwrap(), "../canary/secret", "h", "", "d"] {
        let mut corpus = Corpus::default();
        let layer = world.settled(corpus.directory("d").link("h", target), &[]);
        assert!(layer.is_err(), "{target}");
    }
    let mut corpus = Corpus::default();
    corpus.symlink("s", secret.to_str().unwrap()).link("h", "s").file("after", b"x");
    let layer = world.ingest(&corpus).unwrap();
    assert!(fs::symlink_metadata(layer.tree().join("h")).unwrap().is_symlink());
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o400);
    drop(layer);
    world.check();
    let layer = world.ingest(Corpus::default().file("a", b"x").link("b", "/a").link("b", "a")).unwrap();
    let inode = |name| fs::metadata(layer.tree().join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_09_10_whiteouts() {
    let world = World::new();
    for name in [".wh...", "a/.wh...", ".wh..", "a/.wh..", ".wh.", ".wh.x/y"] {
        world.refuses(Corpus::default().file(name, b""));
    }
    let mut corpus = Corpus::default();
    corpus
        .file("late/f", b"x")
        .file("late/.wh..wh..opq", b"")
        .file("early/.wh..wh..opq", b"")
        .file("early/f", b"");
    corpus
        .file(".wh.gone", b"")
        .file(".wh.back", b"")
        .file("back", b"x")
        .file("kept", b"x")
        .file(".wh.kept", b"");
    corpus.file(".wh.dir", b"").file("dir/f", b"").file(".wh..wh.plnk/1.2", b"x").file(".wh..wh.aufs", b"");
    corpus.directory("was").file(".wh.was", b"");
    corpus.entry(".wh.asdir", EntryKind::Directory, metadata(0o755));
    let layer = world.settled(&corpus, &[]).unwrap();
    let at = |name: &str| layer.tree().join(name);
    assert!(is_whiteout(&at("gone")) && is_whiteout(&at("asdir")));
    for name in ["back", "kept"] {
        assert_eq!(fs::read(at(name)).unwrap(), b"x");
    }
    for name in ["late", "early", "dir", "was"] {
        assert!(is_opaque(&at(name)), "{name}");
    }
    assert!(at("late/f").exists() && at("dir/f").exists() && !at(".wh..wh.plnk").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_11_overlay_marks_cannot_be_smuggled() {
    let world = World::new();
    let marks = ["trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.opaque", "user.kept"];
    let xattrs = marks.iter().map(|name| (name.as_bytes().to_vec(), b"y".to_vec())).collect();
    let mut corpus = Corpus::default();
    corpus.entry("d", EntryKind::Directory, Metadata { xattrs, ..metadata(0o755) });
    corpus.entry("raw", EntryKind::CharDevice { major: 0, minor: 0 }, metadata(0o600));
    let layer = world.ingest(&corpus).unwrap();
    assert!(!layer.tree().join("raw").exists());
    let directory = crate::remove::open_root(&layer.tree()).unwrap();
    let found = crate::node::xattrs(std::os::fd::AsFd::as_fd(&directory), c"d").unwrap();
    assert_eq!(found, [(b"user.kept".to_vec(), b"y".to_vec())]);
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_12_devices_are_exact() {
    let world = World::new();
    let mut corpus = Corpus::default();
    corpus.entry("c", EntryKind::CharDevice { major: 1, minor: 3 }, metadata(0o666));
    corpus.entry("b", EntryKind::BlockDevice { major: 259, minor: 300_000 }, metadata(0o660));
    corpus.entry("p", EntryKind::Fifo, metadata(0o600));
    let layer = world.ingest(&corpus).unwrap();
    let stat = |name| fs::metadata(layer.tree().join(name)).unwrap();
    assert_eq!(stat("c").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!((stat("b").rdev(), stat("b").mode() & 0o777), (rustix::fs::makedev(259, 300_000), 0o660));
    assert!(stat("p").file_type().is_fifo());
    for (major, minor) in [(4097, 1), (1, 1 << 20)] {
        let kind = EntryKind::BlockDevice { major, minor };
        assert!(world.ingest(Corpus::default().entry("b", kind, metadata(0o600))).is_err());
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_13_14_15_modes_capabilities_and_attributes() {
    let world = World::new();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let xattrs = vec![(b"security.capability".to_vec(), capability.to_vec())];
    let mut corpus = Corpus::default();
    corpus.file_with("suid", b"x", Metadata { uid: 1000, gid: 1001, xattrs, ..metadata(0o6755) });
    corpus.entry("sticky", EntryKind::Directory, metadata(0o1777));
    let user = vec![(b"user.x".to_vec(), b"1".to_vec())];
    corpus.entry(
        "s",
        EntryKind::Symlink { target: b"suid".to_vec() },
        Metadata { xattrs: user, ..metadata(0o777) },
    );
    let layer = world.ingest(&corpus).unwrap();
    let stat = |name| fs::symlink_metadata(layer.tree().join(name)).unwrap();
    assert_eq!((stat("suid").mode() & 0o7777, stat("suid").uid(), stat("suid").gid()), (0o6755, 1000, 1001));
    assert_eq!((stat("sticky").mode() & 0o7777, stat("sticky").mtime()), (0o1777, 1_000_000_000));
    assert_eq!(stat("s").mtime(), 1_000_000_000);
    let mut value = [0; 64];
    let length =
        rustix::fs::lgetxattr(layer.tree().join("suid"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability);
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_16_owners_that_do_not_exist_are_refused() {
    let world = World::new();
    for id in ["4294967295", "4294967296", "9223372036854775807", "-1"] {
        let record = format!(" uid={id}\n");
        let text = format!("{}{record}", record.len() + 2);
        world.refuses(Corpus::default().extended(b'x', text.as_bytes()).file("f", b""));
    }
    world.ingest(Corpus::default().extended(b'x', b"18 uid=4294967294\n").file("f", b"")).unwrap();
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_17_18_sparse_files() {
    let world = World::new();
    let version = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n";
    let real = |size: &str| {
        let record = format!(" GNU.sparse.realsize={size}\n");
        let digits = if record.len() + 2 > 99 { 3 } else { 2 };
        [&version[..], format!("{}{record}", record.len() + digits).as_bytes()].concat()
    };
    let mut bomb = Corpus::default();
    bomb.extended(b'x', &real("9223372036854775807")).file("f", &block(b"1\n9223372036854775800\n1\n", b"x"));
    world.refuses(&bomb);
    world.refuses(Corpus::default().extended(b'x', &real("10")).file("f", &block(b"1000000000000\n", b"")));
    let mut good = Corpus::default();
    good.extended(b'x', &real("1000003")).file("f", &block(b"2\n0\n2\n1000000\n3\n", b"ABXYZ"));
    let layer = world.ingest(&good).unwrap();
    let content = fs::read(layer.tree().join("f")).unwrap();
    assert_eq!((content.len(), &content[..3], &content[1_000_000..]), (1_000_003, &b"AB\0"[..], &b"XYZ"[..]));
    assert!(fs::metadata(layer.tree().join("f")).unwrap().blocks() < 100);
    let key = layer.register(None).unwrap();
    let mut again = Vec::new();
    world.store.write_tar(&key, &mut again).unwrap();
    assert_eq!(again, good.finish());
}

fn block(map: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = map.to_vec();
    bytes.resize(512, 0);
    bytes.extend(data);
    bytes
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_19_20_extended_headers() {
    let world = World::new();
    let mut inner = Corpus::default();
    let smuggled = inner.file("smuggled", b"").without_end();
    let mut corpus = Corpus::default();
    corpus
        .extended(b'x', b"12 size=512\n")
        .header("outer", b'0', "00000000000\0")
        .raw(&smuggled)
        .file("next", b"");
    let layer = world.ingest(&corpus).unwrap();
    assert!(!layer.tree().join("smuggled").exists() && layer.tree().join("next").exists());
    assert_eq!(fs::read(layer.tree().join("outer")).unwrap(), smuggled);
    drop(layer);
    for (flag, text) in [(b'x', &b"14 path=../xy\n"[..]), (b'L', b"../long\0"), (b'x', b"12 path=a\0b\n")] {
        world.refuses(Corpus::default().extended(flag, text).file("f", b""));
    }
    world.refuses(Corpus::default().extended(b'x', b"18 linkpath=../xy\n").link("f", "ok"));
    let layer = world.ingest(Corpus::default().extended(b'g', b"14 path=../xy\n").file("f", b"")).unwrap();
    assert!(layer.tree().join("f").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_21_22_sizes_are_only_claims() {
    let world = World::new();
    world.refuses(Corpus::default().header("f", b'0', "77777777777\0"));
    for flag in [b'x', b'L', b'g'] {
        world.refuses(Corpus::default().header("f", flag, "77777777777\0"));
    }
    let mut negative = Corpus::default().file("f", b"").without_end();
    negative[124..136].fill(0xff);
    world.refuses(Corpus::default().sealed(negative[..512].to_vec()));
    world.refuses(Corpus::default().header("f", b'0', "-0000000001\0"));
    let good = Corpus::default().file("f", &[7; 2000]).without_end();
    for length in [100, 511, 513, 1000, 2511] {
        world.refuses_bytes(&good[..length]);
    }
    let mut damaged = good.clone();
    damaged[0] ^= 1;
    assert!(matches!(world.refuses_bytes(&damaged), Error::Tar { source: crate::TarError::Checksum { .. } }));
    world.refuses(Corpus::default().extended(b'x', b"99 path=x\n").file("f", b""));
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_23_24_ends_and_what_follows() {
    let world = World::new();
    let mut hidden = Corpus::default();
    let hidden = hidden.file("hidden", b"x").finish();
    let plain = Corpus::default().file("f", b"x").without_end();
    let ended = Corpus::default().file("f", b"x").finish();
    let junk = [&ended[..], &hidden, b"junk that is no block"].concat();
    for archive in [plain, junk, [&ended[..], &vec![0; 5 << 20]].concat(), Vec::new(), vec![0; 10240]] {
        let layer = world.store.ingest(&archive[..]).unwrap();
        assert!(!layer.tree().join("hidden").exists());
        assert_eq!(layer.record().archive_size, archive.len() as u64);
        let key = layer.register(None).unwrap();
        let mut again = Vec::new();
        world.store.write_tar(&key, &mut again).unwrap();
        assert!(again == archive);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_26_deep_and_long_names() {
    let world = World::new();
    world.refuses(Corpus::default().file(&"n".repeat(256), b""));
    // Each directory on the way is remembered by its path: without a limit this would be 20 GB.
    world.refuses(Corpus::default().file(&format!("{}f", "d/".repeat(200_000)), b""));
    world.refuses(Corpus::default().directory("a").link("l", &format!("{}f", "d/".repeat(3000))));
    let deep = "d/".repeat(2000);
    let mut corpus = Corpus::default();
    corpus.file(&"n".repeat(255), b"").file(&format!("{deep}f"), b"deep");
    for depth in (0..=2000).rev().step_by(100) {
        corpus.file(&format!("{}g", &deep[..depth * 2]), b"x");
    }
    let layer = world.settled(&corpus, &[]).unwrap();
    let key = layer.register(None).unwrap();
    let mut again = Vec::new();
    world.store.write_tar(&key, &mut again).unwrap();
    assert!(again == corpus.finish());
    world.store.remove(&key).unwrap();
    assert!(world.store.list().unwrap().is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_33_unknown_types_do_not_shift_the_stream() {
    let world = World::new();
    for flag in *b"VMDNs!" {
        let layer = world
            .ingest(Corpus::default().header("v", flag, "00000001000\0").raw(&[b'x'; 512]).file("f", b"y"));
        let layer = layer.unwrap();
        assert_eq!(fs::read(layer.tree().join("f")).unwrap(), b"y");
        assert!(!layer.tree().join("v").exists());
    }
    let mut sized = Corpus::default();
    sized.header("d", b'5', "00000001000\0").file("f", b"y").header("old/", b'0', "00000000000\0");
    let layer = world.ingest(&sized).unwrap();
    assert!(
        layer.tree().join("d").is_dir()
            && layer.tree().join("f").is_file()
            && layer.tree().join("old").is_dir()
    );
}
