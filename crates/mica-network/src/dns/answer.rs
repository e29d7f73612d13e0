//! What a query is answered: from the names of the container's networks, or not by us.

use crate::membership;
use crate::names::{Member, Names};
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, Ptr};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This is the answer.
    Answer(Vec<u8>),
    /// One of the host's resolvers is to be asked.
    Forward,
    /// It is none, and gets no answer.
    Ignore,
}

/// How a query came, which bounds the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Datagram,
    Stream,
}

/// Where a container's resolver looks names up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The run-time directory.
    pub run_root: PathBuf,
    /// Id of the container that asks.
    pub container: String,
    /// The host's resolvers.
    pub servers: Vec<SocketAddr>,
}

/// How long an answer may be remembered, in seconds: not at all, for a neighbour that is started
/// again has another address.
const LIFE_SECONDS: u32 = 0;

/// Length of a datagram that every client takes (RFC 1035).
const DATAGRAM_LENGTH: usize = 512;

impl Book {
    /// Answers one query.
    pub(crate) fn answer(&self, query: &[u8], carrier: Carrier) -> Outcome {
        let Ok(message) = Message::from_octets(query) else { return Outcome::Ignore };
        if message.header().qr() {
            return Outcome::Ignore;
        }
        if message.header().opcode() != Opcode::QUERY {
            return refuse(query, Rcode::NOTIMP);
        }
        let Ok(question) = message.sole_question() else { return refuse(query, Rcode::FORMERR) };
        let name = question.qname().to_string().to_ascii_lowercase();
        if question.qclass() == Class::IN {
            let found = if question.qtype() == Rtype::PTR {
                reverse(&name).and_then(|ip| self.name_of(ip)).map(Found::Name)
            } else {
                self.addresses_of(&name).map(Found::Addresses)
            };
            if let Some(found) = found {
                return compose(&message, &found, carrier).map_or(Outcome::Ignore, Outcome::Answer);
            }
        }
        if self.servers.is_empty() || !membership::has_way_out(&self.run_root, &self.container) {
            return refuse(query, Rcode::SERVFAIL);
        }
        Outcome::Forward
    }

    /// The addresses of all who are called so on any of the networks; `None` if nobody is.
    fn addresses_of(&self, name: &str) -> Option<Vec<IpAddr>> {
        for network in membership::read(&self.run_root, &self.container) {
            let link = network.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
            let name = link.map_or(name, |(_, target)| target.as_str());
            let names = Names::of(&self.run_root, &network.id);
            let mut members = names.find(name);
            if members.is_empty() {
                // Also with the network's own name behind it.
                let suffix = format!(".{}", network.name.to_ascii_lowercase());
                members = name.strip_suffix(&suffix).map(|bare| names.find(bare)).unwrap_or_default();
            }
            if !members.is_empty() {
                return Some(members.into_iter().flat_map(|member: Member| member.addresses).collect());
            }
        }
        None
    }

    fn name_of(&self, ip: IpAddr) -> Option<String> {
        membership::read(&self.run_root, &self.container).into_iter().find_map(|network| {
            let member = Names::of(&self.run_root, &network.id).find_address(ip)?;
            Some(format!("{}.{}", member.names.first()?, network.name))
        })
    }
}

enum Found {
    Addresses(Vec<IpAddr>),
    Name(String),
}

fn compose(message: &Message<&[u8]>, found: &Found, carrier: Carrier) -> Option<Vec<u8>> {
    let question = message.sole_question().ok()?;
    let mut builder = MessageBuilder::new_vec().start_answer(message, Rcode::NOERROR).ok()?;
    builder.header_mut().set_ra(true);
    let owner = question.qname();
    let wants = |kind| question.qtype() == kind || question.qtype() == Rtype::ANY;
    match found {
        Found::Name(name) => {
            let name: Name<Vec<u8>> = name.parse().ok()?;
            builder.push((owner, Class::IN, LIFE_SECONDS, Ptr::new(name))).ok()?;
        }
        // A name that is known but has no address of this family has an empty answer: "no such name"
        // would keep clients from asking for the other family.
        Found::Addresses(addresses) => {
            for address in rotated(addresses) {
                match address {
                    IpAddr::V4(ip) if wants(Rtype::A) => {
                        builder.push((owner, Class::IN, LIFE_SECONDS, A::new(ip))).ok()?;
                    }
                    IpAddr::V6(ip) if wants(Rtype::AAAA) => {
                        builder.push((owner, Class::IN, LIFE_SECONDS, Aaaa::new(ip))).ok()?;
                    }
                    _ => {}
                }
            }
        }
    }
    let room = match (carrier, message.opt()) {
        (Carrier::Stream, _) => usize::from(u16::MAX),
        (Carrier::Datagram, Some(opt)) => usize::from(opt.udp_payload_size()).max(DATAGRAM_LENGTH),
        (Carrier::Datagram, None) => DATAGRAM_LENGTH,
    };
    let answer = builder.finish();
    if answer.len() <= room {
        return Some(answer);
    }
    let mut builder = MessageBuilder::new_vec().start_answer(message, Rcode::NOERROR).ok()?;
    builder.header_mut().set_tc(true);
    Some(builder.finish())
}

/// Each answer begins with another of several addresses.
fn rotated(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> + '_ {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let turn = now.map_or(0, |since| since.subsec_micros() as usize) % addresses.len().max(1);
    addresses.iter().cycle().skip(turn).take(addresses.len()).copied()
}

/// An answer that tells that there is none.
pub(crate) fn refuse(query: &[u8], code: Rcode) -> Outcome {
    let Ok(message) = Message::from_octets(query) else { return Outcome::Ignore };
    // A question that makes no sense is not repeated.
    let answer = MessageBuilder::new_vec().start_answer(&message, code).map(|mut builder| {
        builder.header_mut().set_ra(true);
        builder.finish()
    });
    match answer {
        Ok(answer) => Outcome::Answer(answer),
        Err(_) => Outcome::Ignore,
    }
}

/// An answer that tells that the host's resolvers have none.
pub(crate) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    match refuse(query, Rcode::SERVFAIL) {
        Outcome::Answer(answer) => Some(answer),
        _ => None,
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = labels.split('.').rev().map(|label| label.parse::<u8>().ok());
        let mut next = || octets.next().flatten();
        let ip = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        return octets.next().is_none().then_some(ip.into());
    }
    let mut digits = name.strip_suffix(".ip6.arpa")?.split('.').rev();
    let mut number = 0_u128;
    for _ in 0..32 {
        let digit = digits.next().filter(|digit| digit.len() == 1)?;
        number = number << 4 | u128::from(u8::from_str_radix(digit, 16).ok()?);
    }
    digits.next().is_none().then_some(Ipv6Addr::from(number).into())
}

/// Whether `answer` is one to `query`: the same number and the same question.
pub(crate) fn is_answer(query: &[u8], answer: &[u8]) -> bool {
    match (Message::from_octets(query), Message::from_octets(answer)) {
        (Ok(query), Ok(answer)) => answer.is_answer(&query),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Membership;
    use proptest::prelude::*;

    fn query(name: &str, kind: Rtype) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec().question();
        builder.header_mut().set_id(7);
        builder.header_mut().set_rd(true);
        let name: Name<Vec<u8>> = name.parse().unwrap();
        builder.push((name, kind)).unwrap();
        builder.finish()
    }

    fn book(directory: &std::path::Path, is_internal: bool) -> Book {
        let member = Member {
            container: "bb".to_owned(),
            addresses: vec!["10.0.0.3".parse().unwrap(), "fd00::3".parse().unwrap()],
            names: vec!["db".to_owned(), "store".to_owned()],
        };
        Names::of(directory, "net1").add(&member).unwrap();
        let links = vec![("alias".to_owned(), "db".to_owned())];
        let membership = Membership { id: "net1".to_owned(), name: "back".to_owned(), is_internal, links };
        membership::write(directory, "aa", &[membership]).unwrap();
        Book {
            run_root: directory.to_owned(),
            container: "aa".to_owned(),
            servers: vec!["10.9.9.9:53".parse().unwrap()],
        }
    }

    fn answers(book: &Book, name: &str, kind: Rtype) -> Option<(Rcode, Vec<String>)> {
        let query = query(name, kind);
        let Outcome::Answer(bytes) = book.answer(&query, Carrier::Datagram) else { return None };
        assert!(is_answer(&query, &bytes));
        let message = Message::from_octets(bytes.as_slice()).unwrap();
        let records = message.answer().unwrap().limit_to::<domain::rdata::AllRecordData<_, _>>();
        let records = records.map(|record| record.unwrap().data().to_string());
        Some((message.header().rcode(), records.collect()))
    }

    #[test]
    fn neighbours_are_found_by_all_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let book = book(directory.path(), false);
        for name in ["db", "DB", "store", "db.back", "alias"] {
            assert_eq!(answers(&book, name, Rtype::A).unwrap().1, ["10.0.0.3"], "{name}");
        }
        assert_eq!(answers(&book, "db", Rtype::AAAA).unwrap().1, ["fd00::3"]);
        assert_eq!(answers(&book, "db", Rtype::MX), Some((Rcode::NOERROR, Vec::new())));
        assert_eq!(answers(&book, "3.0.0.10.in-addr.arpa", Rtype::PTR).unwrap().1, ["db.back."]);
        let nibbles = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(answers(&book, nibbles, Rtype::PTR).unwrap().1, ["db.back."]);
    }

    #[test]
    fn all_else_goes_to_the_hosts_resolvers_unless_there_is_no_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let asks = query("example.org", Rtype::A);
        assert_eq!(book(directory.path(), false).answer(&asks, Carrier::Datagram), Outcome::Forward);
        let internal = book(directory.path(), true);
        assert_eq!(answers(&internal, "example.org", Rtype::A), Some((Rcode::SERVFAIL, Vec::new())));
        assert_eq!(answers(&internal, "db", Rtype::A).unwrap().1, ["10.0.0.3"]);
    }

    #[test]
    fn many_answers_ask_for_a_stream() {
        let directory = tempfile::tempdir().unwrap();
        let book = book(directory.path(), false);
        let names = Names::of(directory.path(), "net1");
        for index in 0..60 {
            let address = Ipv4Addr::new(10, 0, 1, index).into();
            let (container, names_of) = (format!("c{index}"), vec!["many".to_owned()]);
            names.add(&Member { container, addresses: vec![address], names: names_of }).unwrap();
        }
        let query = query("many", Rtype::A);
        let Outcome::Answer(short) = book.answer(&query, Carrier::Datagram) else { panic!("no answer") };
        assert!(Message::from_octets(short.as_slice()).unwrap().header().tc());
        let Outcome::Answer(long) = book.answer(&query, Carrier::Stream) else { panic!("no answer") };
        assert_eq!(Message::from_octets(long.as_slice()).unwrap().header_counts().ancount(), 60);
    }

    proptest! {
        #[test]
        fn no_query_makes_the_resolver_fail(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let book = Book {
                run_root: "/nonexistent".into(),
                container: "aa".to_owned(),
                servers: Vec::new(),
            };
            if let Outcome::Answer(answer) = book.answer(&bytes, Carrier::Datagram) {
                prop_assert!(answer.len() <= bytes.len() + 512);
            }
        }

        #[test]
        fn no_name_makes_the_reader_of_reverse_names_fail(name in "[0-9a-f.]{0,80}(.in-addr.arpa|.ip6.arpa)?") {
            let _ = reverse(&name);
        }
    }
}
