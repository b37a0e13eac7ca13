//! The same as messages. A field number is never used for anything else.

use super::{
    BLOCK_SIZE, Block, Epoch, Held, Interface, InterfaceId, NodeAddresses, Proposal, Report, Unit,
    Verdict,
};
use std::net::Ipv4Addr;

/// See [`NodeAddresses`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Addresses {
    /// Its epoch.
    #[prost(message, optional, tag = "1")]
    pub epoch: Option<EpochMessage>,
    /// The node's interfaces.
    #[prost(message, repeated, tag = "2")]
    pub interfaces: Vec<InterfaceMessage>,
    /// What is to be given back, each with the epoch of its proposal.
    #[prost(message, repeated, tag = "3")]
    pub proposals: Vec<HeldMessage>,
}

/// See [`Report`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct AddressReport {
    /// Of the newest that the node was told.
    #[prost(message, optional, tag = "1")]
    pub seen: Option<EpochMessage>,
    /// The interfaces that it named.
    #[prost(message, repeated, tag = "2")]
    pub known: Vec<InterfaceMessage>,
    /// Pods that wait.
    #[prost(uint32, tag = "3")]
    pub pending: u32,
    /// What is in use, each with how many addresses are.
    #[prost(message, repeated, tag = "4")]
    pub used: Vec<HeldMessage>,
    /// What is fenced, each with the epoch of its proposal.
    #[prost(message, repeated, tag = "5")]
    pub fenced: Vec<HeldMessage>,
    /// What is kept although it was asked back, each with the epoch of its proposal.
    #[prost(message, repeated, tag = "6")]
    pub in_use: Vec<HeldMessage>,
    /// Whether pods are started with addresses of the node's.
    #[prost(bool, tag = "7")]
    pub serving: bool,
}

/// See [`Epoch`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct EpochMessage {
    /// Of the leader.
    #[prost(uint32, tag = "1")]
    pub term: u32,
    /// Of its proposals.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// See [`Interface`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct InterfaceMessage {
    /// `eni-...`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `02:00:00:00:00:01`.
    #[prost(string, tag = "2")]
    pub mac: String,
    /// Of the network card.
    #[prost(uint32, tag = "3")]
    pub card: u32,
    /// Of the device on it.
    #[prost(uint32, tag = "4")]
    pub index: u32,
    /// Its own address, in host order.
    #[prost(fixed32, tag = "5")]
    pub primary: u32,
    /// `subnet-...`.
    #[prost(string, tag = "6")]
    pub subnet: String,
    /// The router's address, in host order.
    #[prost(fixed32, tag = "7")]
    pub gateway: u32,
    /// What pods may have.
    #[prost(message, repeated, tag = "8")]
    pub units: Vec<UnitMessage>,
}

/// See [`Unit`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct UnitMessage {
    /// Its lowest address, in host order.
    #[prost(fixed32, tag = "1")]
    pub first: u32,
    /// How many addresses: 1 or 16.
    #[prost(uint32, tag = "2")]
    pub size: u32,
}

/// See [`Held`], and what is said of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeldMessage {
    /// `eni-...`.
    #[prost(string, tag = "1")]
    pub interface: String,
    /// One of its units; absent: the interface itself.
    #[prost(message, optional, tag = "2")]
    pub unit: Option<UnitMessage>,
    /// Of the proposal.
    #[prost(message, optional, tag = "3")]
    pub epoch: Option<EpochMessage>,
    /// How many of its addresses are in use.
    #[prost(uint32, tag = "4")]
    pub count: u32,
}

/// A message that means nothing. Whoever sent it is at fault, and would send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {0} of addresses is missing or malformed")]
pub struct Malformed(pub &'static str);

impl From<Epoch> for EpochMessage {
    fn from(Epoch { term, count }: Epoch) -> Self {
        Self { term, count }
    }
}

impl From<EpochMessage> for Epoch {
    fn from(EpochMessage { term, count }: EpochMessage) -> Self {
        Self { term, count }
    }
}

impl From<Unit> for UnitMessage {
    fn from(unit: Unit) -> Self {
        let first = match unit {
            Unit::Address(address) => address,
            Unit::Block(block) => block.first(),
        };
        Self { first: first.into(), size: unit.size() }
    }
}

impl TryFrom<UnitMessage> for Unit {
    type Error = Malformed;

    fn try_from(UnitMessage { first, size }: UnitMessage) -> Result<Self, Malformed> {
        let first = Ipv4Addr::from(first);
        match size {
            1 => Ok(Unit::Address(first)),
            BLOCK_SIZE if Block::of(first).first() == first => Ok(Unit::Block(Block::of(first))),
            _ => Err(Malformed("unit")),
        }
    }
}

impl From<&Held> for HeldMessage {
    fn from(held: &Held) -> Self {
        let unit = held.unit.map(UnitMessage::from);
        Self { interface: held.interface.0.clone(), unit, ..Self::default() }
    }
}

impl TryFrom<&HeldMessage> for Held {
    type Error = Malformed;

    fn try_from(held: &HeldMessage) -> Result<Self, Malformed> {
        let unit = held.unit.map(Unit::try_from).transpose()?;
        Ok(Self { interface: identity(&held.interface)?, unit })
    }
}

impl HeldMessage {
    fn proposed(held: &Held, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch.into()), ..Self::from(held) }
    }

    fn with_epoch(&self) -> Result<(Held, Epoch), Malformed> {
        Ok((self.try_into()?, epoch(self.epoch)?))
    }
}

impl From<&Interface> for InterfaceMessage {
    fn from(interface: &Interface) -> Self {
        Self {
            id: interface.id.0.clone(),
            mac: interface.mac.clone(),
            card: interface.card.into(),
            index: interface.index.into(),
            primary: interface.primary.into(),
            subnet: interface.subnet.clone(),
            gateway: interface.gateway.into(),
            units: interface.units.iter().copied().map(UnitMessage::from).collect(),
        }
    }
}

impl TryFrom<InterfaceMessage> for Interface {
    type Error = Malformed;

    fn try_from(message: InterfaceMessage) -> Result<Self, Malformed> {
        let units = message.units.into_iter().map(Unit::try_from);
        Ok(Self {
            id: identity(&message.id)?,
            mac: message.mac,
            card: u8::try_from(message.card).map_err(|_| Malformed("network card"))?,
            index: u8::try_from(message.index).map_err(|_| Malformed("device index"))?,
            primary: message.primary.into(),
            subnet: message.subnet,
            gateway: message.gateway.into(),
            units: units.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&NodeAddresses> for Addresses {
    fn from(told: &NodeAddresses) -> Self {
        let proposals = told.proposals.iter();
        Self {
            epoch: Some(told.epoch.into()),
            interfaces: told.interfaces.values().map(InterfaceMessage::from).collect(),
            proposals: proposals.map(|(held, p)| HeldMessage::proposed(held, p.epoch)).collect(),
        }
    }
}

impl TryFrom<Addresses> for NodeAddresses {
    type Error = Malformed;

    fn try_from(message: Addresses) -> Result<Self, Malformed> {
        let proposals = message.proposals.iter().map(|proposal| {
            let (held, epoch) = proposal.with_epoch()?;
            Ok((held, Proposal { epoch }))
        });
        Ok(Self {
            epoch: epoch(message.epoch)?,
            interfaces: interfaces(message.interfaces)?,
            proposals: proposals.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Report> for AddressReport {
    fn from(report: &Report) -> Self {
        let used = report.used.iter();
        let used = used.map(|(held, count)| HeldMessage { count: *count, ..held.into() });
        let answered = |wanted: Verdict| {
            let verdicts = report.verdicts.iter().filter(move |(_, (_, said))| *said == wanted);
            verdicts.map(|(held, (epoch, _))| HeldMessage::proposed(held, *epoch)).collect()
        };
        Self {
            serving: report.serving,
            seen: Some(report.seen.into()),
            known: report.known.values().map(InterfaceMessage::from).collect(),
            pending: report.pending,
            used: used.collect(),
            fenced: answered(Verdict::Fenced),
            in_use: answered(Verdict::InUse),
        }
    }
}

impl TryFrom<AddressReport> for Report {
    type Error = Malformed;

    fn try_from(message: AddressReport) -> Result<Self, Malformed> {
        let used = message.used.iter().map(|used| Ok((used.try_into()?, used.count)));
        let of = |held: &HeldMessage, verdict| {
            let (held, epoch) = held.with_epoch()?;
            Ok((held, (epoch, verdict)))
        };
        let fenced = message.fenced.iter().map(|held| of(held, Verdict::Fenced));
        let kept = message.in_use.iter().map(|held| of(held, Verdict::InUse));
        Ok(Self {
            serving: message.serving,
            seen: epoch(message.seen)?,
            known: interfaces(message.known)?,
            pending: message.pending,
            used: used.collect::<Result<_, _>>()?,
            verdicts: fenced.chain(kept).collect::<Result<_, _>>()?,
        })
    }
}

fn epoch(message: Option<EpochMessage>) -> Result<Epoch, Malformed> {
    message.map(Epoch::from).ok_or(Malformed("epoch"))
}

fn identity(id: &str) -> Result<InterfaceId, Malformed> {
    match id.is_empty() {
        true => Err(Malformed("identity")),
        false => Ok(id.into()),
    }
}

fn interfaces(
    messages: Vec<InterfaceMessage>,
) -> Result<std::collections::BTreeMap<InterfaceId, Interface>, Malformed> {
    let interfaces = messages.into_iter().map(Interface::try_from);
    interfaces.map(|interface| interface.map(|i| (i.id.clone(), i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface() -> Interface {
        Interface {
            id: "eni-1".into(),
            mac: "02:00:00:00:00:01".into(),
            card: 1,
            index: 2,
            primary: Ipv4Addr::new(10, 0, 0, 5),
            subnet: "subnet-1".into(),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            units: ["10.0.0.17", "10.0.0.32/28"].map(|unit| unit.parse().unwrap()).into(),
        }
    }

    #[test]
    fn what_is_told_and_said_arrives_as_it_was_sent() {
        let held: Vec<Held> = ["eni-1", "10.0.0.17 of eni-1", "10.0.0.32/28 of eni-1"]
            .map(|held| held.parse().unwrap())
            .into();
        let epoch = |count| Epoch { term: 3, count };
        let interfaces = [(InterfaceId::from("eni-1"), interface())];
        let told = NodeAddresses {
            epoch: epoch(9),
            interfaces: interfaces.clone().into(),
            proposals: [(held[1].clone(), Proposal { epoch: epoch(7) })].into(),
        };
        assert_eq!(NodeAddresses::try_from(Addresses::from(&told)), Ok(told));
        let said = Report {
            serving: true,
            seen: epoch(9),
            known: interfaces.into(),
            pending: 4,
            used: [(held[2].clone(), 5)].into(),
            verdicts: [
                (held[1].clone(), (epoch(7), Verdict::Fenced)),
                (held[0].clone(), (epoch(8), Verdict::InUse)),
            ]
            .into(),
        };
        assert_eq!(Report::try_from(AddressReport::from(&said)), Ok(said));
    }

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let told = |change: fn(&mut InterfaceMessage)| {
            let mut message = InterfaceMessage::from(&interface());
            change(&mut message);
            let interfaces = vec![message];
            let epoch = Some(EpochMessage::default());
            NodeAddresses::try_from(Addresses { epoch, interfaces, ..Addresses::default() })
        };
        assert_eq!(told(|i| i.id.clear()), Err(Malformed("identity")));
        assert_eq!(told(|i| i.card = 256), Err(Malformed("network card")));
        assert_eq!(told(|i| i.index = 256), Err(Malformed("device index")));
        assert_eq!(told(|i| i.units[0].size = 2), Err(Malformed("unit")));
        assert_eq!(told(|i| i.units[1].first += 1), Err(Malformed("unit")));
        assert_eq!(NodeAddresses::try_from(Addresses::default()), Err(Malformed("epoch")));
        let report = AddressReport::default();
        assert_eq!(Report::try_from(report), Err(Malformed("epoch")));
    }
}
