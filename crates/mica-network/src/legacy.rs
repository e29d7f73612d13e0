//! The packet filter of before nftables (iptables-legacy(8)), which nftables tells nothing of: whether it
//! drops what is forwarded.
//!
//! It is looked at by the options of a socket that its program uses, and only where its table is there
//! already: a question alone would make it.

use crate::foreign::Obstacle;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// One of the two families.
#[derive(Debug, Clone, Copy)]
struct Family {
    /// The list of its tables.
    tables: &'static str,
    program: &'static str,
    address_family: AddressFamily,
    /// The protocol whose options they are.
    level: i32,
    /// Where an entry says how long its matches are.
    target_offset_at: usize,
}

const FAMILIES: [Family; 2] = [
    Family {
        tables: "/proc/thread-self/net/ip_tables_names",
        program: "iptables-legacy",
        address_family: AddressFamily::INET,
        level: 0,
        target_offset_at: 88,
    },
    Family {
        tables: "/proc/thread-self/net/ip6_tables_names",
        program: "ip6tables-legacy",
        address_family: AddressFamily::INET6,
        level: 41,
        target_offset_at: 140,
    },
];

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`; the same numbers in both families.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;

/// The table of that name, and the chain's place among its hooks.
const TABLE: &[u8] = b"filter";
const FORWARD: usize = 2;

/// Length of `ipt_getinfo`, and of what comes before the entries in `ipt_get_entries`.
const INFO_LENGTH: usize = 84;
const ENTRIES_HEAD_LENGTH: usize = 40;

/// Where a standard target has its verdict, and the one that drops.
const VERDICT_AT: usize = 32;
const DROP: i32 = -1;

/// The chains there that drop what no rule of theirs accepts, with what lets packets of a bridge pass.
pub fn obstacles(bridges: &[String]) -> Vec<Obstacle> {
    let bridge = bridges.first().map_or("mica0", String::as_str);
    let drops = FAMILIES.into_iter().filter(|family| drops_by_default(*family) == Some(true));
    let obstacle = |Family { program, .. }: Family| Obstacle {
        chain: format!("FORWARD of {program}"),
        remedy: format!(
            "{program} -I FORWARD -i {bridge} -j ACCEPT; {program} -I FORWARD -o {bridge} -j ACCEPT"
        ),
    };
    drops.map(obstacle).collect()
}

fn drops_by_default(family: Family) -> Option<bool> {
    let tables = std::fs::read_to_string(family.tables).ok()?;
    if !tables.lines().any(|table| table.as_bytes() == TABLE) {
        return None;
    }
    let socket = socket_with(family.address_family, SocketType::RAW, SocketFlags::CLOEXEC, Some(RAW)).ok()?;
    policy(&socket, family).map(|verdict| verdict == DROP)
}

const RAW: rustix::net::Protocol = rustix::net::ipproto::RAW;

/// The verdict on what no rule of the chain is about.
fn policy(socket: &OwnedFd, family: Family) -> Option<i32> {
    let mut info = named(INFO_LENGTH);
    mica_sys::network::socket_option(socket.as_fd(), (family.level, GET_INFO), &mut info).ok()?;
    // The name, the valid hooks, where each begins; then where the policy of each is, the count, the length.
    let last_rule = number(&info, 32 + 4 + 5 * 4 + FORWARD * 4)?;
    let length = number(&info, INFO_LENGTH - 4)?;
    let mut entries = named(ENTRIES_HEAD_LENGTH + length);
    entries.get_mut(32..36)?.copy_from_slice(&u32::try_from(length).ok()?.to_ne_bytes());
    mica_sys::network::socket_option(socket.as_fd(), (family.level, GET_ENTRIES), &mut entries).ok()?;
    verdict_at(entries.get(ENTRIES_HEAD_LENGTH..)?, last_rule, family.target_offset_at)
}

/// A buffer that begins with the table's name.
fn named(length: usize) -> Vec<u8> {
    let mut buffer = TABLE.to_vec();
    buffer.resize(length, 0);
    buffer
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

/// The verdict of the entry that begins at `start`, whose target is a plain one.
fn verdict_at(entries: &[u8], start: usize, target_offset_at: usize) -> Option<i32> {
    let entry = entries.get(start..)?;
    let target = u16::from_ne_bytes(*entry.get(target_offset_at..)?.first_chunk()?);
    let verdict = entry.get(usize::from(target).checked_add(VERDICT_AT)?..)?.first_chunk::<4>()?;
    Some(i32::from_ne_bytes(*verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_found_behind_the_entry_and_nowhere_else() {
        let mut entries = vec![0; 400];
        entries[100 + 88..][..2].copy_from_slice(&112_u16.to_ne_bytes());
        entries[100 + 112 + 32..][..4].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(verdict_at(&entries, 100, 88), Some(DROP));
        assert_eq!(verdict_at(&entries, 300, 88), Some(0));
        assert_eq!(verdict_at(&entries, 390, 88), None);
        assert_eq!(verdict_at(&entries, usize::MAX, 88), None);
    }
}
