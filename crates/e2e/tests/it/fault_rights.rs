//! Machines that lack a right or a kernel feature: the message names what is missing and what to do.

use e2e::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Runs a copy of the binary as a user without rights.
fn as_nobody(world: &World, program: &str, command: &[&str]) -> e2e::Output {
    // The shell drops the binary of the world, which may lie where nobody can go.
    let script = format!("shift; exec {program} \"$@\"");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script, "sh"];
    world.invoke_by("setpriv", &nobody, command).run()
}

#[test]
#[ignore = "needs root"]
fn privileged_without_root_the_remedy_is_told() {
    let world = World::with_busybox();
    fs::set_permissions(world.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    // The binary may lie where nobody can go.
    let program = world.directory().join("mica");
    fs::copy(e2e::fixture::binary(), &program).unwrap();
    let program = program.to_str().unwrap();
    for command in ["ps", "images", "info"] {
        as_nobody(&world, program, &[command]).code(1).stderr_contains("run mica as root");
    }
    as_nobody(&world, program, &["run", "busybox"]).code(125).stderr_contains("run mica as root");
    as_nobody(&world, program, &["--help"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_without_the_right_to_mount_the_remedy_is_told() {
    let world = World::with_busybox();
    let weak = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    world
        .invoke_by("setpriv", &weak, ["run", "--rm", "busybox", "true"])
        .run()
        .code(125)
        .stderr_contains("run mica as root");
}

/// Runs a command in a mount namespace of its own after a shell's preparation there.
fn elsewhere(world: &World, preparation: &str, command: &[&str]) -> e2e::Output {
    let script = format!("{preparation} && exec \"$0\" \"$@\"");
    world.invoke_by("unshare", &["--mount", "sh", "-c", &script], command).run()
}

#[test]
#[ignore = "needs root"]
fn privileged_missing_file_systems_are_named() {
    let world = World::with_busybox();
    let run = ["run", "--rm", "busybox", "true"];
    elsewhere(&world, "umount -R -l /proc", &run).code(125).stderr_contains("mount /proc");
    // Without cgroups nothing keeps a container from the host's devices, which only a privileged one may have.
    let no_cgroups = "umount -R -l /sys/fs/cgroup";
    elsewhere(&world, no_cgroups, &run).code(125).stderr_contains("no cgroup hierarchy is mounted");
    elsewhere(&world, no_cgroups, &["run", "--rm", "--privileged", "busybox", "true"]).success();
    let overlay = "mkdir $TMPDIR/upper $TMPDIR/work && \
                   mount -t overlay none /mnt -o lowerdir=/etc,upperdir=$TMPDIR/upper,workdir=$TMPDIR/work && \
                   export MICA_ROOT=/mnt/root";
    elsewhere(&world, overlay, &["run", "hello"])
        .code(125)
        .stderr_contains("overlay")
        .stderr_contains("--root");
}

#[test]
#[ignore = "needs root"]
fn privileged_impossible_directories_are_named() {
    let world = World::with_busybox();
    world.mica(["--root", "/etc/passwd", "ps"]).code(1).stderr_contains("/etc/passwd");
    world
        .mica(["--run-root", "/proc/none", "run", "--rm", "busybox", "true"])
        .code(125)
        .stderr_contains("/proc/none");
    world.mica(["ps", "-aq"]).success().stdout_is("");
}
