//! Kernel settings and limits of a container's processes: `--sysctl`, `--ulimit`, `--oom-score-adj`.

use crate::error::{Error, Result};
use mica_api::types::host_config::{HostConfig, Ulimit};
use mica_model::sysctl::{Namespace, namespace_of};
use oci_spec::OciSpecError;
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// Refuses what the kernel or docker would.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    check_engine(host)?;
    for limit in host.resources.ulimits.iter().flatten() {
        check_limit(limit)?;
    }
    for name in host.sysctls.iter().flatten().map(|(name, _)| name) {
        check_sysctl(name, host)?;
    }
    Ok(())
}

/// Names of docker's usual runtime, all of which mean the only one that there is.
const RUNTIMES: [&str; 4] = ["", "mica", "runc", "io.containerd.runc.v2"];

/// Refuses other ways of running containers and of storing them, in docker's words.
fn check_engine(host: &HostConfig) -> Result<()> {
    if !["", "default"].contains(&host.isolation.to_lowercase().as_str()) {
        return Err(Error::invalid(format!("invalid isolation '{}' on linux", host.isolation)));
    }
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    match host.storage_opt.iter().flatten().next() {
        None => Ok(()),
        Some((name, _)) if name == "size" => Err(Error::invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        )),
        Some((name, _)) => Err(Error::invalid(format!("Unknown option {name}"))),
    }
}

/// Only what belongs to a namespace of the container's own may be set.
fn check_sysctl(name: &str, host: &HostConfig) -> Result<()> {
    match namespace_of(name) {
        None => Err(Error::invalid(format!("sysctl '{name}' is not allowed"))),
        Some(Namespace::Ipc) if host.ipc_mode == "host" => {
            Err(Error::invalid(format!("sysctl \"{name}\" not allowed in host IPC namespace")))
        }
        Some(Namespace::Network) if host.network_mode == "host" => {
            Err(Error::invalid(format!("sysctl \"{name}\" not allowed in host network namespace")))
        }
        Some(_) => Ok(()),
    }
}

fn check_limit(limit: &Ulimit) -> Result<()> {
    if limit_kind(&limit.name).is_none() {
        return Err(Error::invalid(format!("invalid ulimit type: {}", limit.name)));
    }
    let is_above = limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard);
    if is_above {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    Ok(())
}

/// The limits in the specification's terms; negative ones are unlimited, as the kernel reads them.
pub(crate) fn limits(host: &HostConfig) -> std::result::Result<Vec<PosixRlimit>, OciSpecError> {
    let wished = host.resources.ulimits.iter().flatten();
    let known = wished.filter_map(|limit| Some((limit_kind(&limit.name)?, limit)));
    known
        .map(|(kind, limit)| {
            let (soft, hard) = (limit.soft.cast_unsigned(), limit.hard.cast_unsigned());
            PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build()
        })
        .collect()
}

fn limit_kind(name: &str) -> Option<PosixRlimitType> {
    use PosixRlimitType as Kind;
    Some(match name {
        "core" => Kind::RlimitCore,
        "cpu" => Kind::RlimitCpu,
        "data" => Kind::RlimitData,
        "fsize" => Kind::RlimitFsize,
        "locks" => Kind::RlimitLocks,
        "memlock" => Kind::RlimitMemlock,
        "msgqueue" => Kind::RlimitMsgqueue,
        "nice" => Kind::RlimitNice,
        "nofile" => Kind::RlimitNofile,
        "nproc" => Kind::RlimitNproc,
        "rss" => Kind::RlimitRss,
        "rtprio" => Kind::RlimitRtprio,
        "rttime" => Kind::RlimitRttime,
        "sigpending" => Kind::RlimitSigpending,
        "stack" => Kind::RlimitStack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_run_containers() {
        let told = |host: &HostConfig| check(host).map_err(|error| error.to_string());
        for runtime in RUNTIMES {
            let isolation = "Default".to_owned();
            assert_eq!(
                told(&HostConfig { runtime: runtime.to_owned(), isolation, ..Default::default() }),
                Ok(())
            );
        }
        let host = HostConfig { runtime: "kata".to_owned(), ..Default::default() };
        assert_eq!(told(&host).unwrap_err(), "unknown or invalid runtime name: kata");
        let host = HostConfig { isolation: "hyperv".to_owned(), ..Default::default() };
        assert_eq!(told(&host).unwrap_err(), "invalid isolation 'hyperv' on linux");
        for (option, words) in [("size", "only for overlay over xfs"), ("colour", "Unknown option colour")] {
            let storage_opt = Some([(option.to_owned(), "1g".to_owned())].into());
            assert!(told(&HostConfig { storage_opt, ..Default::default() }).unwrap_err().contains(words));
        }
    }
    use std::collections::BTreeMap;

    fn with_sysctl(name: &str, network_mode: &str) -> HostConfig {
        let sysctls = Some(BTreeMap::from([(name.to_owned(), "1".to_owned())]));
        HostConfig { sysctls, network_mode: network_mode.to_owned(), ..Default::default() }
    }

    #[test]
    fn only_settings_of_own_namespaces_are_allowed() {
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max"] {
            check(&with_sysctl(name, "none")).unwrap();
        }
        for name in ["kernel.core_pattern", "vm.swappiness", "net.x/../../kernel/core_pattern", ""] {
            assert!(check(&with_sysctl(name, "none")).is_err(), "{name}");
        }
        assert!(check(&with_sysctl("net.ipv4.ip_forward", "host")).is_err());
        check(&with_sysctl("kernel.shmmax", "host")).unwrap();
    }

    #[test]
    fn limits_have_known_names_and_an_order() {
        let limited = |name: &str, soft, hard| {
            let mut host = HostConfig::default();
            host.resources.ulimits = Some(vec![Ulimit { name: name.to_owned(), soft, hard }]);
            host
        };
        check(&limited("nofile", 10, 20)).unwrap();
        assert_eq!(limits(&limited("core", -1, -1)).unwrap()[0].hard(), u64::MAX);
        for wrong in [limited("nofile", 20, 10), limited("nofile", -1, 10), limited("nofiles", 1, 1)] {
            assert!(check(&wrong).is_err());
        }
        assert!(check(&HostConfig { oom_score_adj: 1001, ..Default::default() }).is_err());
    }
}
