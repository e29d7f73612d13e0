//! Reads `-p` and `--expose` in all of docker's spellings.

use crate::args::ValueError;
use mica_api::types::container::Empty;
use mica_api::types::host_config::PortBinding;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Ports by `80/tcp`, and where on the host each is to be.
pub type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// The most ports that one flag can name.
const RANGE_MAX: u32 = u16::MAX as u32 + 1;

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
}

impl Range {
    fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

fn error(message: String) -> ValueError {
    ValueError { message }
}

fn parse_range(text: &str) -> Option<Range> {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some(Range { first, last })
}

fn protocol_of(text: &str) -> Result<(&str, String), ValueError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Ok((ports, protocol));
    }
    Err(error(format!("invalid proto: {protocol}")))
}

/// Checks `--publish`.
///
/// # Errors
/// What docker refuses.
pub fn parse(typed: &str) -> Result<String, ValueError> {
    bindings(typed).map(|_| typed.to_owned())
}

/// `[[ADDRESS:][HOST-PORTS]:]PORTS[/PROTOCOL]`, or the long form with `target=` and commas.
///
/// # Errors
/// What docker refuses.
pub fn bindings(typed: &str) -> Result<Bindings, ValueError> {
    if typed.contains('=') {
        return long_form(typed);
    }
    let (front, protocol) = protocol_of(typed)?;
    let (front, private) = front.rsplit_once(':').map_or(("", front), |(front, private)| (front, private));
    let (address, host) = split_host(front);
    if private.is_empty() {
        return Err(error(format!("no port specified: {typed}<empty>")));
    }
    let range = parse_range(private).filter(|range| range.first > 0);
    let private = range.ok_or_else(|| error(format!("invalid containerPort: {private}")))?;
    expand(private, (&host_address(address)?, host), &protocol)
}

/// What stands before the container's port: an address in brackets or not, and ports.
fn split_host(front: &str) -> (&str, &str) {
    if let Some(end) = front.rfind(']') {
        return (&front[..=end], front[end + 1..].trim_start_matches(':'));
    }
    match front.rsplit_once(':') {
        // Without brackets the whole may be an address of IPv6 with a port behind it.
        Some((address, ports)) => (address, ports),
        None if front.contains('.') => (front, ""),
        None => ("", front),
    }
}

fn host_address(text: &str) -> Result<String, ValueError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(String::new());
    }
    bare.parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| error(format!("invalid IP address: {bare}")))
}

fn expand(private: Range, (address, host): (&str, &str), protocol: &str) -> Result<Bindings, ValueError> {
    let wanted = match host {
        "" => None,
        text => Some(parse_range(text).ok_or_else(|| error(format!("invalid hostPort: {text}")))?),
    };
    // One port of the container may be at any one of several of the host.
    let is_choice = private.count() == 1 && wanted.is_some_and(|wanted| wanted.count() > 1);
    if wanted.is_some_and(|wanted| !is_choice && wanted.count() != private.count()) {
        return Err(error(format!(
            "invalid ranges specified for container and host Ports: {}-{} and {host}",
            private.first, private.last
        )));
    }
    let mut bindings = Bindings::new();
    for index in 0..private.count().min(RANGE_MAX) {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        let host_port = match wanted {
            None => String::new(),
            Some(_) if is_choice => host.to_owned(),
            Some(wanted) => (wanted.first + offset).to_string(),
        };
        let key = format!("{}/{protocol}", private.first + offset);
        let binding = PortBinding { host_ip: address.to_owned(), host_port };
        bindings.insert(key, Some(vec![binding]));
    }
    Ok(bindings)
}

fn long_form(typed: &str) -> Result<Bindings, ValueError> {
    let (mut private, mut host, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in typed.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| error(format!("invalid field {field}: must be a key=value pair")))?;
        match key.to_ascii_lowercase().as_str() {
            "target" => value.clone_into(&mut private),
            "published" => value.clone_into(&mut host),
            "protocol" => protocol = protocol_of(&format!("1/{value}"))?.1,
            "mode" if matches!(value, "host" | "ingress") => {}
            "mode" => {
                return Err(error(format!(
                    "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                )));
            }
            _ => return Err(error(format!("invalid field key {key}"))),
        }
    }
    if private.is_empty() {
        return Err(error("missing mandatory field 'target'".to_owned()));
    }
    let private = parse_range(&private)
        .filter(|range| range.first > 0 && range.count() == 1)
        .ok_or_else(|| error(format!("invalid target port ({private}): value must be an integer")))?;
    expand(private, ("", &host), &protocol)
}

/// Checks `--expose`.
///
/// # Errors
/// What docker refuses.
pub fn parse_exposed(typed: &str) -> Result<String, ValueError> {
    exposed(typed).map(|_| typed.to_owned())
}

/// `PORTS[/PROTOCOL]`.
///
/// # Errors
/// What docker refuses.
pub fn exposed(typed: &str) -> Result<BTreeMap<String, Empty>, ValueError> {
    if typed.contains(':') {
        return Err(error(format!("invalid port format for --expose: {typed}")));
    }
    let (ports, protocol) = protocol_of(typed)?;
    let range = parse_range(ports)
        .filter(|range| range.first > 0)
        .ok_or_else(|| error(format!("invalid range format for --expose: {typed}")))?;
    let names = (range.first..=range.last).map(|port| (format!("{port}/{protocol}"), Empty {}));
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(typed: &str) -> (String, String, String) {
        let bindings = bindings(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
        let (key, list) = bindings.into_iter().next().unwrap();
        let binding = list.unwrap().remove(0);
        (key, binding.host_ip, binding.host_port)
    }

    fn three(key: &str, address: &str, port: &str) -> (String, String, String) {
        (key.to_owned(), address.to_owned(), port.to_owned())
    }

    #[test]
    fn all_spellings_are_read() {
        assert_eq!(one("80"), three("80/tcp", "", ""));
        assert_eq!(one("8080:80"), three("80/tcp", "", "8080"));
        assert_eq!(one("127.0.0.1:8080:80/udp"), three("80/udp", "127.0.0.1", "8080"));
        assert_eq!(one("127.0.0.1::80"), three("80/tcp", "127.0.0.1", ""));
        assert_eq!(one("[::1]:8080:80/SCTP"), three("80/sctp", "::1", "8080"));
        assert_eq!(one("[fd00::1]::80"), three("80/tcp", "fd00::1", ""));
        assert_eq!(one("::1:8080:80"), three("80/tcp", "::1", "8080"));
        assert_eq!(one("8000-8010:80"), three("80/tcp", "", "8000-8010"));
        assert_eq!(one("target=80,published=8080,protocol=udp"), three("80/udp", "", "8080"));
    }

    #[test]
    fn ranges_are_paired() {
        let both = bindings("8000-8002:80-82").unwrap();
        let ports: Vec<_> = both.values().flatten().flatten().map(|binding| &binding.host_port).collect();
        assert_eq!(ports, ["8000", "8001", "8002"]);
        assert_eq!(bindings("80-82").unwrap().len(), 3);
        assert_eq!(exposed("7000-7002/udp").unwrap().len(), 3);
        assert_eq!(bindings("1-65535:1-65535").unwrap().len(), 65535);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "",
            ":",
            "a",
            "80:",
            "0",
            "8080:0",
            "65536",
            "8080:65536",
            "80/icmp",
            "1.2.3:80:80",
            "1-2:80-83",
            "82-80",
            "-1",
            "+80:80",
            "target=",
            "published=80",
            "target=80,mode=x",
            "x=1",
            "host:80:80",
        ] {
            assert!(bindings(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "80:80", "0", "a", "80/x", "9-8"] {
            assert!(exposed(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(typed in "[0-9a-f:./\\[\\]=,-]{0,40}") {
            let _ = bindings(&typed);
            let _ = exposed(&typed);
        }
    }
}
