//! The words of nftables on the wire (`linux/netfilter/nf_tables.h`): tables, chains, sets, rules.
//!
//! Only what our own rules are made of. A [`Transaction`] is taken as a whole or not at all.

use crate::netlink::{ACK, APPEND, Answer, Attributes, Batch, CREATE, DUMP, Refusal, Socket, attributes};
use rustix::io::Errno;

/// `NFPROTO_INET`: a table for IPv4 and IPv6.
const FAMILY: u8 = 1;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
pub(crate) const IPV4: u8 = 2;
/// The other.
pub(crate) const IPV6: u8 = 10;
const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

const LIST_ITEM: u16 = 1;
const TABLE_USER_DATA: u16 = 6;
const RULE_USER_DATA: u16 = 7;
const SET_IS_MAP: u32 = 8;
const SET_USER_DATA: u16 = 13;

/// Tells nft(8) that names of links are texts: an entry of type 0, length 4, with the machine's order.
const KEY_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// Registers of 16 bytes; each is four of 4 bytes, numbered from 8.
pub(crate) const FIRST: u32 = 1;
/// The second.
pub(crate) const SECOND: u32 = 2;
/// The third as its 4-byte parts: 16, 17, ...
pub(crate) const THIRD: u32 = 16;

/// What is asked of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// Name of the link that it came in by.
    InputName = 6,
    /// Name of the link that it goes out by.
    OutputName = 7,
    /// `NFPROTO_*`.
    Family = 15,
    /// TCP, UDP ...
    Protocol = 16,
}

/// Where a chain hooks into the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// `NF_INET_*`.
    pub(crate) number: u32,
    /// Lower ones come first.
    pub(crate) priority: i32,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'a> {
    Drop,
    Accept,
    Return,
    Jump(&'a str),
}

/// A set or map: its name, and the types of its keys and values as nft(8) numbers them with their lengths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetShape {
    pub(crate) name: &'static str,
    pub(crate) key: (u32, u32),
    pub(crate) value: Option<(u32, u32)>,
}

/// Messages for one table that are taken together.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    batch: Batch,
    family: u8,
    table: String,
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

impl Transaction {
    /// An empty one for a table of ours.
    pub(crate) fn of(table: &str) -> Self {
        Self::of_family(FAMILY, table)
    }

    /// An empty one for a table of any family.
    pub(crate) fn of_family(family: u8, table: &str) -> Self {
        let mut batch = Batch::default();
        batch.message(BATCH_BEGIN, 0, &header(0, 10), |_| ());
        Self { batch, family, table: table.to_owned() }
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: impl FnOnce(&mut Attributes<'_>, &str)) {
        let table = &self.table;
        self.batch.message(kind, flags, &header(self.family, 0), |message| attributes(message, table));
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.len() <= 1
    }

    /// Makes the table, where it is not there.
    pub(crate) fn make_table(&mut self, comment: &str) {
        let data = comment_data(comment);
        self.message(NEW_TABLE, CREATE, |message, table| {
            message.text(1, table);
            message.big(2, 0);
            message.bytes(TABLE_USER_DATA, &data);
        });
    }

    /// Removes the table with all in it; it must be there.
    pub(crate) fn delete_table(&mut self) {
        self.message(DELETE_TABLE, 0, |message, table| message.text(1, table));
    }

    /// Makes a chain.
    pub(crate) fn make_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.message(NEW_CHAIN, CREATE, |message, table| {
            message.text(1, table);
            message.text(3, name);
            if let Some(hook) = hook {
                message.nest(4, |place| {
                    place.big(1, hook.number);
                    place.bytes(2, &hook.priority.to_be_bytes());
                });
                message.big(5, ACCEPT as u32);
                message.text(7, hook.kind);
            }
        });
    }

    /// Makes a set or a map; `id` names it within the transaction.
    pub(crate) fn make_set(&mut self, shape: SetShape, id: u32) {
        self.message(NEW_SET, CREATE, |message, table| {
            message.text(1, table);
            message.text(2, shape.name);
            message.big(3, if shape.value.is_some() { SET_IS_MAP } else { 0 });
            message.big(4, shape.key.0);
            message.big(5, shape.key.1);
            if let Some((kind, length)) = shape.value {
                message.big(6, kind);
                message.big(7, length);
            }
            message.big(10, id);
            message.bytes(SET_USER_DATA, &KEY_ORDER);
        });
    }

    /// Puts elements in: keys, with values for maps.
    pub(crate) fn add_elements(&mut self, set: &str, elements: &[(Vec<u8>, Option<Vec<u8>>)]) {
        self.elements(NEW_ELEMENT, CREATE, set, elements);
    }

    /// Takes elements out; they must be there.
    pub(crate) fn delete_elements(&mut self, set: &str, keys: &[(Vec<u8>, Option<Vec<u8>>)]) {
        self.elements(DELETE_ELEMENT, 0, set, keys);
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[(Vec<u8>, Option<Vec<u8>>)]) {
        // The length of an attribute has 16 bits: 500 elements of 100 bytes are well within.
        for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.message(kind, flags, |message, table| {
                message.text(1, table);
                message.text(2, set);
                message.nest(3, |list| {
                    for (key, value) in part {
                        list.nest(LIST_ITEM, |element| {
                            element.nest(1, |data| data.bytes(1, key));
                            if let Some(value) = value {
                                element.nest(2, |data| data.bytes(1, value));
                            }
                        });
                    }
                });
            });
        }
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn rule(&mut self, chain: &str, expressions: impl FnOnce(&mut Rule<'_, '_>)) {
        self.message(NEW_RULE, CREATE | APPEND, |message, table| {
            message.text(1, table);
            message.text(2, chain);
            message.nest(4, |list| expressions(&mut Rule { list }));
        });
    }

    /// Puts a rule at the head of a chain, with a comment to find it by.
    pub(crate) fn rule_at_head(
        &mut self,
        chain: &str,
        comment: &str,
        expressions: impl FnOnce(&mut Rule<'_, '_>),
    ) {
        self.message(NEW_RULE, CREATE, |message, table| {
            message.text(1, table);
            message.text(2, chain);
            message.nest(4, |list| expressions(&mut Rule { list }));
            message.bytes(RULE_USER_DATA, &comment_data(comment));
        });
    }

    /// The whole as bytes, to be carried out later by [`carry_out_bytes`].
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.close();
        self.batch.into_bytes()
    }

    fn close(&mut self) {
        self.batch.message(BATCH_END, 0, &header(0, 10), |_| ());
    }

    /// Carries it out, whole or not at all.
    pub(crate) fn carry_out(mut self, socket: &Socket) -> Result<(), Errno> {
        self.close();
        socket.request(self.batch).map(drop).map_err(|refusal: Refusal| refusal.errno)
    }
}

/// Carries out what [`Transaction::into_bytes`] gave.
pub(crate) fn carry_out_bytes(socket: &Socket, bytes: Vec<u8>) -> Result<(), Errno> {
    socket.request(crate::netlink::from_bytes(bytes)).map(drop).map_err(|refusal| refusal.errno)
}

/// The comment of a table; `None` when there is no such table.
pub(crate) fn table_comment(socket: &Socket, table: &str) -> Result<Option<String>, Errno> {
    let mut batch = Batch::default();
    batch.message(GET_TABLE, ACK, &header(FAMILY, 0), |message| message.text(1, table));
    let answers = match socket.request(batch) {
        Ok(answers) => answers,
        Err(Refusal { errno: Errno::NOENT, .. }) => return Ok(None),
        Err(refusal) => return Err(refusal.errno),
    };
    let comment = |answer: &Answer| read_comment(answer.attribute(4, TABLE_USER_DATA)?);
    Ok(Some(answers.iter().find_map(comment).unwrap_or_default()))
}

/// What nft(8) and iptables(8) show as a comment: a text of type 0.
fn comment_data(comment: &str) -> Vec<u8> {
    let mut data = vec![0, (comment.len() + 1) as u8];
    data.extend(comment.as_bytes());
    data.push(0);
    data
}

fn read_comment(data: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(data.get(2..)?).trim_end_matches('\0').to_owned())
}

/// A chain of anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// `NFPROTO_*`.
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// `NF_INET_*`, where it hooks into the kernel.
    pub(crate) hook: Option<u32>,
    /// What becomes of packets that no rule judges.
    pub(crate) drops_by_default: bool,
}

/// All chains of this host.
pub(crate) fn chains(socket: &Socket) -> Result<Vec<Chain>, Errno> {
    let mut batch = Batch::default();
    batch.message(GET_CHAIN, DUMP, &header(0, 0), |_| ());
    match socket.request(batch) {
        Ok(answers) => Ok(answers.iter().filter_map(read_chain).collect()),
        Err(refusal) => Err(refusal.errno),
    }
}

fn read_chain(answer: &Answer) -> Option<Chain> {
    let text = |kind| {
        let bytes = answer.attribute(4, kind)?;
        Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
    };
    let big = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let place = answer.attribute(4, 4).unwrap_or_default();
    let hook = attributes(place).find(|(kind, _)| *kind == 1).and_then(|(_, value)| big(value));
    let policy = answer.attribute(4, 5).and_then(big);
    Some(Chain {
        family: *answer.body.first()?,
        table: text(1)?,
        name: text(3)?,
        hook,
        drops_by_default: hook.is_some() && policy == Some(0),
    })
}

/// The comments of the rules of a chain.
pub(crate) fn rule_comments(socket: &Socket, chain: &Chain) -> Result<Vec<String>, Errno> {
    let mut batch = Batch::default();
    batch.message(GET_RULE, DUMP, &header(chain.family, 0), |message| {
        message.text(1, &chain.table);
        message.text(2, &chain.name);
    });
    let answers = socket.request(batch).map_err(|refusal| refusal.errno)?;
    let comment = |answer: &Answer| read_comment(answer.attribute(4, RULE_USER_DATA)?);
    Ok(answers.iter().filter_map(comment).collect())
}

const ELEMENTS_PER_MESSAGE: usize = 500;
const ACCEPT: i32 = 1;

/// The expressions of a rule in the making; all of them must hold.
#[derive(Debug)]
pub(crate) struct Rule<'a, 'b> {
    list: &'a mut Attributes<'b>,
}

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
        self.list.nest(LIST_ITEM, |item| {
            item.text(1, name);
            item.nest(2, data);
        });
    }

    /// Loads a property of the packet.
    pub(crate) fn meta(&mut self, key: Meta, register: u32) -> &mut Self {
        self.expression("meta", |data| {
            data.big(2, key as u32);
            data.big(1, register);
        });
        self
    }

    /// Loads bytes of the network header (1) or the transport header (2).
    pub(crate) fn payload(&mut self, base: u32, (offset, length): (u32, u32), register: u32) -> &mut Self {
        self.expression("payload", |data| {
            data.big(1, register);
            data.big(2, base);
            data.big(3, offset);
            data.big(4, length);
        });
        self
    }

    /// Writes the register's bytes into the transport header, and mends the sum at `sum`.
    pub(crate) fn write_transport(&mut self, (offset, length): (u32, u32), register: u32, sum: u32) {
        self.expression("payload", |data| {
            data.big(5, register);
            data.big(2, 2);
            data.big(3, offset);
            data.big(4, length);
            data.big(6, 1);
            data.big(7, sum);
        });
    }

    /// Loads a value.
    pub(crate) fn load(&mut self, value: &[u8], register: u32) -> &mut Self {
        self.expression("immediate", |data| {
            data.big(1, register);
            data.nest(2, |inner| inner.bytes(1, value));
        });
        self
    }

    /// Counts packets, as iptables(8) expects of every rule.
    pub(crate) fn count(&mut self) -> &mut Self {
        self.expression("counter", |_| ());
        self
    }

    /// Goes on if the register has this value.
    pub(crate) fn equals(&mut self, register: u32, value: &[u8]) -> &mut Self {
        self.compare(register, 0, value)
    }

    /// Goes on if the register has another value.
    pub(crate) fn differs(&mut self, register: u32, value: &[u8]) -> &mut Self {
        self.compare(register, 1, value)
    }

    fn compare(&mut self, register: u32, operator: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |data| {
            data.big(1, register);
            data.big(2, operator);
            data.nest(3, |inner| inner.bytes(1, value));
        });
        self
    }

    /// Keeps the bits of `mask`.
    pub(crate) fn mask(&mut self, register: u32, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |data| {
            data.big(1, register);
            data.big(2, register);
            data.big(3, mask.len() as u32);
            data.nest(4, |inner| inner.bytes(1, mask));
            data.nest(5, |inner| inner.bytes(1, &vec![0; mask.len()]));
        });
        self
    }

    /// Goes on if the registers from `register` on are a key of the set.
    pub(crate) fn is_in(&mut self, register: u32, set: &str) -> &mut Self {
        self.expression("lookup", |data| {
            data.text(1, set);
            data.big(2, register);
        });
        self
    }

    /// Goes on if they are a key of the map, with its value in `into`.
    pub(crate) fn find(&mut self, register: u32, map: &str, into: u32) -> &mut Self {
        self.expression("lookup", |data| {
            data.text(1, map);
            data.big(2, register);
            data.big(3, into);
        });
        self
    }

    /// Loads the state of the connection (0) or its status bits (2).
    pub(crate) fn connection(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("ct", |data| {
            data.big(2, key);
            data.big(1, register);
        });
        self
    }

    /// Goes on if the destination is an address of this host.
    pub(crate) fn destination_is_local(&mut self) -> &mut Self {
        const ADDRESS_TYPE: u32 = 3;
        const DESTINATION: u32 = 2;
        const LOCAL: u32 = 2;
        self.expression("fib", |data| {
            data.big(1, FIRST);
            data.big(2, ADDRESS_TYPE);
            data.big(3, DESTINATION);
        });
        self.equals(FIRST, &LOCAL.to_ne_bytes())
    }

    /// Sends it to the address and port that the registers hold.
    pub(crate) fn redirect(&mut self, family: u8, address: u32, port: u32) {
        const DESTINATION: u32 = 1;
        self.expression("nat", |data| {
            data.big(1, DESTINATION);
            data.big(2, u32::from(family));
            data.big(3, address);
            data.big(5, port);
        });
    }

    /// Gives it the address of the link that it leaves by.
    pub(crate) fn masquerade(&mut self) {
        self.expression("masq", |_| ());
    }

    /// Ends the way of the packet, or sends it on.
    pub(crate) fn verdict(&mut self, verdict: Verdict<'_>) {
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (ACCEPT, None),
            Verdict::Return => (-5, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
        };
        self.expression("immediate", |data| {
            data.big(1, 0);
            data.nest(2, |inner| {
                inner.nest(2, |verdict| {
                    verdict.bytes(1, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        });
    }
}
