//! What tests are fed with: made once, kept in `target/fixtures`, and made again when it is missing.

use crate::image_archive::ImageArchive;
use crate::tarball::{Entry, Tarball};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The name of the busybox image.
pub const BUSYBOX: &str = "busybox:latest";

/// The name of the Debian image.
pub const DEBIAN: &str = "debian:minbase";

/// Where Debian's `busybox-static` puts its program.
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

/// The directory of all fixtures.
pub fn directory() -> PathBuf {
    workspace().join("target/fixtures")
}

/// The top of the working copy.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The `mica` binary under test: `MICA_BIN`, else the one built beside the tests.
///
/// # Panics
/// If there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MICA_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    let built =
        test.ancestors().skip(1).take(3).map(|directory| directory.join("mica")).find(|path| path.is_file());
    built.expect("a `mica` binary beside the tests or in MICA_BIN: run `cargo build -p mica` first")
}

/// A docker archive of a busybox image: one layer with the static program, its applets as symbolic links, the usual
/// directories, and users `root` and `daemon`.
///
/// # Errors
/// Debian's `busybox-static` is not installed, or the fixtures' directory cannot be written.
pub fn busybox_archive() -> io::Result<PathBuf> {
    let path = directory().join("busybox.tar");
    if path.is_file() {
        return Ok(path);
    }
    let archive =
        ImageArchive::named(BUSYBOX).layer(busybox_layer()?).config("/config/Cmd", json!(["sh"])).build();
    place(&path, &archive)?;
    Ok(path)
}

/// The layer of the busybox image, as a tar stream.
///
/// # Errors
/// Debian's `busybox-static` is not installed.
pub fn busybox_layer() -> io::Result<Vec<u8>> {
    let program = fs::read(BUSYBOX_PROGRAM)?;
    let listed = Command::new(BUSYBOX_PROGRAM).arg("--list").output()?;
    let mut tar = Tarball::new();
    for directory in
        ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var"]
    {
        let mode = if directory == "tmp" { 0o1777 } else { 0o755 };
        tar.add(&Entry::directory(format!("{directory}/")).mode(mode));
    }
    tar.add(&Entry::file("bin/busybox", program).mode(0o755));
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|&applet| applet != "busybox") {
        tar.add(&Entry::symlink(format!("bin/{applet}"), "busybox"));
    }
    tar.add(&Entry::symlink("usr/bin/env", "../../bin/busybox"));
    let users = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
    tar.add(&Entry::file("etc/passwd", users));
    tar.add(&Entry::file("etc/group", "root:x:0:\ndaemon:x:1:\nwheel:x:10:daemon\nnogroup:x:65534:\n"));
    Ok(tar.finish())
}

/// The plain tar of a minimal Debian root, for `mica import`.
///
/// # Errors
/// It has not been made yet, or `debootstrap` failed.
pub fn debian_root() -> io::Result<PathBuf> {
    let path = directory().join("debian.tar");
    if path.is_file() {
        return Ok(path);
    }
    let scratch = tempfile::tempdir_in("/var/tmp")?;
    let root = scratch.path().join("root");
    let part = scratch.path().join("debian.tar");
    run(Command::new("debootstrap").args(["--variant=minbase", "stable"]).arg(&root))?;
    run(Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--exclude=./var/cache/apt/archives/*.deb", "-cf"])
        .arg(&part)
        .arg("-C")
        .arg(&root)
        .arg("."))?;
    fs::create_dir_all(directory())?;
    // The working copy may lie on another file system than the scratch directory.
    let near = path.with_extension("part");
    fs::copy(&part, &near)?;
    fs::rename(&near, &path)?;
    Ok(path)
}

/// Writes a fixture so that another process sees all of it or nothing.
fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory())?;
    let part = path.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes)?;
    fs::rename(part, path)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.env("LC_ALL", "C").output()?;
    if output.status.success() {
        return Ok(());
    }
    let tail = String::from_utf8_lossy(&output.stderr).lines().rev().take(3).collect::<Vec<_>>().join(" | ");
    Err(io::Error::other(format!("{:?} failed: {tail}", command.get_program())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_holds_this_crate() {
        assert!(workspace().join("crates/e2e/src/fixture.rs").is_file());
    }
}
