//! A syslog daemon.

use super::{Kind, Options, Target, refused};
use crate::error::{Error, Result};
use mica_runtime::{LogDriver, SyslogAddress, SyslogFormat, SyslogPlan, TlsPlan};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

/// The driver.
pub(super) const KIND: Kind = Kind {
    name: "syslog",
    options: &[
        "env",
        "env-regex",
        "labels",
        "labels-regex",
        "syslog-address",
        "syslog-facility",
        "syslog-format",
        "syslog-tls-ca-cert",
        "syslog-tls-cert",
        "syslog-tls-key",
        "syslog-tls-skip-verify",
        "tag",
    ],
    unknown: |option| format!("unknown log opt '{option}' for syslog log driver"),
    plan,
    readable: None,
};

/// The port of syslog.
const PORT: u16 = 514;

/// The facilities by their numbers (RFC 5424, 6.2.1); those without a name are not for programs.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "",
    "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

fn plan(options: &Options, target: &Target<'_>) -> Result<Option<LogDriver>> {
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let plan = SyslogPlan {
        address: address(option("syslog-address"), options)?,
        facility: facility(option("syslog-facility"))?,
        format: format(option("syslog-format"))?,
        tag: target.identity.tag.clone(),
        overflow: target.overflow,
    };
    Ok(Some(LogDriver::Syslog(plan)))
}

fn address(typed: &str, options: &Options) -> Result<SyslogAddress> {
    if typed.is_empty() {
        return Ok(SyslogAddress::Local);
    }
    let known = ["tcp", "tcp+tls", "udp", "unix", "unixgram"];
    let (scheme, rest) =
        typed.split_once("://").filter(|(scheme, _)| known.contains(scheme)).ok_or_else(|| {
            Error::invalid(format!("syslog-address should be in form proto://address, got {typed}"))
        })?;
    if let "unix" | "unixgram" = scheme {
        if !Path::new(rest).exists() {
            return Err(Error::invalid(format!("stat {rest}: no such file or directory")));
        }
        let path = rest.into();
        return Ok(match scheme {
            "unix" => SyslogAddress::UnixStream(path),
            _ => SyslogAddress::UnixDatagram(path),
        });
    }
    match scheme {
        "udp" => resolve(scheme, rest, typed).map(|(address, _)| SyslogAddress::Udp(address)),
        "tcp" => resolve(scheme, rest, typed).map(|(address, _)| SyslogAddress::Tcp(address)),
        _ => secure(resolve(scheme, rest, typed)?, options).map(SyslogAddress::Tls),
    }
}

/// What docker's options say of TLS. Files are looked for as its daemon does, which is in no directory.
fn secure((address, server_name): (SocketAddr, String), options: &Options) -> Result<TlsPlan> {
    let file = |name: &str| {
        let typed = options.get(name).filter(|typed| !typed.is_empty())?;
        Some(Path::new("/").join(typed))
    };
    let identity = match (file("syslog-tls-cert"), file("syslog-tls-key")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err(Error::invalid("syslog-tls-cert and syslog-tls-key need each other")),
    };
    let is_unverified = options.contains_key("syslog-tls-skip-verify");
    Ok(TlsPlan { address, server_name, authorities: file("syslog-tls-ca-cert"), identity, is_unverified })
}

/// `HOST[:PORT]`, where the host may be `[IPv6]`: the address, and the host as it was typed.
fn resolve(scheme: &str, typed: &str, whole: &str) -> Result<(SocketAddr, String)> {
    let typed = typed.trim_end_matches('/');
    let (host, port) = match typed.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (typed, ""),
    };
    let invalid = || Error::invalid(format!("parse {whole:?}: invalid port \":{port}\" after host"));
    let port = if port.is_empty() { PORT } else { port.parse().map_err(|_| invalid())? };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = host.contains(|letter: char| !letter.is_ascii_hexdigit() && letter != ':');
    if host.contains(':') && is_name {
        return Err(invalid());
    }
    let unknown = || refused(format!("dial {scheme}: lookup {host}: no such host"));
    let address = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(unknown)?;
    Ok((address, host.to_owned()))
}

/// By name or by number; the daemon's own where nothing is asked for.
fn facility(typed: &str) -> Result<u8> {
    const DAEMON: u8 = 3;
    if typed.is_empty() {
        return Ok(DAEMON);
    }
    let named = FACILITIES.iter().position(|name| *name == typed);
    let number = named.or_else(|| typed.parse().ok()).filter(|number| *number < FACILITIES.len());
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| Error::invalid("invalid syslog facility"))
}

fn format(typed: &str) -> Result<SyslogFormat> {
    Ok(match typed {
        "" => SyslogFormat::Unix,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(Error::invalid("Invalid syslog format")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_by_themselves() {
        let port = |text: &str| address(text, &Options::default()).map_err(|error| error.to_string());
        assert_eq!(port("udp://127.0.0.1"), Ok(SyslogAddress::Udp(([127, 0, 0, 1], 514).into())));
        assert_eq!(port("tcp://127.0.0.1:1514"), Ok(SyslogAddress::Tcp(([127, 0, 0, 1], 1514).into())));
        assert_eq!(port("udp://[::1]:5"), Ok(SyslogAddress::Udp("[::1]:5".parse().unwrap())));
        assert_eq!(port("udp://[::1]"), Ok(SyslogAddress::Udp("[::1]:514".parse().unwrap())));
        assert!(port("tcp://a:b:c").unwrap_err().contains("invalid port"));
    }

    #[test]
    fn tls_is_told_whom_to_believe_and_who_we_are() {
        let plan = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            match address("tcp+tls://localhost:6514", &pairs.collect::<Options>()) {
                Ok(SyslogAddress::Tls(plan)) => Ok(plan),
                other => Err(format!("{other:?}")),
            }
        };
        let plain = plan(&[]).unwrap();
        assert_eq!((plain.server_name.as_str(), plain.address.port()), ("localhost", 6514));
        assert!(!plain.is_unverified && plain.identity.is_none() && plain.authorities.is_none());
        let full = plan(&[
            ("syslog-tls-ca-cert", "/ca"),
            ("syslog-tls-cert", "cert"),
            ("syslog-tls-key", "/key"),
            // docker looks at whether it is there and at nothing else.
            ("syslog-tls-skip-verify", "false"),
        ]);
        let full = full.unwrap();
        assert_eq!(full.authorities, Some("/ca".into()));
        assert_eq!(full.identity, Some(("/cert".into(), "/key".into())));
        assert!(full.is_unverified);
        assert!(plan(&[("syslog-tls-key", "/key")]).unwrap_err().contains("need each other"));
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        assert_eq!(facility("").ok(), Some(3));
        assert_eq!(facility("local7").ok(), Some(23));
        assert_eq!(facility("19").ok(), Some(19));
        assert!(facility("24").is_err() && facility("mails").is_err());
    }
}
