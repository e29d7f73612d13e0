//! A full disk, one without inodes, one that turned read-only: clear errors, nothing lost, and `rm` works.

use crate::fault::check_invariants;
use e2e::{Entry, Tarball, World};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system of its own as the root of a world; taken away before the world is.
pub(crate) struct Disk<'a> {
    world: &'a World,
    root: PathBuf,
}

impl<'a> Disk<'a> {
    /// Makes one of this size.
    pub(crate) fn of(world: &'a World, size: &str, options: &[&str]) -> Self {
        let image = world.directory().join("disk.img");
        let root = world.root();
        command("truncate", &["-s", size, image.to_str().unwrap()]);
        command("mkfs.ext4", &[&["-q", "-F", "-m", "0"], options, &[image.to_str().unwrap()]].concat());
        command("mount", &["-o", "loop", image.to_str().unwrap(), root.to_str().unwrap()]);
        Self { world, root }
    }

    /// How much is free.
    pub(crate) fn free_bytes(&self) -> u64 {
        let status = rustix::fs::statvfs(&self.root).unwrap();
        status.f_bavail * status.f_frsize
    }

    /// Whether a process that tidies this store up is still at it; no other one has its arguments.
    fn has_chores(&self) -> bool {
        let root = self.root.as_os_str().as_encoded_bytes();
        let is_chore = |process: fs::DirEntry| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next() == Some(b"mica-chores") && words.next() == Some(root)
        };
        fs::read_dir("/proc").unwrap().flatten().any(is_chore)
    }

    /// Writes until not a byte more fits, and nobody is left who would make room.
    pub(crate) fn fill(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.has_chores() {
            assert!(Instant::now() < deadline, "the chores do not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        for (name, size) in [("full", 1 << 16), ("fuller", 512)] {
            let Ok(mut file) = File::create(self.root.join(name)) else { continue };
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// The monitor of a container that has just ended, or a chore, may still have a file open.
    fn make_read_only(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let remount = || Command::new("mount").args(["-o", "remount,ro"]).arg(&self.root).output().unwrap();
        loop {
            let output = remount();
            if output.status.success() {
                return;
            }
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(words.contains("busy") && Instant::now() < deadline, "{words}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes away what fills it.
    pub(crate) fn empty(&self) {
        for name in ["full", "fuller"] {
            drop(fs::remove_file(self.root.join(name)));
        }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let ids = self.world.mica(["ps", "-aq"]).lines();
        if !ids.is_empty() {
            drop(self.world.mica(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids)));
        }
        // The monitors' last chores may hold it for a moment longer.
        drop(Command::new("umount").arg("--lazy").arg(&self.root).status());
    }
}

#[track_caller]
fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_too_large_for_the_disk_leaves_nothing() {
    let world = World::new();
    let disk = Disk::of(&world, "48M", &[]);
    world.load_busybox();
    let before = disk.free_bytes();
    let mut noise = vec![0; 60 << 20];
    rustix::rand::getrandom(&mut noise[..1 << 20], rustix::rand::GetRandomFlags::empty()).unwrap();
    for part in 1..60 {
        noise.copy_within(0..1 << 20, part << 20);
        noise[part << 20] ^= part as u8;
    }
    noise.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 1);
    let tar = world.scratch().join("large.tar");
    fs::write(&tar, Tarball::new().with(Entry::file("noise", noise)).finish()).unwrap();
    world
        .mica(["import", tar.to_str().unwrap(), "large"])
        .code(1)
        .stderr_contains("No space left on device")
        .stderr_contains("free some space");
    assert!(
        disk.free_bytes() + (256 << 10) > before,
        "{} of {before} bytes are free again",
        disk.free_bytes()
    );
    world.mica(["run", "--rm", "busybox", "true"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_full_disk_loses_nothing_and_can_be_freed_by_rm() {
    let world = World::new();
    let disk = Disk::of(&world, "32M", &[]);
    world.load_busybox();
    for name in ["one", "two", "three"] {
        world.mica(["run", "--name", name, "busybox", "echo", name]).success();
    }
    let script = "trap 'exit 7' TERM; while :; do echo a line for the log; sleep 0.01; done";
    world.mica(["run", "-d", "--name", "seven", "busybox", "sh", "-c", script]).success();
    disk.fill();
    let refused = "No space left on device";
    world.mica(["create", "--name", "more", "busybox"]).code(1).stderr_contains(refused);
    disk.fill();
    world.mica(["run", "--rm", "busybox", "true"]).code(125).stderr_contains(refused);
    disk.fill();
    world.mica(["tag", "busybox", "other"]).code(1).stderr_contains("full").stderr_contains("mica rm");
    world.mica(["exec", "seven", "echo", "alive"]).success().stdout_is("alive\n");
    world.mica(["stop", "seven"]).success();
    let status = "{{.State.Status}} {{.State.ExitCode}}";
    assert_eq!(world.inspect("seven", status), "exited 7", "the exit code was lost");
    world.mica(["ps", "-a"]).success().stdout_contains("Exited (7)");
    world.mica(["logs", "one"]).success().stdout_is("one\n");
    for name in ["one", "seven", "two", "three"] {
        disk.fill();
        world.mica(["rm", name]).success();
    }
    world.mica(["ps", "-aq"]).success().stdout_is("");
    disk.empty();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_that_fills_the_disk_can_be_removed() {
    let world = World::new();
    let disk = Disk::of(&world, "32M", &[]);
    world.load_busybox();
    let before = disk.free_bytes();
    let writing = ["run", "--name", "filler", "busybox", "dd", "if=/dev/zero", "of=/file", "bs=1M"];
    world.mica(writing).code(1).stderr_contains("No space left on device");
    world.mica(["logs", "filler"]).success();
    world.mica(["rm", "filler"]).success();
    assert!(
        disk.free_bytes() + (512 << 10) > before,
        "{} of {before} bytes are free again",
        disk.free_bytes()
    );
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_disk_without_inodes_is_told_and_freed() {
    let world = World::new();
    let _disk = Disk::of(&world, "32M", &["-N", "1200"]);
    world.load_busybox();
    let script = "n=0; while : > /$n; do n=$((n+1)); done";
    world.mica(["run", "--name", "many", "busybox", "sh", "-c", script]).failure();
    world.mica(["create", "busybox"]).code(1).stderr_contains("No space left on device");
    world.mica(["rm", "many"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_read_only_store_can_be_read() {
    let world = World::new();
    let disk = Disk::of(&world, "32M", &[]);
    world.load_busybox();
    world.mica(["run", "--name", "kept", "busybox", "sh", "-c", "echo said; echo text > /file"]).success();
    let root = disk.root.to_str().unwrap();
    disk.make_read_only();
    for reading in [
        &["ps", "-a"][..],
        &["images", "-a"],
        &["inspect", "kept"],
        &["diff", "kept"],
        &["system", "df"],
        &["image", "tree"],
        &["export", "-o", "/dev/null", "kept"],
    ] {
        world.mica(reading).success();
    }
    world.mica(["cp", "kept:/file", "-"]).success().stdout_contains("text");
    world.mica(["logs", "kept"]).success().stdout_is("said\n");
    for writing in
        [&["run", "--rm", "busybox", "true"][..], &["create", "busybox"], &["start", "kept"], &["rm", "kept"]]
    {
        world.mica(writing).failure().stderr_contains("ead");
    }
    command("mount", &["-o", "remount,rw", root]);
    assert_eq!(world.inspect("kept", "{{.State.Status}}"), "exited");
    check_invariants(&world);
}
