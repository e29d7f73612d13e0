//! Options of file systems in memory: those of `--tmpfs`, those of `--mount type=tmpfs`.

use crate::error::{Error, Result};
use mica_api::types::mount::TmpfsOptions;

/// What every one of them has, unless it is told otherwise.
const DEFAULTS: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];

/// Flags, each beside its opposite: of both the last one counts.
const FLAGS: [[&str; 2]; 12] = [
    ["ro", "rw"],
    ["exec", "noexec"],
    ["suid", "nosuid"],
    ["dev", "nodev"],
    ["atime", "noatime"],
    ["diratime", "nodiratime"],
    ["relatime", "norelatime"],
    ["strictatime", "nostrictatime"],
    ["sync", "async"],
    ["dirsync", "nodirsync"],
    ["mand", "nomand"],
    ["defaults", "defaults"],
];

/// Flags that change nothing of a file system in memory.
const MEANINGLESS: [&str; 7] = ["defaults", "sync", "async", "dirsync", "nodirsync", "mand", "nomand"];

/// Options with a value.
const KEYS: [&str; 7] = ["mode", "size", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// The options of `--mount`, the defaults before them.
pub(super) fn of_mount(wish: &TmpfsOptions, is_read_only: bool) -> Vec<String> {
    let mut options: Vec<String> = DEFAULTS.map(str::to_owned).to_vec();
    if is_read_only {
        options.push("ro".to_owned());
    }
    if wish.mode != 0 {
        options.push(format!("mode={:o}", wish.mode));
    }
    if wish.size_bytes > 0 {
        options.push(format!("size={}", wish.size_bytes));
    }
    options
}

/// The options of `--tmpfs`, checked, the defaults before them; of contradicting ones the last counts.
pub(super) fn of_words(typed: &str) -> Result<Vec<String>> {
    let mut options: Vec<String> = DEFAULTS.map(str::to_owned).to_vec();
    for word in typed.split(',').filter(|_| !typed.is_empty()) {
        let group = group(word).ok_or_else(|| Error::invalid(format!("Invalid tmpfs option [{word:?}]")))?;
        options.retain(|known| self::group(known) != Some(group));
        options.push(word.to_owned());
    }
    // Memory is never synchronised with anything, and nobody locks files by force any more.
    options.retain(|option| !MEANINGLESS.contains(&option.as_str()));
    Ok(options)
}

/// Which options an option replaces.
fn group(word: &str) -> Option<&'static str> {
    if let Some((key, value)) = word.split_once('=') {
        return KEYS.into_iter().find(|known| *known == key && !value.is_empty());
    }
    if PROPAGATIONS.contains(&word) {
        return Some("propagation");
    }
    FLAGS.into_iter().find(|pair| pair.contains(&word)).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_contradicting_options_counts() {
        let options = of_words("exec,size=1m,size=2m,rw,mode=1777").unwrap();
        assert_eq!(options, ["nosuid", "nodev", "rprivate", "exec", "size=2m", "rw", "mode=1777"]);
        assert_eq!(of_words("").unwrap(), DEFAULTS);
    }

    #[test]
    fn unknown_options_are_refused() {
        for wrong in ["bind", "size", "size=", "lowerdir=/", "x", "rw,,ro", "uid=1,y=2"] {
            assert!(of_words(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_modes_of_mounts_are_the_kernels() {
        let wish = TmpfsOptions { size_bytes: 4096, mode: 0o700 };
        assert_eq!(
            of_mount(&wish, true),
            ["noexec", "nosuid", "nodev", "rprivate", "ro", "mode=700", "size=4096"]
        );
    }
}
