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

#[cfg(test)]
mod tests {
    use super::*;
    use linux_raw_sys::general as kernel;
    use std::fs;

    const ALL: [Abi; 5] = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];

    /// What the bit that tells x32's numbers from others leaves of a number.
    fn plain(number: u32) -> u32 {
        number & !X32_BIT
    }

    /// Calls of this number and above have the same number everywhere.
    #[test]
    fn new_calls_have_the_numbers_of_the_kernels_headers() {
        let numbers = Numbers::open();
        let known = [
            ("pidfd_send_signal", kernel::__NR_pidfd_send_signal),
            ("io_uring_setup", kernel::__NR_io_uring_setup),
            ("io_uring_enter", kernel::__NR_io_uring_enter),
            ("io_uring_register", kernel::__NR_io_uring_register),
            ("open_tree", kernel::__NR_open_tree),
            ("move_mount", kernel::__NR_move_mount),
            ("fsopen", kernel::__NR_fsopen),
            ("fsconfig", kernel::__NR_fsconfig),
            ("fsmount", kernel::__NR_fsmount),
            ("fspick", kernel::__NR_fspick),
            ("pidfd_open", kernel::__NR_pidfd_open),
            ("clone3", kernel::__NR_clone3),
            ("close_range", kernel::__NR_close_range),
            ("openat2", kernel::__NR_openat2),
            ("pidfd_getfd", kernel::__NR_pidfd_getfd),
            ("faccessat2", kernel::__NR_faccessat2),
            ("process_madvise", kernel::__NR_process_madvise),
            ("epoll_pwait2", kernel::__NR_epoll_pwait2),
            ("mount_setattr", kernel::__NR_mount_setattr),
            ("quotactl_fd", kernel::__NR_quotactl_fd),
            ("landlock_create_ruleset", kernel::__NR_landlock_create_ruleset),
            ("landlock_add_rule", kernel::__NR_landlock_add_rule),
            ("landlock_restrict_self", kernel::__NR_landlock_restrict_self),
            ("memfd_secret", kernel::__NR_memfd_secret),
            ("process_mrelease", kernel::__NR_process_mrelease),
            ("futex_waitv", kernel::__NR_futex_waitv),
            ("set_mempolicy_home_node", kernel::__NR_set_mempolicy_home_node),
            ("cachestat", kernel::__NR_cachestat),
            ("fchmodat2", kernel::__NR_fchmodat2),
            ("map_shadow_stack", kernel::__NR_map_shadow_stack),
            ("futex_wake", kernel::__NR_futex_wake),
            ("futex_wait", kernel::__NR_futex_wait),
            ("futex_requeue", kernel::__NR_futex_requeue),
            ("statmount", kernel::__NR_statmount),
            ("listmount", kernel::__NR_listmount),
            ("lsm_get_self_attr", kernel::__NR_lsm_get_self_attr),
            ("lsm_set_self_attr", kernel::__NR_lsm_set_self_attr),
            ("lsm_list_modules", kernel::__NR_lsm_list_modules),
            ("mseal", kernel::__NR_mseal),
            ("setxattrat", kernel::__NR_setxattrat),
            ("getxattrat", kernel::__NR_getxattrat),
            ("listxattrat", kernel::__NR_listxattrat),
            ("removexattrat", kernel::__NR_removexattrat),
            ("open_tree_attr", kernel::__NR_open_tree_attr),
            ("file_getattr", kernel::__NR_file_getattr),
            ("file_setattr", kernel::__NR_file_setattr),
        ];
        for (name, number) in known {
            for abi in ALL {
                match numbers.number(abi, name) {
                    Some(ours) => assert_eq!(plain(ours), number, "{name} of {abi:?}"),
                    // Not every call makes sense on every processor.
                    None => assert!(LACKING.contains(&(name, abi)), "{name} of {abi:?}"),
                }
            }
        }
    }

    const LACKING: [(&str, Abi); 1] = [("memfd_secret", Abi::Arm)];

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_have_the_numbers_of_the_headers_that_a_compiler_needs() {
        let numbers = Numbers::open();
        for (abi, file) in
            [(Abi::X86_64, "unistd_64.h"), (Abi::X86, "unistd_32.h"), (Abi::X32, "unistd_x32.h")]
        {
            let read = |place: &str| fs::read_to_string(format!("{place}/{file}")).ok();
            let text = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"].into_iter().find_map(read);
            let mut count = 0;
            for line in text.unwrap().lines() {
                let Some((name, number)) =
                    line.strip_prefix("#define __NR_").and_then(|line| line.split_once(' '))
                else {
                    continue;
                };
                // Those of x32 are sums: `(__X32_SYSCALL_BIT + 1)`.
                let number: u32 = number.trim_end_matches(')').rsplit(' ').next().unwrap().parse().unwrap();
                assert_eq!(numbers.number(abi, name).map(plain), Some(number), "{name} of {abi:?}");
                count += 1;
            }
            assert!(count > 300, "{abi:?}");
        }
    }
}
