//! Which addresses a name has: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
//!
//! The C library's own resolver loads plug-ins at run time, which a static program cannot do on a
//! system with another C library. This is the small part of it that registries need (RFC 1035).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long one server is waited for, once.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often each server is asked.
const ATTEMPTS: u8 = 2;
/// The most servers that are asked, as the C library has it.
const SERVERS_MAX: usize = 3;
/// The longest answer over UDP that is read, in bytes.
const DATAGRAM_MAX: usize = 4096;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// The addresses of `host`; an empty list if there are none.
pub(crate) fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let listed = in_hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default(), bare);
    if !listed.is_empty() {
        return Ok(listed);
    }
    // RFC 6761: such names never leave the machine.
    if is_local(bare) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    Configuration::parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()).resolve(bare)
}

fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

/// What `/etc/resolv.conf` says (resolv.conf(5)).
#[derive(Debug, PartialEq, Eq)]
struct Configuration {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    dots: usize,
}

impl Configuration {
    fn parse(text: &str) -> Self {
        let mut configuration = Self { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone after `%` is the business of the kernel's link-local routing.
                    let address =
                        words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                    configuration.servers.extend(address);
                }
                Some("search" | "domain") => configuration.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    configuration.dots = dots.unwrap_or(configuration.dots);
                }
                _ => {}
            }
        }
        if configuration.servers.is_empty() {
            configuration.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        configuration.servers.truncate(SERVERS_MAX);
        configuration
    }

    /// The names to be tried, in order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.')));
        let mut names: Vec<String> = searched.collect();
        let place = if name.matches('.').count() >= self.dots { 0 } else { names.len() };
        names.insert(place, name.to_owned());
        names
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut failure = None;
        for candidate in self.candidates(name) {
            let mut found = Vec::new();
            for kind in [TYPE_A, TYPE_AAAA] {
                match self.ask(&candidate, kind) {
                    Ok(addresses) => found.extend(addresses),
                    Err(error) => failure = Some(error),
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }

    fn ask(&self, name: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
        let mut failure = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..ATTEMPTS {
            for server in &self.servers {
                match exchange(SocketAddr::new(*server, 53), name, kind) {
                    Ok(addresses) => return Ok(addresses),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }
}

fn exchange(server: SocketAddr, name: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
    let mut random = [0u8; 2];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| io::Error::other("no random numbers"))?;
    let number = u16::from_be_bytes(random);
    let question = question(number, name, kind)?;
    let own: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(&question)?;
    let mut buffer = [0; DATAGRAM_MAX];
    let length = socket.recv(&mut buffer)?;
    let answer = &buffer[..length];
    if answer.get(2).is_some_and(|flags| flags & 0x02 != 0) {
        return over_stream(server, &question, number, kind);
    }
    read_answer(answer, number, kind)
}

/// Asks again where the answer did not fit (RFC 7766).
fn over_stream(server: SocketAddr, question: &[u8], number: u16, kind: u16) -> io::Result<Vec<IpAddr>> {
    use io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    read_answer(&answer, number, kind)
}

fn question(number: u16, name: &str, kind: u16) -> io::Result<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend(number.to_be_bytes());
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        let Some(length) = length else { return Err(io::ErrorKind::InvalidInput.into()) };
        message.push(length);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Ok(message)
}

/// The addresses in an answer; names that lead on to others are followed by the server.
fn read_answer(message: &[u8], number: u16, kind: u16) -> io::Result<Vec<IpAddr>> {
    parse_answer(message, number, kind).unwrap_or_else(|| Err(io::ErrorKind::InvalidData.into()))
}

fn parse_answer(message: &[u8], number: u16, kind: u16) -> Option<io::Result<Vec<IpAddr>>> {
    let field = |place: usize| Some(u16::from_be_bytes(message.get(place..place + 2)?.try_into().ok()?));
    if field(0)? != number || message.get(2)? & 0x80 == 0 {
        return None;
    }
    match message.get(3)? & 0x0f {
        0 => {}
        // There is no such name.
        3 => return Some(Ok(Vec::new())),
        code => return Some(Err(io::Error::other(format!("the name server answers with error {code}")))),
    }
    let mut place = 12;
    for _ in 0..field(4)? {
        place = after_name(message, place)? + 4;
    }
    let mut addresses = Vec::new();
    for _ in 0..field(6)? {
        place = after_name(message, place)?;
        let (found, length) = (field(place)?, usize::from(field(place + 8)?));
        let data = message.get(place + 10..place + 10 + length)?;
        if found == kind {
            addresses.push(match kind {
                TYPE_A => IpAddr::from(<[u8; 4]>::try_from(data).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
            });
        }
        place += 10 + length;
    }
    Some(Ok(addresses))
}

fn after_name(message: &[u8], mut place: usize) -> Option<usize> {
    loop {
        match *message.get(place)? {
            0 => return Some(place + 1),
            length if length & 0xc0 == 0xc0 => return Some(place + 2),
            length => place += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_local_names_need_no_server() {
        assert_eq!(addresses("[::1]").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("127.0.0.2").unwrap(), [IpAddr::from([127, 0, 0, 2])]);
        assert!(addresses("registry.localhost").unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn the_hosts_file_is_read_as_it_is_written() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 hub\n10.0.0.1\thub.example  Hub # comment\nx y\n";
        assert_eq!(in_hosts(text, "HUB"), [IpAddr::from([10, 0, 0, 1])]);
        assert!(in_hosts(text, "comment").is_empty());
    }

    #[test]
    fn short_names_are_searched_for_first() {
        let text =
            "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:2";
        let configuration = Configuration::parse(text);
        assert_eq!(configuration.servers.len(), 2);
        assert_eq!(configuration.candidates("hub.x"), ["hub.x.a.example", "hub.x.b.example", "hub.x"]);
        assert_eq!(configuration.candidates("hub."), ["hub"]);
        assert_eq!(Configuration::parse("").candidates("a.b"), ["a.b"]);
    }

    #[test]
    fn answers_are_read() {
        let mut answer = question(7, "hub.example", TYPE_A).unwrap();
        answer[2] = 0x81;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
        assert_eq!(read_answer(&answer, 7, TYPE_A).unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        assert!(read_answer(&answer, 8, TYPE_A).is_err());
        answer[3] = 3;
        assert!(read_answer(&answer, 7, TYPE_A).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let number = answer.get(..2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            let _ = read_answer(&answer, number, TYPE_AAAA);
        }
    }
}
