//! What other programs' packet filters do to our packets, and docker's in particular.
//!
//! A packet passes only where every table lets it pass. Docker has the kernel drop whatever is
//! forwarded and is not its own, by the policy of the chain `FORWARD` of iptables(8). Its chain
//! `DOCKER-USER` is there for what others want to say about that. There, and nowhere else, we say that our
//! bridges' packets are none of docker's business, unless they are for one of its own bridges. No rule
//! of anybody is changed; ours are known by their comment.

use crate::error::Result;
use crate::netlink::Socket;
use crate::nftables::{self, Chain, FIRST, IPV4, IPV6, Meta, Rule, Transaction, Verdict};
use crate::rules::{Filter, failed};

/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// Iptables(8)'s table and chains.
const TABLE: &str = "filter";
const POLICY_CHAIN: &str = "FORWARD";
const USER_CHAIN: &str = "DOCKER-USER";

/// What bridges of docker are called, without what differs between them.
const DOCKER_BRIDGES: [&str; 2] = ["docker", "br-"];

/// What our own bridges are called, likewise.
const OWN_BRIDGES: [&str; 2] = ["mica0", "mc-"];

/// A chain of somebody's that drops forwarded packets which no rule of its accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// As `ip filter FORWARD`.
    pub chain: String,
    /// What lets a bridge's packets pass it.
    pub remedy: String,
}

/// Sees to it that docker lets the packets of these bridges pass, and tells which chains of others
/// may not.
pub fn pass_docker(filter: &Filter, bridges: &[String]) -> Result<Vec<Obstacle>> {
    let socket = filter.socket();
    let chains = nftables::chains(socket).map_err(failed("read", "of others"))?;
    let mut obstacles = Vec::new();
    for chain in chains.iter().filter(|chain| chain.hook == Some(FORWARD) && chain.drops_by_default) {
        let by_docker = chains.iter().find(|other| {
            is_policy_chain(chain) && other.family == chain.family && is_of_iptables(other, USER_CHAIN)
        });
        match by_docker {
            Some(user_chain) => speak_up(socket, user_chain, bridges)?,
            None => obstacles.push(obstacle(chain, bridges)),
        }
    }
    Ok(obstacles)
}

fn is_of_iptables(chain: &Chain, name: &str) -> bool {
    matches!(chain.family, IPV4 | IPV6) && chain.table == TABLE && chain.name == name
}

fn is_policy_chain(chain: &Chain) -> bool {
    is_of_iptables(chain, POLICY_CHAIN)
}

/// The beginnings of names that stand for these bridges, or a whole name with its end.
fn patterns(bridges: &[String]) -> Vec<Vec<u8>> {
    let mut patterns: Vec<Vec<u8>> = OWN_BRIDGES.iter().map(|name| name.as_bytes().to_vec()).collect();
    for bridge in bridges {
        if !patterns.iter().any(|pattern| bridge.as_bytes().starts_with(pattern)) {
            patterns.push([bridge.as_bytes(), &[0]].concat());
        }
    }
    patterns
}

fn comment(pattern: &[u8]) -> String {
    let name = String::from_utf8_lossy(pattern);
    match name.strip_suffix('\0') {
        Some(whole) => format!("mica {whole}"),
        None => format!("mica {name}+"),
    }
}

/// Adds our rules to docker's chain for others, where they are not there.
fn speak_up(socket: &Socket, chain: &Chain, bridges: &[String]) -> Result<()> {
    let failed = || failed("write", USER_CHAIN);
    let known = nftables::rule_comments(socket, chain).map_err(failed())?;
    let mut transaction = Transaction::of_family(chain.family, &chain.table);
    for pattern in patterns(bridges) {
        let comment = comment(&pattern);
        if known.contains(&comment) {
            continue;
        }
        // Each goes to the head, so the last one is judged first.
        for direction in [Meta::InputName, Meta::OutputName] {
            transaction.rule_at_head(&chain.name, &comment, |rule| {
                is_called(rule, direction, &pattern);
                rule.count().verdict(Verdict::Accept);
            });
        }
        for bridge in DOCKER_BRIDGES {
            transaction.rule_at_head(&chain.name, &comment, |rule| {
                is_called(rule, Meta::InputName, &pattern);
                is_called(rule, Meta::OutputName, bridge.as_bytes());
                rule.count().verdict(Verdict::Return);
            });
        }
    }
    if transaction.is_empty() {
        return Ok(());
    }
    transaction.carry_out(socket).map_err(failed())
}

fn is_called(rule: &mut Rule<'_, '_>, direction: Meta, name: &[u8]) {
    rule.meta(direction, FIRST).equals(FIRST, name);
}

fn obstacle(chain: &Chain, bridges: &[String]) -> Obstacle {
    let family = match chain.family {
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "inet",
    };
    let bridge = bridges.first().map_or("mica0", String::as_str);
    let remedy = if is_policy_chain(chain) {
        let program = if chain.family == IPV4 { "iptables" } else { "ip6tables" };
        format!(
            "{program} -I {name} -i {bridge} -j ACCEPT; {program} -I {name} -o {bridge} -j ACCEPT",
            name = chain.name
        )
    } else {
        format!(
            "nft insert rule {family} {table} {name} iifname {bridge} accept; \
             nft insert rule {family} {table} {name} oifname {bridge} accept",
            table = chain.table,
            name = chain.name
        )
    };
    Obstacle { chain: format!("{family} {} {}", chain.table, chain.name), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_with_names_of_their_own_have_rules_of_their_own() {
        let bridges = ["mica0-3e782c", "mc-479e9e973c57", "lan7"].map(str::to_owned);
        let comments: Vec<String> = patterns(&bridges).iter().map(|pattern| comment(pattern)).collect();
        assert_eq!(comments, ["mica mica0+", "mica mc-+", "mica lan7"]);
    }

    #[test]
    fn a_remedy_names_the_chain_as_its_program_does() {
        let chain = |family, table: &str, name: &str| Chain {
            family,
            table: table.to_owned(),
            name: name.to_owned(),
            hook: Some(FORWARD),
            drops_by_default: true,
        };
        let bridges = ["mica0".to_owned()];
        let of_iptables = obstacle(&chain(IPV4, "filter", "FORWARD"), &bridges);
        assert_eq!(of_iptables.chain, "ip filter FORWARD");
        assert!(of_iptables.remedy.starts_with("iptables -I FORWARD -i mica0 -j ACCEPT;"));
        let of_nft = obstacle(&chain(1, "firewall", "fwd"), &bridges);
        assert!(of_nft.remedy.starts_with("nft insert rule inet firewall fwd iifname mica0 accept;"));
    }
}
