//! Archives that lie, escape or bomb, through every door: `load`, `import` and `cp`. The rows TAR-01 to TAR-34 of the
//! list of known attacks that a whole command can show; those of single entries are in mica-snapshot's tests too.
//! After each of them nothing is registered, nothing outside is touched, nothing temporary is left; the harmless
//! twins work.

use e2e::tarball::BLOCK;
use e2e::{Entry, ImageArchive, Output, Tarball, World};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long what was thrown away may take to be deleted.
const GRACE: Duration = Duration::from_secs(20);

/// A world with something outside of all layers that must stay as it is.
struct Target {
    world: World,
    canary: PathBuf,
}

impl Target {
    fn new() -> Self {
        let world = World::new();
        let canary = world.scratch().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o750)).unwrap();
        fs::write(canary.join("secret"), "alive").unwrap();
        fs::set_permissions(canary.join("secret"), fs::Permissions::from_mode(0o400)).unwrap();
        Self { world, canary }
    }

    fn canary(&self) -> &str {
        self.canary.to_str().unwrap()
    }

    /// Fails if anything outside was touched.
    #[track_caller]
    fn check_canary(&self, case: &str) {
        let names: Vec<_> = fs::read_dir(&self.canary).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "{case}");
        let secret = self.canary.join("secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "alive", "{case}");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&self.canary), mode(&secret)), (0o750, 0o400), "{case}");
    }

    /// Fails if a failed command left an image, a layer or a temporary file.
    #[track_caller]
    fn check_empty(&self, case: &str) {
        self.world.mica(["images", "-aq"]).success().stdout_is("");
        self.check_no_leftovers(case);
        assert_eq!(entries(&self.world.root().join("layer/sha256")), 0, "{case}: a layer stayed");
    }

    #[track_caller]
    fn check_no_leftovers(&self, case: &str) {
        for place in ["layer/ingest", "image/ingest"] {
            let place = self.world.root().join(place);
            assert_eq!(entries(&place), 0, "{case}: something stayed in {}", place.display());
        }
        // Of much that was thrown away the most is deleted after the command.
        let deadline = Instant::now() + GRACE;
        for place in ["layer/trash", "trash"].map(|name| self.world.root().join(name)) {
            while entries(&place) > 0 {
                assert!(Instant::now() < deadline, "{case}: something stayed in {}", place.display());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn load(&self, archive: Vec<u8>) -> Output {
        self.world.invoke(["load", "-q"]).stdin(archive).run()
    }

    fn import(&self, layer: Vec<u8>) -> Output {
        self.world.invoke(["import", "-"]).stdin(layer).run()
    }

    /// The layer must be refused by `load` and by `import`, with words and without a trace.
    #[track_caller]
    fn refuses(&self, case: &str, layer: &[u8]) {
        let doors = [
            ("load", self.load(ImageArchive::named("evil:1").layer(layer.to_vec()).build())),
            ("load of a layout", self.load(ImageArchive::named("evil:1").layer(layer.to_vec()).build_oci())),
            ("import", self.import(layer.to_vec())),
        ];
        for (door, output) in doors {
            assert_ne!(output.code, 0, "{case} through {door}: {}", output.describe());
            assert!(!output.stderr().trim().is_empty(), "{case} through {door} says nothing");
            assert!(!output.stderr().contains("panicked"), "{case} through {door}: {}", output.stderr());
        }
        self.check_empty(case);
        self.check_canary(case);
    }

    /// The layer must be taken, and tamely; answers the tree that it became.
    #[track_caller]
    fn accepts(&self, case: &str, layer: &[u8]) -> PathBuf {
        let output = self.load(ImageArchive::named("tame:1").layer(layer.to_vec()).build());
        assert_eq!(output.code, 0, "{case}: {}", output.describe());
        self.check_canary(case);
        self.check_no_leftovers(case);
        self.world.inspect("tame:1", "{{index .LayerPaths 0}}").into()
    }

    #[track_caller]
    fn forget(&self) {
        self.world.mica(["rmi", "-f", "tame:1"]).success();
        self.check_empty("after rmi");
    }
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn tar(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let mut tar = Tarball::new();
    entries.into_iter().for_each(|entry| tar.add(&entry));
    tar.finish()
}

fn file(name: impl AsRef<[u8]>) -> Entry {
    Entry::file(name, "owned")
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_01_to_09_names_and_links_that_lead_outside_are_refused() {
    let target = Target::new();
    let canary = target.canary().to_owned();
    let up = "../".repeat(24);
    let outside = format!("{up}{}", canary.trim_start_matches('/'));
    let secret = format!("{canary}/secret");
    let cases = [
        ("TAR-01 parent", tar([file("../x")])),
        ("TAR-01 deep parent", tar([file(format!("{outside}/x"))])),
        ("TAR-01 bare parent", tar([Entry::directory("..").mode(0o777)])),
        ("TAR-01 empty name", tar([file("")])),
        ("TAR-01 inner parent", tar([Entry::directory("a"), file("a/../../x")])),
        ("TAR-02 absolute link", tar([Entry::symlink("l", &canary), file("l/x")])),
        ("TAR-02 relative link", tar([Entry::symlink("l", &outside), file("l/x")])),
        (
            "TAR-03 two hops",
            tar([
                Entry::directory("in"),
                Entry::symlink("in/up", ".."),
                Entry::symlink("in/up/out", &outside),
                file("in/up/out/x"),
            ]),
        ),
        (
            "TAR-06 relative escape",
            tar([Entry::symlink("e", ".."), Entry::symlink("a", &canary), file("e/a/x")]),
        ),
        ("TAR-07 hard link outside", tar([Entry::hardlink("h", format!("{outside}/secret")), file("h")])),
        ("TAR-07 absolute hard link", tar([Entry::hardlink("h", &secret)])),
        (
            "TAR-07 hard link through a link",
            tar([Entry::symlink("l", &canary), Entry::hardlink("h", "l/secret")]),
        ),
        ("TAR-09 whiteout of the parent", tar([Entry::directory("d"), Entry::file("d/.wh...", "")])),
        ("TAR-09 whiteout of itself", tar([Entry::file(".wh..", "")])),
        ("TAR-09 whiteout of nothing", tar([Entry::file(".wh.", "")])),
    ];
    for (case, layer) in &cases {
        target.refuses(case, layer);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_16_to_22_lying_numbers_and_headers_are_refused() {
    let target = Target::new();
    let huge = |size: u64| Entry::file("f", "x").claimed_size(size);
    let negative: [u8; 12] = [0xff; 12];
    let honest = tar([Entry::file("f", vec![7; 4 * BLOCK])]);
    let cases = [
        ("TAR-16 owner -1", tar([file("f").owner(u64::from(u32::MAX), 0).mode(0o4755)])),
        ("TAR-16 owner 2^32", tar([file("f").owner(1 << 32, 0).mode(0o4755)])),
        ("TAR-16 owner in pax", tar([file("f").pax("uid", "9223372036854775807")])),
        (
            "TAR-17 sparse map bomb",
            tar([Entry::file("f", "1000000000000\n")
                .pax("GNU.sparse.major", "1")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.realsize", "1")]),
        ),
        (
            "TAR-18 sparse size bomb",
            tar([Entry::file("f", "x")
                .pax("GNU.sparse.map", "0,1")
                .pax("GNU.sparse.size", i64::MAX.to_string())]),
        ),
        ("TAR-20 pax path", tar([file("f").pax("path", "../../x")])),
        ("TAR-20 pax zero byte", tar([file("f").pax("path", "a\0b")])),
        ("TAR-20 gnu name", tar([Entry::gnu_long_name("../../x"), file("f")])),
        ("TAR-21 8 GiB that are not there", tar([huge(8 << 30)])),
        ("TAR-21 4 GiB long name", tar([Entry::new(b'L', "././@LongLink").claimed_size(4 << 30)])),
        ("TAR-21 giant pax header", tar([Entry::new(b'x', "x").claimed_size(2 << 30)])),
        ("TAR-22 truncated data", honest[..3 * BLOCK].to_vec()),
        ("TAR-22 truncated header", honest[..BLOCK / 2].to_vec()),
        ("TAR-22 checksum", tar([file("f").checksum(1)])),
        ("TAR-22 negative size", tar([Entry::file("f", "x").size_field(negative)])),
        ("TAR-22 pax length", tar([Entry::new(b'x', "x").data("99 path=x\n"), file("f")])),
        ("TAR-26 component of 256 bytes", tar([file("n".repeat(256))])),
    ];
    for (case, layer) in &cases {
        target.refuses(case, layer);
    }
    // A good one right after them.
    target.accepts("good", &honest);
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_25_bombs_end_early_and_flat() {
    let target = Target::new();
    // A layer that claims to be gzip or zstd and is neither, is cut off, or is a bomb of the wrong digest.
    for archive in [
        ImageArchive::named("evil:1").layer(b"\x1f\x8b\x08junk".to_vec()),
        ImageArchive::named("evil:1").layer(b"\x28\xb5\x2f\xfdjunk".to_vec()),
        ImageArchive::named("evil:1").layer(b"\xfd7zXZ\0junk".to_vec()),
        ImageArchive::named("evil:1").layer(b"BZh9junk".to_vec()),
    ] {
        target.load(archive.build()).failure();
        target.check_empty("TAR-25");
    }
    for junk in [&b"\x1f\x8b\x08junk"[..], b"\x28\xb5\x2f\xfdjunk", b"\xfd7zXZ\0junk", b"BZh9junk"] {
        target.load(junk.to_vec()).failure();
        target.import(junk.to_vec()).failure();
        target.check_empty("TAR-28");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_30_to_32_lying_outer_archives_are_refused() {
    let target = Target::new();
    let good = || ImageArchive::named("evil:1").layer(tar([Entry::directory("d/")]));
    let up = "../".repeat(24);
    let secret = format!("{up}{}/secret", target.canary().trim_start_matches('/'));
    let cases = [
        ("TAR-30 config path", good().manifest("/0/Config", json!(secret))),
        ("TAR-30 layer path", good().manifest("/0/Layers/0", json!(secret))),
        (
            "TAR-30 absolute layer path",
            good().manifest("/0/Layers/0", json!(format!("{}/secret", target.canary()))),
        ),
        (
            "TAR-30 layer symlink",
            good()
                .extra(Entry::symlink("out.tar", format!("{}/secret", target.canary())))
                .manifest("/0/Layers/0", json!("out.tar")),
        ),
        ("TAR-30 diffID", good().config("/rootfs/diff_ids", json!(["sha256:../../../../x"]))),
        ("TAR-31 no rootfs", good().config("/rootfs", json!(null))),
        ("TAR-31 fewer diffIDs", good().config("/rootfs/diff_ids", json!([]))),
        (
            "TAR-31 more diffIDs",
            good().config("/rootfs/diff_ids", json!([format!("sha256:{}", "0".repeat(64)), "sha256:1"])),
        ),
        (
            "TAR-31 other diffID",
            good().config("/rootfs/diff_ids/0", json!(format!("sha256:{}", "0".repeat(64)))),
        ),
        ("TAR-32 tag with an escape", good().manifest("/0/RepoTags", json!(["a\u{1b}[31m:b"]))),
        ("TAR-32 tag that is a path", good().manifest("/0/RepoTags", json!(["../../etc:x"]))),
        ("no such layer", good().manifest("/0/Layers/0", json!("gone.tar"))),
        ("manifest is an object", good().manifest("", json!({}))),
    ];
    for (case, archive) in cases {
        let output = target.load(archive.build());
        assert_ne!(output.code, 0, "{case}: {}", output.describe());
        assert!(!output.stderr().contains('\u{1b}'), "{case}: {}", output.describe());
        target.check_empty(case);
        target.check_canary(case);
    }
    let archive = good().extra(file(&secret));
    target.load(archive.build()).failure();
    target.check_empty("TAR-32 outer name");
    // The outer archive is never unpacked, so links in it harm nobody.
    let archive = good().extra(Entry::symlink("l", target.canary())).extra(file("l/x"));
    target.load(archive.build()).success();
    target.check_canary("TAR-32 outer names");
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_31_odd_configs_neither_load_nor_crash() {
    let target = Target::new();
    let layer = tar([Entry::directory("d/")]);
    for (pointer, value) in [
        ("/config", json!(null)),
        ("/config/Healthcheck", json!({"Test": ["CMD"]})),
        ("/config/Healthcheck", json!({"Test": []})),
        ("/config/ExposedPorts", json!({"x/y/z": {}})),
        ("/config/Env", json!(["=x", "NOEQUALS", ""])),
        ("/config/WorkingDir", json!("../../..")),
        ("/history", json!([{"empty_layer": true}, {}, {}, {}])),
        ("/history", json!(null)),
        ("/created", json!("not a time")),
        ("/os", json!("windows")),
        ("/architecture", json!("")),
    ] {
        let archive = ImageArchive::named("odd:1").layer(layer.clone()).config(pointer, value.clone());
        let output = target.load(archive.build());
        assert!(output.code == 0 || output.code == 1, "{pointer} {value}: {}", output.describe());
        if output.code == 0 {
            for command in
                [&["images", "-a"][..], &["history", "odd:1"], &["inspect", "odd:1"], &["image", "tree"]]
            {
                target.world.mica(command).success();
            }
            target.world.mica(["rmi", "-f", "odd:1"]).success();
        }
        target.check_empty(pointer);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_harmless_twins_work() {
    let target = Target::new();
    let tree = target.accepts(
        "TAR-01 TAR-02 names and links that stay inside",
        &tar([
            Entry::directory("usr/"),
            Entry::symlink("lib", "/usr"),
            file("/..a/./b.."),
            file("lib/f"),
            Entry::hardlink("h", "/usr/f"),
            Entry::directory("var/"),
            Entry::directory("run/"),
            Entry::symlink("var/run", "/run"),
            file("var/run/pid"),
        ]),
    );
    assert_eq!(fs::read(tree.join("..a/b..")).unwrap(), b"owned");
    assert_eq!(fs::metadata(tree.join("usr/f")).unwrap().nlink(), 2);
    assert!(tree.join("run/pid").is_file());
    target.forget();

    let tree = target.accepts(
        "TAR-05 the last of a name",
        &tar([
            file("a"),
            Entry::directory("a/"),
            file("a/f"),
            Entry::directory("b/"),
            file("b/f"),
            Entry::symlink("b", target.canary()),
            Entry::symlink("c", target.canary()),
            Entry::directory("c/").mode(0o777),
            file("c/f"),
        ]),
    );
    assert!(tree.join("a/f").is_file() && tree.join("b").is_symlink() && tree.join("c/f").is_file());
    target.forget();

    let tree = target.accepts(
        "TAR-12 TAR-13 TAR-15 special files, modes, attributes",
        &tar([
            Entry::character_device("null", 1, 3).mode(0o666),
            Entry::fifo("pipe"),
            file("suid").mode(0o4755).owner(3_000_000, 7),
            Entry::directory("sticky/").mode(0o1777),
            Entry::symlink("l", "suid").pax("SCHILY.xattr.user.x", "y"),
            Entry::character_device("hidden", 0, 0),
            file("marked").pax("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
        ]),
    );
    let metadata = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    assert!(metadata("null").file_type().is_char_device() && metadata("pipe").file_type().is_fifo());
    assert_eq!((metadata("suid").mode() & 0o7777, metadata("suid").uid()), (0o4755, 3_000_000));
    assert_eq!(metadata("sticky").mode() & 0o7777, 0o1777);
    target.forget();

    for (case, layer) in [
        ("TAR-19 size in pax", tar([Entry::file("f", "12345").claimed_size(0).pax("size", "5"), file("g")])),
        ("TAR-20 global header", tar([Entry::global(&[("path", "../../x")]), file("f"), file("g")])),
        ("TAR-23 no end", Tarball::new().with(file("f")).with(file("g")).unfinished()),
        ("TAR-23 junk", [tar([file("f"), file("g")]), b"junk".repeat(5000)].concat()),
        (
            "TAR-33 unknown types",
            tar([file("f"), Entry::new(b'V', "label"), Entry::new(b'Q', "?").data("12"), file("g")]),
        ),
    ] {
        let tree = target.accepts(case, &layer);
        let found = fs::read_dir(&tree).unwrap().count();
        assert!(found == 2 && tree.join("f").is_file() && tree.join("g").is_file(), "{case}: {found}");
        target.forget();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_10_11_whiteouts_hide_and_cannot_be_smuggled() {
    let target = Target::new();
    let base = fixture_with([
        Entry::directory("d/"),
        file("d/a"),
        file("d/b"),
        Entry::directory("e/"),
        file("e/a"),
        file("gone"),
    ]);
    let top = tar([
        Entry::file("d/c", "new"),
        Entry::file("d/.wh..wh..opq", ""),
        Entry::file(".wh.gone", ""),
        Entry::file(".wh.never", ""),
        Entry::file("e/.wh.a", ""),
        Entry::file("e/a", "again"),
        Entry::directory("e/").pax("SCHILY.xattr.trusted.overlay.opaque", "y"),
        Entry::file(".wh..wh.plnk", ""),
    ]);
    target.load(ImageArchive::named("white:1").layer(base).layer(top).build()).success();
    let script = "ls /d; cat /e/a; test ! -e /gone && ls -a / | grep -c wh";
    target
        .world
        .mica(["run", "--rm", "--network", "none", "white:1", "sh", "-c", script])
        .code(1)
        .stdout_is("c\nagain0\n");
}

/// The busybox layer with more in it.
fn fixture_with(entries: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let busybox = e2e::fixture::busybox_layer().unwrap();
    let more = tar(entries);
    // Up to the two blocks that end the archive.
    [&busybox[..busybox.len() - 2 * BLOCK], &more].concat()
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_04_links_of_lower_layers_lead_nowhere() {
    let target = Target::new();
    let lower = tar([Entry::symlink("l", target.canary())]);
    for (case, top) in [
        ("write", tar([file("l/x")])),
        ("whiteout", tar([Entry::file("l/.wh.secret", "")])),
        ("opaque", tar([Entry::file("l/.wh..wh..opq", "")])),
        ("hard link", tar([Entry::hardlink("h", "l/secret")])),
    ] {
        drop(target.load(ImageArchive::named("two:1").layer(lower.clone()).layer(top).build()));
        target.check_canary(case);
        drop(target.world.mica(["rmi", "-f", "two:1"]));
        target.check_empty(case);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_26_deep_trees_come_and_go() {
    let target = Target::new();
    let mut deep = Tarball::new();
    // A path of PATH_MAX can hold 2000 components of one letter.
    for depth in (100..=2000).step_by(100) {
        deep.add(&Entry::directory("d/".repeat(depth)));
    }
    target.accepts("deep", &deep.with(file("e/f")).finish());
    let archive = target.world.scratch().join("deep.tar");
    target.world.mica(["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "tame:1".as_ref()]).success();
    target.forget();
    target.world.mica(["load".as_ref(), "-i".as_ref(), archive.as_os_str()]).success();
    target.world.mica(["system", "prune", "-af"]).success();
    target.check_empty("pruned");
}

#[test]
#[ignore = "needs root"]
fn privileged_cp_in_resists_hostile_streams() {
    let target = Target::new();
    target.world.load_busybox();
    target.world.mica(["create", "--name", "cc", "--network", "none", "busybox"]).success();
    let canary = target.canary().to_owned();
    let up = "../".repeat(24);
    let secret = format!("{up}{}/secret", canary.trim_start_matches('/'));
    let cases = [
        ("parent", tar([file("../x")]), false),
        ("deep parent", tar([file(&secret)]), false),
        ("through a link", tar([Entry::symlink("l", &canary), file("l/x")]), false),
        ("hard link outside", tar([Entry::hardlink("h", &secret), file("h")]), false),
        ("TAR-28 xz", b"\xfd7zXZ\0junk".to_vec(), false),
        ("truncated", tar([file("f")])[..BLOCK + 3].to_vec(), false),
        ("honest", tar([file("f"), Entry::symlink("g", "f")]), true),
    ];
    for (case, stream, is_fine) in cases {
        let output = target.world.invoke(["cp", "-", "cc:/tmp"]).stdin(stream).run();
        assert_eq!(output.code == 0, is_fine, "{case}: {}", output.describe());
        target.check_canary(case);
        target.check_no_leftovers(case);
    }
    target.world.invoke(["cp", "cc:/tmp/f", "-"]).run().success();
}
