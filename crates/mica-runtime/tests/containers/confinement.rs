//! What a container may not see or do, each with the harmless twin that must work.

use crate::harness::{Container, outcome};
use oci_spec::runtime::{Mount, MountBuilder};
use std::os::unix::fs::symlink;
use std::path::Path;

fn bind(source: &Path, destination: &str) -> Mount {
    let options = vec!["rbind".to_owned()];
    MountBuilder::default()
        .typ("bind")
        .source(source)
        .destination(destination)
        .options(options)
        .build()
        .unwrap()
}

fn with_mount(script: &str, mount: Mount) -> Container {
    let mut container = Container::shell(script);
    let mut mounts = container.spec.mounts().clone().unwrap();
    mounts.push(mount);
    container.spec.set_mounts(Some(mounts));
    container
}

fn with_directory(directory: &str) -> Container {
    let mut container = Container::shell("pwd");
    let mut process = container.spec.process().clone().unwrap();
    process.set_cwd(directory.into());
    container.spec.set_process(Some(process));
    container
}

#[test]
#[ignore = "needs root"]
fn privileged_the_usual_view() {
    let script = "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; \
        (echo 1 > /proc/sys/kernel/panic) 2>&1; hostname; ls /dev | tr '\\n' ' '; echo; ifconfig lo | grep -c UP; \
        grep ' /sys/fs/cgroup' /proc/mounts | grep -vc ' ro,'; mount -t tmpfs x /tmp 2>&1; id -G";
    let outcome = Container::shell(script).run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{outcome:?}");
    assert!(lines.iter().any(|line| line.contains("Read-only file system")), "{outcome:?}");
    assert!(lines.contains(&"probe"));
    let devices = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert!(lines.contains(&devices), "{outcome:?}");
    assert!(lines.iter().any(|line| line.contains("permission denied")), "{outcome:?}");
    assert_eq!(lines.last(), Some(&"0"));
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_01_no_working_directory_through_descriptors() {
    for number in 3..12 {
        let container = with_directory(&format!("/proc/self/fd/{number}"));
        assert!(container.start(container.plan()).is_err(), "{number}");
    }
    let container = with_directory("/w");
    symlink("/proc/self/fd/5", container.root().join("w")).unwrap();
    assert!(container.start(container.plan()).is_err());
    let mut twin = with_directory("/new/one");
    twin.spec.set_root(twin.spec.root().clone().map(|mut root| {
        root.set_readonly(Some(true));
        root
    }));
    assert_eq!(twin.run().stdout, "/new/one\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_02_only_the_standard_descriptors() {
    let outcome = Container::shell("ls -l /proc/self/fd | grep -v total | sed 's/.*-> //'").run();
    let targets: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(targets[0], "/dev/null");
    assert!(targets[1].starts_with("pipe:") && targets[2].starts_with("pipe:"), "{targets:?}");
    assert_eq!(targets.len(), 4);
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_04_our_binary_cannot_be_overwritten_by_way_of_a_script() {
    let container = Container::new(&["/evil"]);
    let evil = container.root().join("evil");
    std::fs::write(&evil, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = std::fs::metadata(crate::harness::probe()).unwrap();
    if let Ok(started) = container.start(container.plan()) {
        // Our binary ran as the container's program and knew no verb.
        assert_eq!(outcome(started.stream).code, 2);
    }
    let container = Container::shell("sleep 1000");
    let started = container.start(container.plan()).unwrap();
    let monitor = crate::harness::parent_of(started.pid);
    let writable = std::fs::OpenOptions::new().write(true).open(format!("/proc/{monitor}/exe"));
    let errno = writable.unwrap_err().raw_os_error();
    assert!([30, 26].map(Some).contains(&errno), "read-only, or busy: {errno:?}");
    assert_eq!(
        before.modified().unwrap(),
        std::fs::metadata(crate::harness::probe()).unwrap().modified().unwrap()
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_08_nothing_is_mounted_over_the_kernel_s_files() {
    let source = tempfile::tempdir().unwrap();
    for destination in ["/proc", "/proc/sys", "/v"] {
        let container = with_mount("true", bind(source.path(), destination));
        symlink("/proc/self/attr", container.root().join("v")).unwrap();
        assert!(container.start(container.plan()).is_err(), "{destination}");
    }
    let file = source.path().join("uptime");
    std::fs::write(&file, "1 1\n").unwrap();
    assert_eq!(with_mount("cat /proc/uptime", bind(&file, "/proc/uptime")).run().stdout, "1 1\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_10_linked_kernel_directories_are_refused() {
    for name in ["proc", "sys"] {
        let container = Container::shell("true");
        std::fs::remove_dir(container.root().join(name)).unwrap();
        symlink("/tmp", container.root().join(name)).unwrap();
        let message = container.start(container.plan()).unwrap_err().to_string();
        assert!(message.contains("must be mounted on an ordinary directory"), "{message}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_12_mount_targets_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("file"), "bound").unwrap();
    let container = with_mount("cat /link/sub/file", bind(source.path(), "/link/sub"));
    symlink(outside.path(), container.root().join("link")).unwrap();
    let _ = container.start(container.plan()).map(|started| outcome(started.stream));
    assert!(crate::harness::is_empty(outside.path()));
    let twin = with_mount("cat /var/run/sub/file", bind(source.path(), "/var/run/sub"));
    std::fs::create_dir_all(twin.root().join("var")).unwrap();
    std::fs::create_dir_all(twin.root().join("run")).unwrap();
    symlink("/run", twin.root().join("var/run")).unwrap();
    assert_eq!(twin.run().stdout, "bound");
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_06_a_false_null_device_masks_nothing_wrongly() {
    let dev = tempfile::tempdir().unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.path().join("null")).unwrap();
    let mut container = Container::shell("stat -c %t:%T /proc/timer_list");
    let mut mounts = container.spec.mounts().clone().unwrap();
    mounts.retain(|mount| !mount.destination().starts_with("/dev"));
    mounts.push(bind(dev.path(), "/dev"));
    container.spec.set_mounts(Some(mounts));
    assert_eq!(container.run().stdout, "1:3\n");
}
