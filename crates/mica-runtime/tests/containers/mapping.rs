//! Containers in a user namespace of their own: root inside, nobody outside, and the same files on disk.

use crate::harness::{Container, OUTPUT, exec_plan, outcome};
use mica_runtime::RootPlan;
use oci_spec::runtime::{
    LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, MountBuilder, PosixRlimitBuilder,
    PosixRlimitType,
};
use std::os::unix::fs::MetadataExt;

/// The first id of the host that the containers here are mapped to.
const OUTSIDE: u32 = 1_000_000;

fn mapped(script: &str) -> Container {
    let mut container = Container::shell(script);
    let mut linux = container.spec.linux().clone().unwrap();
    let mapping = LinuxIdMappingBuilder::default().container_id(0u32).host_id(OUTSIDE).size(65_536u32);
    let mapping = vec![mapping.build().unwrap()];
    let mut namespaces = linux.namespaces().clone().unwrap();
    namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build().unwrap());
    linux
        .set_namespaces(Some(namespaces))
        .set_uid_mappings(Some(mapping.clone()))
        .set_gid_mappings(Some(mapping));
    container.spec.set_linux(Some(linux));
    container
}

/// An overlay whose only layer is the container's root.
fn overlay(container: &Container) -> RootPlan {
    let place = |name: &str| {
        let path = container.directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    RootPlan::Overlay {
        lowers: vec![container.root()],
        upper: place("upper"),
        work: place("work"),
        volatile: false,
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_the_containers_root_is_nobody_outside() {
    let container = mapped(
        "tr -s ' ' < /proc/self/uid_map; id -u; stat -c %u:%g / /bin/busybox /dev /dev/null /dev/pts /proc/self/.; \
         cat /sys/class/net/lo/mtu; echo lost > /dev/null && (mount -t tmpfs x /tmp && echo mounted) 2>&1; \
         dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c",
    );
    let expected = " 0 1000000 65536\n0\n0:0\n0:0\n0:0\n0:0\n0:0\n0:0\n65536\nmount: permission denied (are you root?)\n1\n";
    assert_eq!(container.run().stdout, expected);
}

#[test]
#[ignore = "needs root"]
fn privileged_on_disk_files_keep_the_ids_that_the_container_sees() {
    let script = "echo text > /tmp/new; echo more >> /etc/passwd; chown 1000:1000 /etc/group; mkdir /tmp/sub; \
        rm /bin/cat; chown 70000 /tmp/new 2>&1; stat -c %u /etc/group";
    let container = mapped(script);
    let mut plan = container.plan();
    plan.root = overlay(&container);
    let said = outcome(container.start(plan).unwrap().stream);
    assert_eq!(said.stdout, "chown: /tmp/new: Invalid argument\n1000\n", "{said:?}");
    let upper = container.directory.path().join("upper");
    let owner = |path: &str| {
        let status = std::fs::symlink_metadata(upper.join(path)).unwrap();
        (status.uid(), status.gid())
    };
    assert_eq!(owner("tmp/new"), (0, 0));
    assert_eq!(owner("tmp/sub"), (0, 0));
    assert_eq!(owner("etc/passwd"), (0, 0));
    assert_eq!(owner("etc/group"), (1000, 1000));
    assert_eq!(owner("bin/cat"), (0, 0), "a deleted file");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_further_process_is_mapped_too() {
    let container = mapped("sleep 100");
    let started = container.start(container.plan()).unwrap();
    let mut plan =
        exec_plan(&["/bin/sh", "-c", "id -u; touch /tmp/x; stat -c %u /tmp/x; readlink /proc/self/ns/user"]);
    let said = outcome(container.exec(plan).unwrap().stream);
    let owner = std::fs::metadata(format!("/proc/{}/task", started.pid)).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (OUTSIDE, OUTSIDE));
    let namespace = std::fs::read_link(format!("/proc/{}/ns/user", started.pid)).unwrap();
    assert_eq!(said.stdout, format!("0\n0\n{}\n", namespace.display()), "{said:?}");
    plan = exec_plan(&["/bin/sh", "-c", "echo again > /dev/stdout; id -u"]);
    plan.user = Some("alice".to_owned());
    let said = outcome(container.exec(plan).unwrap().stream);
    assert_eq!(said.stdout, "again\n1000\n", "{said:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_are_raised_by_the_hosts_root() {
    let mut container = mapped("ulimit -Hc; cat /proc/self/oom_score_adj");
    let mut process = container.spec.process().clone().unwrap();
    let limit = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitCore).soft(7u64).hard(512_000u64);
    process.set_rlimits(Some(vec![limit.build().unwrap()])).set_oom_score_adj(Some(77));
    container.spec.set_process(Some(process));
    assert_eq!(container.run().stdout, "1000\n77\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_binds_show_the_hosts_owners_unless_they_are_mapped() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("file"), "text").unwrap();
    let owner_inside = |options: &[&str]| {
        let mut container = mapped("stat -c %u /data/file; touch /data/new && echo made");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mount =
            MountBuilder::default().typ("bind").source(source.path()).destination("/data").options(options);
        let mut mounts = container.spec.mounts().clone().unwrap();
        mounts.push(mount.build().unwrap());
        container.spec.set_mounts(Some(mounts));
        container.run().stdout
    };
    assert_eq!(owner_inside(&["rbind"]), "65534\n");
    assert_eq!(owner_inside(&["rbind", "idmap"]), "0\nmade\n");
    assert_eq!(std::fs::metadata(source.path().join("new")).unwrap().uid(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_terminal_works_there() {
    let mut container = mapped("tty; stat -c %u /dev/console; test -c /dev/console && echo console");
    container.terminal = true;
    let mut plan = container.plan();
    plan.attach = Some(OUTPUT);
    let said = outcome(container.start(plan).unwrap().stream);
    assert_eq!(said.stdout, "/dev/pts/0\r\n0\r\nconsole\r\n", "{said:?}");
}
