//! Options of a container's place in a network: what the link in it is called, and its settings.

use crate::error::{Error, Result};
use crate::network::record::Network;
use std::collections::BTreeMap;

/// What the link is called in the container.
const NAME: &str = "com.docker.network.endpoint.ifname";
/// Settings of the kernel for it, as `net.ipv4.conf.IFNAME.log_martians=1`, with commas between.
const SETTINGS: &str = "com.docker.network.endpoint.sysctls";
/// Of a network: how the names of its containers' links begin.
const PREFIX: &str = "com.docker.network.container_iface_prefix";

/// How they begin otherwise.
const PREFIX_DEFAULT: &str = "eth";

/// Stands for the link in the name of a setting.
const LINK: &str = "IFNAME";

/// Longest name of a link.
const NAME_LENGTH_MAX: usize = 15;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointOptions {
    /// The link's own name.
    name: Option<String>,
    /// Settings: their family and group, their name and value.
    settings: Vec<([String; 2], String, String)>,
}

impl EndpointOptions {
    /// Reads options; those that nobody would heed are refused.
    pub(crate) fn read(options: Option<&BTreeMap<String, String>>) -> Result<Self> {
        let mut read = Self::default();
        for (option, value) in options.into_iter().flatten() {
            match option.as_str() {
                NAME => read.name = Some(checked(value)?),
                SETTINGS => {
                    let settings = value.split(',').filter(|word| !word.is_empty());
                    read.settings = settings.map(parse_setting).collect::<Result<_>>()?;
                }
                _ => {
                    return Err(Error::invalid(format!("no driver has an option {option:?} of an endpoint")));
                }
            }
        }
        Ok(read)
    }

    /// What the link of the container's place at this position is called.
    pub(crate) fn name(&self, network: &Network, position: i64) -> String {
        let prefix = network.definition.plan.options.get(PREFIX).map_or(PREFIX_DEFAULT, String::as_str);
        self.name.clone().unwrap_or_else(|| format!("{prefix}{position}"))
    }

    /// Files of settings below `/proc/sys/net`, and what is to be in them.
    pub(crate) fn files(&self, name: &str) -> Vec<(String, String)> {
        let file = |([family, group], setting, value): &([String; 2], String, String)| {
            (format!("{family}/{group}/{name}/{setting}"), value.clone())
        };
        self.settings.iter().map(file).collect()
    }
}

fn checked(name: &str) -> Result<String> {
    let is_legal = !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'))
        && !matches!(name, "lo" | "." | ".." | "all" | "default");
    if is_legal {
        Ok(name.to_owned())
    } else {
        Err(Error::invalid(format!("invalid name of a link: {name:?}")))
    }
}

fn parse_setting(text: &str) -> Result<([String; 2], String, String)> {
    let wrong =
        || Error::invalid(format!("invalid sysctl setting {text:?}: net.ipv4.conf.{LINK}.NAME=VALUE"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let words: Vec<&str> = name.trim().split('.').collect();
    let ["net", family, group, LINK, setting] = words.as_slice() else { return Err(wrong()) };
    let is_setting = !setting.is_empty()
        && setting.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let is_value = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    if !matches!(*family, "ipv4" | "ipv6") || !matches!(*group, "conf" | "neigh") || !is_setting || !is_value
    {
        return Err(wrong());
    }
    Ok(([(*family).to_owned(), (*group).to_owned()], (*setting).to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str, value: &str) -> Result<EndpointOptions> {
        EndpointOptions::read(Some(&BTreeMap::from([(option.to_owned(), value.to_owned())])))
    }

    #[test]
    fn settings_are_those_of_the_link_and_no_others() {
        let options =
            read(SETTINGS, "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.gc_stale_time=9")
                .unwrap();
        let files = options.files("eth0");
        assert_eq!(files[0], ("ipv4/conf/eth0/log_martians".to_owned(), "1".to_owned()));
        assert_eq!(files[1].0, "ipv6/neigh/eth0/gc_stale_time");
        for wrong in [
            "net.ipv4.conf.eth0.forwarding=1",
            "net.ipv4.ip_forward=1",
            "net.core.conf.IFNAME.x=1",
            "net.ipv4.conf.IFNAME...=1",
            "net.ipv4.conf.IFNAME./x=1",
            "net.ipv4.conf.IFNAME.forwarding",
            "net.ipv4.conf.IFNAME.forwarding=1\n2",
        ] {
            assert!(read(SETTINGS, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_one_that_a_link_may_have() {
        assert_eq!(read(NAME, "wan0").unwrap().name.as_deref(), Some("wan0"));
        for wrong in ["", "lo", "..", "a/b", "a b", "sixteen-letters-"] {
            assert!(read(NAME, wrong).is_err(), "{wrong}");
        }
        assert!(read("com.example.unknown", "1").is_err());
    }
}
