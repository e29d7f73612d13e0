//! The words of nftables on the wire (`linux/netfilter/nf_tables.h`): tables, chains, sets, rules.
//!
//! Only what our own rules are made of. A [`Transaction`] is taken as a whole or not at all.

use crate::netlink::{ACK, APPEND, Answer, Attributes, Batch, CREATE, Refusal, Socket};
use rustix::io::Errno;

/// `NFPROTO_INET`: a table for IPv4 and IPv6.
const FAMILY: u8 = 1;
const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

const LIST_ITEM: u16 = 1;
const TABLE_USER_DATA: u16 = 6;
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
    table: String,
}

fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

impl Transaction {
    /// An empty one.
    pub(crate) fn of(table: &str) -> Self {
        let mut batch = Batch::default();
        batch.message(BATCH_BEGIN, 0, &header(0, 10), |_| ());
        Self { batch, table: table.to_owned() }
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: impl FnOnce(&mut Attributes<'_>, &str)) {
        let table = &self.table;
        self.batch.message(kind, flags, &header(FAMILY, 0), |message| attributes(message, table));
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.len() <= 1
    }

    /// Makes the table, where it is not there.
    pub(crate) fn make_table(&mut self, comment: &str) {
        // nft(8) shows a text of type 0 as the table's comment.
        let mut data = vec![0, (comment.len() + 1) as u8];
        data.extend(comment.as_bytes());
        data.push(0);
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
    let comment = |answer: &Answer| {
        let data = answer.attribute(4, TABLE_USER_DATA)?.get(2..)?;
        Some(String::from_utf8_lossy(data).trim_end_matches('\0').to_owned())
    };
    Ok(Some(answers.iter().find_map(comment).unwrap_or_default()))
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
