//! The ways in which a program can call the kernel, and the numbers of its calls in each.
//!
//! `seccomp/numbers.tsv` holds the facts of the kernel's `asm/unistd_*.h`, sorted by name.

/// A calling convention of system calls (syscall(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers; shares its audit number with [`Abi::X86_64`].
    X32,
    /// 64-bit arm.
    Aarch64,
    /// 32-bit arm.
    Arm,
}

/// The bit that makes a number one of x32's (`asm/unistd.h`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp/numbers.tsv"));

impl Abi {
    /// That of the programs of a target architecture, if we know it.
    pub(crate) fn of_target(architecture: &str) -> Option<Self> {
        match architecture {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// That of a name in a profile's `architectures`.
    pub(crate) fn of_profile(name: &str) -> Option<Self> {
        match name {
            "SCMP_ARCH_X86_64" => Some(Self::X86_64),
            "SCMP_ARCH_X86" => Some(Self::X86),
            "SCMP_ARCH_X32" => Some(Self::X32),
            "SCMP_ARCH_AARCH64" => Some(Self::Aarch64),
            "SCMP_ARCH_ARM" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The name in a profile's conditions; docker's are Go's.
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel shows to a filter (`linux/audit.h`).
    pub(crate) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits; of the others only the lower half is looked at.
    pub(crate) fn has_wide_arguments(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// The first number of a region beside the ordinary numbers, which says nothing about their end.
    pub(crate) fn private_numbers(self) -> u32 {
        if self == Self::Arm { 0x000F_0000 } else { u32::MAX }
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }
}

/// The table of numbers, ready to be searched.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Names, and their numbers as text.
    lines: Vec<(&'static str, &'static str)>,
}

impl Numbers {
    pub(crate) fn open() -> Self {
        Self { lines: TABLE.lines().skip(1).filter_map(|line| line.split_once('\t')).collect() }
    }

    /// The number of a call; `None` where the convention, or our table, lacks it.
    pub(crate) fn number(&self, abi: Abi, name: &str) -> Option<u32> {
        let found = self.lines.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        self.lines[found].1.split('\t').nth(abi.column())?.parse().ok()
    }
}
