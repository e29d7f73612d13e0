//! Compiles docker's seccomp profile for containers with docker's capabilities, so that a start only
//! has to load it. The compiler is the one that the runtime has for all other profiles.

#![allow(dead_code, unreachable_pub, reason = "the modules are the runtime's, which uses all of them")]
#![allow(clippy::disallowed_methods, reason = "cargo speaks to a build script through its environment")]

#[path = "src/seccomp/abi.rs"]
mod abi;
#[path = "src/seccomp/compile.rs"]
mod compile;
#[path = "src/seccomp/profile.rs"]
mod profile;

use std::error::Error;
use std::path::PathBuf;

/// Of the capabilities that docker gives, the ones that its profile asks for.
const CAPABILITIES: [&str; 1] = ["CAP_SYS_CHROOT"];

/// Any that knows clone3(2), without which nothing here runs, meets the profile's conditions.
const KERNEL: (u32, u32) = (5, 3);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=seccomp");
    println!("cargo::rerun-if-changed=src/seccomp");
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let abi = abi::Abi::of_target(&architecture)
        .ok_or_else(|| format!("there are no numbers of system calls for {architecture}"))?;
    let has_capability = |name: &str| CAPABILITIES.contains(&name);
    let host = profile::Host { abi, kernel: KERNEL, has_capability: &has_capability };
    let json = include_str!("seccomp/default.json");
    let rules = profile::resolve(json, &host)?.ok_or("the profile is empty")?;
    let program = compile::compile(&rules)?;
    let bytes: Vec<u8> = program.into_iter().flat_map(compile::Instruction::to_bytes).collect();
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("seccomp-default.bpf"), bytes)?;
    Ok(())
}
