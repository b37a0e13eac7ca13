//! Messages of nftables (linux/netfilter/nf_tables.h): tables, chains, sets, rules, and what rules are
//! made of. The names of attributes stand above what writes them.
//!
//! They go by netlink and not by `nft`, whose library would be the only thing in the agent's image that
//! is not Rust. What belongs together goes in one [`transaction`].

use crate::netlink::{ACK, APPEND, CREATE, Message, Netlink, attributes};
use std::io;

/// Message types, of the subsystem `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
/// The messages around a transaction (linux/netfilter/nfnetlink.h).
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NFPROTO_INET`: both families in one table; `NFPROTO_IPV4`, `NFPROTO_IPV6`.
pub(crate) const INET: u8 = 1;
pub(crate) const IPV4: u8 = 2;
pub(crate) const IPV6: u8 = 10;
/// Hooks (`NF_INET_*`).
pub(crate) const PREROUTING: u32 = 0;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;
/// The first register, of 16 bytes, and the one of verdicts.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
/// Length of `struct nfgenmsg`.
const GENERIC_HEADER: usize = 4;
/// `NFTA_DATA_VERDICT`, `NF_DROP`.
const VERDICT: u16 = 2;
const DROP: u32 = 0;
/// `NFTA_LIST_ELEM`, `NFTA_DATA_VALUE`.
const ELEMENT: u16 = 1;
const VALUE: u16 = 1;
/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`.
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;
/// `NFT_META_*`.
pub(crate) const MARK: u32 = 3;
pub(crate) const IN_DEVICE: u32 = 4;
pub(crate) const IN_DEVICE_NAME: u32 = 6;
pub(crate) const OUT_DEVICE_NAME: u32 = 7;
pub(crate) const FAMILY: u32 = 15;
pub(crate) const PROTOCOL: u32 = 16;
/// `NFT_CT_STATE`, `NFT_CT_DIRECTION`, `NFT_CT_MARK`.
pub(crate) const CT_STATE: u32 = 0;
pub(crate) const CT_DIRECTION: u32 = 1;
pub(crate) const CT_MARK: u32 = 3;

/// A table of packet rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// `NFPROTO_*`.
    pub(crate) family: u8,
}

/// Where a chain hangs: a hook, a priority (lower is earlier), and `filter` or `nat`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) hook: u32,
    pub(crate) priority: i32,
    pub(crate) kind: &'static str,
}

/// A set: name, number within the transaction, type (for those who print it) and length of its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) id: u32,
    pub(crate) key_type: u32,
    pub(crate) length: u32,
}

/// Where a family's destination lies in the header and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub(crate) family: u8,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

pub(crate) const TO4: Destination = Destination { family: IPV4, offset: 16, length: 4 };
pub(crate) const TO6: Destination = Destination { family: IPV6, offset: 24, length: 16 };

/// Does it all, or nothing.
///
/// # Errors
/// No CAP_NET_ADMIN, or something that this kernel has not.
pub(crate) fn transaction(messages: Vec<Message>) -> io::Result<()> {
    let around = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8]);
    let mut all = vec![around(BEGIN)];
    all.extend(messages);
    all.push(around(END));
    Netlink::netfilter()?.batch(all)
}

impl Table {
    /// Makes the table anew, empty.
    pub(crate) fn renewed(self) -> Vec<Message> {
        let mut messages = self.gone();
        messages.push(self.table(NEW_TABLE, CREATE));
        messages
    }

    /// Makes the table if there is none, and takes it away: so no error where there was none.
    pub(crate) fn gone(self) -> Vec<Message> {
        vec![self.table(NEW_TABLE, CREATE), self.table(DELETE_TABLE, 0)]
    }

    /// A message of the subsystem with `struct nfgenmsg`.
    fn message(self, kind: u16, flags: u16) -> Message {
        Message::new(SUBSYSTEM << 8 | kind, flags | ACK, &[self.family, 0, 0, 0])
    }

    /// `NFTA_TABLE_NAME`.
    fn table(self, kind: u16, flags: u16) -> Message {
        self.message(kind, flags).text(1, self.name)
    }

    /// `NFTA_CHAIN_TABLE`, `_NAME`, `_HOOK` (`_HOOKNUM`, `_PRIORITY`), `_TYPE`.
    pub(crate) fn chain(self, name: &str, place: Place) -> Message {
        self.message(NEW_CHAIN, CREATE)
            .text(1, self.name)
            .text(3, name)
            .nest(4, |hook| {
                hook.number_be(1, place.hook).number_be(2, place.priority.cast_unsigned())
            })
            .text(7, place.kind)
    }

    /// A chain that nothing leads to.
    pub(crate) fn loose_chain(self, name: &str) -> Message {
        self.message(NEW_CHAIN, CREATE).text(1, self.name).text(3, name)
    }

    /// `NFTA_SET_TABLE`, `_NAME`, `_FLAGS`, `_KEY_TYPE`, `_KEY_LEN`, `_ID`.
    pub(crate) fn set(self, set: &Set) -> Message {
        self.message(NEW_SET, CREATE)
            .text(1, self.name)
            .text(2, set.name)
            .number_be(3, 0)
            .number_be(4, set.key_type)
            .number_be(5, set.length)
            .number_be(10, set.id)
    }

    /// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`, `_SET_ID`; in it `NFTA_SET_ELEM_KEY`.
    pub(crate) fn elements(self, set: &Set, elements: &[Vec<u8>]) -> Message {
        let message = self.message(NEW_ELEMENTS, CREATE).text(1, self.name).text(2, set.name);
        message.number_be(4, set.id).nest(3, |list| {
            elements.iter().fold(list, |list, octets| {
                list.nest(ELEMENT, |element| element.nest(1, |key| key.attribute(VALUE, octets)))
            })
        })
    }

    /// `NFTA_RULE_TABLE`, `_CHAIN`, `_EXPRESSIONS`.
    pub(crate) fn rule(self, chain: &str, expressions: impl FnOnce(Message) -> Message) -> Message {
        let message = self.message(NEW_RULE, CREATE | APPEND);
        message.text(1, self.name).text(2, chain).nest(4, expressions)
    }

    /// Packets that the counters of a chain's rules have seen; 0 where there is no such chain.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub(crate) fn counted(self, chain: &str) -> io::Result<u64> {
        let kind = SUBSYSTEM << 8 | GET_RULE;
        let asked =
            Message::new(kind, 0, &[self.family, 0, 0, 0]).text(1, self.name).text(2, chain);
        let rules = match Netlink::netfilter()?.dump_of(asked) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            rules => rules?,
        };
        let lists = rules.iter().flat_map(|rule| rule.attributes(GENERIC_HEADER));
        let expressions =
            lists.filter(|(kind, _)| *kind == 4).flat_map(|(_, list)| attributes(list));
        Ok(expressions.filter_map(|(_, expression)| packets(expression)).sum())
    }
}

/// What a counter has seen: `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`, `NFTA_COUNTER_PACKETS`.
fn packets(expression: &[u8]) -> Option<u64> {
    let of =
        |kind: u16, list| attributes(list).find(|(k, _)| *k == kind).map(|(_, payload)| payload);
    let data = of(1, expression).filter(|name| *name == b"counter\0").and(of(2, expression))?;
    of(2, data)?.first_chunk().map(|packets| u64::from_be_bytes(*packets))
}

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    list.nest(ELEMENT, |expression| expression.text(1, name).nest(2, data))
}

/// Connection tracking does not see the packet.
pub(crate) fn notrack(list: Message) -> Message {
    list.nest(ELEMENT, |expression| expression.text(1, "notrack"))
}

/// `NFTA_IMMEDIATE_DREG`, `_DATA`; in it `NFTA_VERDICT_CODE`.
pub(crate) fn discard(list: Message) -> Message {
    expression(list, "immediate", |data| {
        data.number_be(1, VERDICT_REGISTER)
            .nest(2, |data| data.nest(VERDICT, |verdict| verdict.number_be(1, DROP)))
    })
}

/// Counts packets and bytes.
pub(crate) fn counter(list: Message) -> Message {
    expression(list, "counter", |data| data)
}

/// The packet gets the address of the device by which it leaves, and a random port (`NFTA_MASQ_FLAGS`:
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`), so that two that begin at once do not ask for the same one.
pub(crate) fn masquerade(list: Message) -> Message {
    const RANDOM_FULLY: u32 = 0x10;
    expression(list, "masq", |data| data.number_be(1, RANDOM_FULLY))
}

/// `NFTA_META_DREG`, `_KEY`: something of the packet comes into the register.
pub(crate) fn load(list: Message, key: u32) -> Message {
    expression(list, "meta", |data| data.number_be(1, REGISTER).number_be(2, key))
}

/// `NFTA_META_SREG`: it becomes what the register has.
pub(crate) fn store(list: Message, key: u32) -> Message {
    expression(list, "meta", |data| data.number_be(3, REGISTER).number_be(2, key))
}

/// `NFTA_CT_DREG`, `_KEY`: something of the connection comes into the register. A packet of none ends the
/// rule.
pub(crate) fn load_ct(list: Message, key: u32) -> Message {
    expression(list, "ct", |data| data.number_be(1, REGISTER).number_be(2, key))
}

/// `NFTA_CT_SREG`: it becomes what the register has.
pub(crate) fn store_ct(list: Message, key: u32) -> Message {
    expression(list, "ct", |data| data.number_be(4, REGISTER).number_be(2, key))
}

/// What kind of address the destination is (`RTN_*`), by the routes of this node: `NFTA_FIB_DREG`,
/// `_RESULT` (`NFT_FIB_RESULT_ADDRTYPE`), `_FLAGS` (`NFTA_FIB_F_DADDR`).
pub(crate) fn destination_kind(list: Message) -> Message {
    expression(list, "fib", |data| data.number_be(1, REGISTER).number_be(2, 3).number_be(3, 2))
}

/// The destination comes into the register: `NFTA_PAYLOAD_DREG`, `_BASE` (the network header), `_OFFSET`,
/// `_LEN`.
pub(crate) fn destination(list: Message, to: &Destination) -> Message {
    expression(list, "payload", |data| {
        data.number_be(1, REGISTER).number_be(2, 1).number_be(3, to.offset).number_be(4, to.length)
    })
}

/// The register becomes `register & mask ^ flip`: `NFTA_BITWISE_SREG`, `_DREG`, `_LEN`, `_MASK`, `_XOR`.
pub(crate) fn bits(list: Message, mask: [u8; 4], flip: [u8; 4]) -> Message {
    expression(list, "bitwise", |data| {
        data.number_be(1, REGISTER)
            .number_be(2, REGISTER)
            .number_be(3, 4)
            .nest(4, |data| data.attribute(VALUE, &mask))
            .nest(5, |data| data.attribute(VALUE, &flip))
    })
}

/// `meta mark & MASK == mark`.
pub(crate) fn marked(list: Message, mark: u32, mask: u32) -> Message {
    let list = bits(load(list, MARK), mask.to_ne_bytes(), [0; 4]);
    equal(list, &mark.to_ne_bytes())
}

/// Whether what is in the register is in the set: `NFTA_LOOKUP_SET`, `_SREG`, `_SET_ID`.
pub(crate) fn lookup(list: Message, set: &Set) -> Message {
    expression(list, "lookup", |data| {
        data.text(1, set.name).number_be(2, REGISTER).number_be(4, set.id)
    })
}

/// Goes on where the register begins with these bytes.
pub(crate) fn equal(list: Message, value: &[u8]) -> Message {
    compare(list, EQUAL, value)
}

/// Goes on where it does not.
pub(crate) fn different(list: Message, value: &[u8]) -> Message {
    compare(list, DIFFERENT, value)
}

/// `NFTA_CMP_SREG`, `_OP`, `_DATA`.
fn compare(list: Message, operation: u32, value: &[u8]) -> Message {
    expression(list, "cmp", |data| {
        data.number_be(1, REGISTER)
            .number_be(2, operation)
            .nest(3, |data| data.attribute(VALUE, value))
    })
}
