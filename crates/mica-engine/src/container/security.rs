//! `--security-opt`: what a container's processes may ask of the kernel.
//!
//! A profile of the user's own is compiled once for a set of capabilities and kept in
//! `ROOT/seccomp`, under the digest of all that the result depends on.

use crate::disk::{Disk, make_directory};
use crate::error::{Error, Result};
use mica_api::types::host_config::HostConfig;
use mica_runtime::{Filter, ProfileError};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Which system calls are let through.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Profile {
    Builtin,
    Unconfined,
    /// The text of a file in docker's format.
    Own(String),
}

/// The meaning of the security options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    profile: Profile,
    pub(crate) no_new_privileges: bool,
}

impl Security {
    /// What a container's definition asks for. One with extended privileges is filtered only by a
    /// profile that it names.
    pub(crate) fn of(host: &HostConfig) -> Result<Self> {
        let options = host.security_opt.as_deref().unwrap_or_default();
        let profile = if host.privileged { Profile::Unconfined } else { Profile::Builtin };
        Self { profile, no_new_privileges: false }.with(options)
    }

    /// Reads options as docker's daemon does; the last of a kind wins.
    fn with(mut self, options: &[String]) -> Result<Self> {
        for option in options {
            self.take(option)?;
        }
        Ok(self)
    }

    fn take(&mut self, option: &str) -> Result<()> {
        if option == "no-new-privileges" {
            self.no_new_privileges = true;
            return Ok(());
        }
        let invalid = |number: u8| Error::invalid(format!("invalid --security-opt {number}: {option:?}"));
        let (key, value) =
            option.split_once('=').or_else(|| option.split_once(':')).ok_or_else(|| invalid(1))?;
        match (key, value) {
            ("no-new-privileges", _) => self.no_new_privileges = boolean(value).ok_or_else(|| invalid(2))?,
            ("seccomp", "builtin") => self.profile = Profile::Builtin,
            ("seccomp", "unconfined") => self.profile = Profile::Unconfined,
            ("seccomp", json) => self.profile = Profile::Own(json.to_owned()),
            // What is asked for is already so.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor", _) => return Err(lacking("AppArmor", option)),
            ("label", _) => return Err(lacking("SELinux", option)),
            _ => return Err(invalid(2)),
        }
        Ok(())
    }

    /// The filter for a process that can gain the capabilities of the mask `bounding`.
    pub(crate) fn filter(&self, disk: &Disk, bounding: u64) -> Result<Option<Filter>> {
        match &self.profile {
            Profile::Unconfined => Ok(None),
            Profile::Builtin => Filter::builtin(bounding).map(Some).map_err(|problem| refused(&problem)),
            Profile::Own(json) => kept(&disk.seccomp(), json, bounding),
        }
    }
}

fn refused(problem: &ProfileError) -> Error {
    Error::invalid(problem.to_string())
}

fn lacking(module: &str, option: &str) -> Error {
    Error::Unsupported {
        what: format!(
            "--security-opt {option:?} cannot be kept: mica does not apply {module} labels; only switching them off is accepted"
        ),
    }
}

/// What Go takes for a truth value.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The filter of a profile, from `directory` if it was compiled before.
fn kept(directory: &Path, json: &str, bounding: u64) -> Result<Option<Filter>> {
    let path = directory.join(name(json, bounding));
    if let Some(filter) = fs::read(&path).ok().and_then(|bytes| checked(&bytes)) {
        return Ok(Some(filter));
    }
    let compiled = Filter::compile(json, bounding).map_err(|problem| refused(&problem))?;
    if let Some(filter) = &compiled {
        // A store that is full or read-only only loses the saving.
        let _ = keep(directory, &path, filter);
    }
    Ok(compiled)
}

fn name(json: &str, bounding: u64) -> String {
    let (major, minor) = mica_runtime::kernel_version();
    let version = mica_runtime::FILTER_VERSION;
    let seed = format!("{version} {} {major}.{minor} {bounding:x}\n{json}", std::env::consts::ARCH);
    mica_model::digest::hex(&Sha256::digest(seed))
}

/// The filter in a kept file, unless the file is torn or damaged: it begins with its own digest.
fn checked(bytes: &[u8]) -> Option<Filter> {
    let (digest, content) = bytes.split_first_chunk::<32>()?;
    (Sha256::digest(content).as_slice() == digest).then(|| Filter::from_bytes(content))?
}

fn keep(directory: &Path, path: &Path, filter: &Filter) -> Result<()> {
    make_directory(directory)?;
    make_room(directory);
    let content = filter.to_bytes();
    let new = path.with_extension(format!("new{}", std::process::id()));
    let failed = |source| Error::io("write", &new, source);
    fs::write(&new, [Sha256::digest(&content).as_slice(), &content].concat()).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

/// Forgets the oldest when there are many.
fn make_room(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let age = |entry: &fs::DirEntry| entry.metadata().and_then(|status| status.modified());
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| (age(&entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
        .collect();
    files.sort();
    let excess = files.len().saturating_sub(KEPT_COUNT_MAX - 1);
    for (_, path) in &files[..excess] {
        let _ = fs::remove_file(path);
    }
}

/// How many compiled profiles are kept, of some kilobytes each.
const KEPT_COUNT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"name":"chmod","action":"SCMP_ACT_ERRNO"}]}"#;

    fn parse(options: &[&str]) -> std::result::Result<Security, String> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let host = HostConfig { security_opt: Some(options), ..HostConfig::default() };
        Security::of(&host).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_as_docker_reads_them() {
        let none = parse(&[]).unwrap();
        assert_eq!(none, Security { profile: Profile::Builtin, no_new_privileges: false });
        for on in ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:1"] {
            assert!(parse(&[on]).unwrap().no_new_privileges, "{on}");
        }
        assert!(!parse(&["no-new-privileges", "no-new-privileges=false"]).unwrap().no_new_privileges);
        assert_eq!(parse(&["seccomp=unconfined"]).unwrap().profile, Profile::Unconfined);
        assert_eq!(parse(&["seccomp={}"]).unwrap().profile, Profile::Own("{}".to_owned()));
        assert_eq!(parse(&["apparmor=unconfined", "label=disable"]).unwrap(), none);
        assert_eq!(parse(&["nothing"]).unwrap_err(), "invalid --security-opt 1: \"nothing\"");
        assert_eq!(parse(&["a=b"]).unwrap_err(), "invalid --security-opt 2: \"a=b\"");
        assert!(parse(&["no-new-privileges=maybe"]).unwrap_err().contains("invalid --security-opt 2"));
        assert!(parse(&["apparmor=docker-default"]).unwrap_err().contains("AppArmor"));
        assert!(parse(&["label=type:x"]).unwrap_err().contains("SELinux"));
    }

    #[test]
    fn extended_privileges_are_filtered_by_a_named_profile_only() {
        let profile = |options: &[&str]| {
            let options = options.iter().map(|&option| option.to_owned()).collect();
            let host = HostConfig { privileged: true, security_opt: Some(options), ..HostConfig::default() };
            Security::of(&host).unwrap().profile
        };
        assert_eq!(profile(&[]), Profile::Unconfined);
        assert_eq!(profile(&["seccomp={}"]), Profile::Own("{}".to_owned()));
    }

    #[test]
    fn a_compiled_profile_is_kept_and_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("seccomp");
        let first = kept(&place, PROFILE, 0).unwrap().unwrap();
        let path = place.join(name(PROFILE, 0));
        assert_eq!(checked(&fs::read(&path).unwrap()), Some(first.clone()));
        let mut damaged = fs::read(&path).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(checked(&damaged), None);
        assert_eq!(kept(&place, PROFILE, 0).unwrap(), Some(first));
        assert_ne!(name(PROFILE, 0), name(PROFILE, 1));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        for bounding in 0..70 {
            kept(directory.path(), PROFILE, bounding).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), KEPT_COUNT_MAX);
        assert!(directory.path().join(name(PROFILE, 69)).exists());
    }
}
