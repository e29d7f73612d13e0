//! What is needed from the distribution, and its installation where it is missing.

use crate::build;
use crate::failure::Failure;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A package of Debian and a file that is there once it is installed.
pub(crate) type Package = (&'static str, &'static str);

/// What compiling needs besides Rust.
pub(crate) const BUILD: &[Package] = &[("gcc", "/usr/bin/cc"), ("libc6-dev", "/usr/include/stdio.h")];

/// What the tests need that run containers.
pub(crate) const CONTAINERS: &[Package] = &[
    ("busybox-static", "/bin/busybox"),
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("skopeo", "/usr/bin/skopeo"),
    ("podman", "/usr/bin/podman"),
    ("crun", "/usr/bin/crun"),
    ("docker-registry", "/usr/bin/docker-registry"),
    ("apache2-utils", "/usr/bin/htpasswd"),
    ("openssl", "/usr/bin/openssl"),
    ("openssh-client", "/usr/bin/ssh-agent"),
    ("runc", "/usr/sbin/runc"),
    ("docker.io", "/usr/sbin/dockerd"),
    ("bubblewrap", "/usr/bin/bwrap"),
    ("strace", "/usr/bin/strace"),
    ("tmux", "/usr/bin/tmux"),
    ("zstd", "/usr/bin/zstd"),
    ("iproute2", "/usr/sbin/ip"),
    ("nftables", "/usr/sbin/nft"),
    ("wget", "/usr/bin/wget"),
];

/// What the virtual machine needs.
pub(crate) const MACHINE: &[Package] = &[
    ("busybox-static", "/bin/busybox"),
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("cpio", "/usr/bin/cpio"),
];

/// Where a program says whether services may be started by package scripts (invoke-rc.d(8)).
const START_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing of some packages.
pub(crate) fn install(packages: &[Package]) -> Result<(), Failure> {
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Packages {
            packages: missing.join(" "),
            reason: "installing needs root".into(),
        });
    }
    println!("installing {}", missing.join(" "));
    let _policy = StartPolicy::forbid()?;
    update()?;
    let mut command = apt();
    command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    build::capture(&mut command).map(drop).map_err(|failure| refused(missing.join(" "), &failure))
}

/// Refreshes the lists of packages.
pub(crate) fn update() -> Result<(), Failure> {
    let said = build::capture(apt().args(["update", "--error-on=any"]));
    said.map(drop).map_err(|failure| refused("anything (`apt-get update`)".into(), &failure))
}

/// Fetches a package without installing it, into a directory.
pub(crate) fn download(package: &str, directory: &Path) -> Result<(), Failure> {
    let fetch = || build::capture(apt().args(["download", package]).current_dir(directory)).map(drop);
    // Lists that are old name a version which the server has already replaced.
    fetch().or_else(|_| update().and_then(|()| fetch())).map_err(|failure| refused(package.into(), &failure))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").arg("--quiet");
    command.args(["-o", "DPkg::Lock::Timeout=120"]);
    command
}

fn refused(packages: String, failure: &Failure) -> Failure {
    Failure::Packages { packages, reason: failure.to_string() }
}

/// Keeps package scripts from starting services, for as long as it lives: tests need the programs of `docker.io`, and
/// nobody wants a daemon that changes the firewall for that.
#[derive(Debug)]
struct StartPolicy {
    ours: bool,
}

impl StartPolicy {
    fn forbid() -> Result<Self, Failure> {
        let path = Path::new(START_POLICY);
        if path.exists() {
            return Ok(Self { ours: false });
        }
        // 101 means "action forbidden by policy".
        fs::write(path, "#!/bin/sh\nexit 101\n").map_err(Failure::file(path))?;
        let policy = Self { ours: true };
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Failure::file(path))?;
        Ok(policy)
    }
}

impl Drop for StartPolicy {
    fn drop(&mut self) {
        if self.ours {
            drop(fs::remove_file(START_POLICY));
        }
    }
}
