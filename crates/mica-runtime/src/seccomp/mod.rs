//! Which system calls may a container's processes make? Docker's profile, or one of the user's own.
//!
//! `profile` reads what is wished, `compile` makes the kernel's filter of it; both also run at build
//! time, so that the filter of an ordinary container is a constant of the binary.

mod abi;
mod compile;
mod profile;
#[cfg(test)]
mod tests;

pub use profile::ProfileError;

use crate::plan::{capability_mask, capability_number};
use abi::Abi;
use profile::Host;
use serde::{Deserialize, Serialize};

/// Docker's profile, in docker's format.
const DEFAULT_PROFILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp/default.json"));

/// What the build script made of it.
static DEFAULT_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp-default.bpf"));

/// What the kernel is told along with it (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`, as runc).
const DEFAULT_FLAGS: u32 = 1 << 2;

/// The capabilities that docker's profile asks for.
const ASKED_CAPABILITIES: [&str; 14] = [
    "DAC_READ_SEARCH",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYS_NICE",
    "SYSLOG",
    "BPF",
    "PERFMON",
];

/// Of those, the ones that containers have unless told otherwise.
const USUAL_CAPABILITIES: [&str; 1] = ["SYS_CHROOT"];

/// Changes when the compiler does, so that programs which an older one made are not used.
pub const FILTER_VERSION: u32 = 1;

/// A filter on system calls, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter(Program);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Program {
    /// The one that is part of the binary.
    Default,
    /// Instructions of eight bytes each, and `SECCOMP_FILTER_FLAG_*`.
    Own { flags: u32, code: Vec<u8> },
}

impl Filter {
    /// Docker's default, for a process that can have the capabilities of the mask `bounding`.
    pub fn builtin(bounding: u64) -> Result<Self, ProfileError> {
        let asked = bounding & capability_mask(&ASKED_CAPABILITIES);
        if asked == capability_mask(&USUAL_CAPABILITIES) {
            return Ok(Self(Program::Default));
        }
        let compiled = Self::compile(DEFAULT_PROFILE, bounding)?;
        Ok(compiled.unwrap_or(Self(Program::Default)))
    }

    /// Compiles a profile in docker's format; one that says nothing gives no filter.
    pub fn compile(json: &str, bounding: u64) -> Result<Option<Self>, ProfileError> {
        let has_capability = |name: &str| {
            let number = name.strip_prefix("CAP_").and_then(capability_number);
            number.is_some_and(|number| bounding & 1 << number != 0)
        };
        let abi = Abi::of_target(std::env::consts::ARCH).unwrap_or(Abi::X86_64);
        let host = Host { abi, kernel: kernel_version(), has_capability: &has_capability };
        let Some(rules) = profile::resolve(json, &host)? else { return Ok(None) };
        let program = compile::compile(&rules)?;
        let code = program.into_iter().flat_map(compile::Instruction::to_bytes).collect();
        Ok(Some(Self(Program::Own { flags: rules.flags, code })))
    }

    /// Reads what [`Filter::to_bytes`] gave; `None` if it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (flags, code) = bytes.split_first_chunk::<4>()?;
        let is_whole = !code.is_empty() && code.len().is_multiple_of(8);
        let flags = u32::from_le_bytes(*flags);
        is_whole.then(|| Self(Program::Own { flags, code: code.to_vec() }))
    }

    /// As bytes, to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.flags().to_le_bytes().as_slice(), self.code()].concat()
    }

    pub(crate) fn flags(&self) -> u32 {
        match &self.0 {
            Program::Default => DEFAULT_FLAGS,
            Program::Own { flags, .. } => *flags,
        }
    }

    pub(crate) fn code(&self) -> &[u8] {
        match &self.0 {
            Program::Default => DEFAULT_PROGRAM,
            Program::Own { code, .. } => code,
        }
    }
}

/// The running kernel's version and patch level, on which a profile's rules may depend.
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
