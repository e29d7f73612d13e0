//! Compiles the program of the embedded image for the same target as the engine.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest/hello.rs");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var_os(name).ok_or_else(|| format!("cargo does not set {name}"));
    let program = PathBuf::from(variable("OUT_DIR")?).join("hello");
    let status = Command::new(variable("RUSTC")?)
        .args(["--edition", "2024", "--crate-name", "hello", "--crate-type", "bin"])
        .args(["-C", "opt-level=z", "-C", "panic=abort", "-C", "strip=symbols", "-C", "lto=fat"])
        // Nothing but this file is in the image, so it brings its own C library and needs no loader.
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"])
        .arg("--target")
        .arg(variable("TARGET")?)
        .arg("-o")
        .arg(&program)
        .args(env::var_os("RUSTC_LINKER").map(linker))
        .arg("guest/hello.rs")
        .status()?;
    if !status.success() {
        return Err("guest/hello.rs does not compile".into());
    }
    println!("cargo::rustc-env=MICA_HELLO_PROGRAM={}", program.display());
    Ok(())
}

fn linker(path: OsString) -> OsString {
    let mut argument = OsString::from("-Clinker=");
    argument.push(path);
    argument
}
