//! What would stand in the way of an operator: from what EC2 says when it is asked before, to findings.

#[cfg(test)]
mod tests;

use crate::{
    action::{Action, Fill},
    denied::Denied,
    eni::Eni,
    failure::{Failure, Reason},
    groups::{GroupsError, SecurityGroup, security_groups},
    settings::{Settings, has_tags, lacking},
    subnet::{For, SubnetError, Subnets},
    time::Time,
};
use penstock_config::address::Unit;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// The service, where there is no option to name.
const EC2: &str = "EC2";

/// Something that stands in the way. Who runs the cluster is at fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// One of a few words.
    pub reason: &'static str,
    /// Path of an option among the values, an IAM action, or `EC2`.
    pub about: String,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

/// A node as far as the choice for new interfaces depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// `i-...`
    pub instance: String,
    /// Its availability zone.
    pub zone: String,
    /// Its interfaces.
    pub enis: Vec<Eni>,
}

/// A call that EC2 was asked whether it would be permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its name, as IAM has it without `ec2:`.
    pub call: &'static str,
    /// What it was about, as IAM names resources; empty for everything.
    pub about: String,
    /// Why it would not be.
    pub result: Result<(), Failure>,
}

/// What EC2 said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A node of each zone; none where no node is known.
    pub homes: Vec<Home>,
    /// Subnets of the nodes' VPC and those that the settings name; of all VPCs where no node is known.
    /// `None`: they could not be looked at.
    pub subnets: Option<Subnets>,
    /// The same of security groups.
    pub groups: Option<BTreeMap<String, SecurityGroup>>,
    /// Calls that were tried.
    pub tried: Vec<Tried>,
}

impl Home {
    /// The interface that the instance begins with.
    fn first(&self) -> Option<&Eni> {
        let is_first =
            |eni: &&Eni| eni.attachment.as_ref().is_some_and(|at| (at.card, at.index) == (0, 0));
        self.enis.iter().find(is_first)
    }

    fn who<'a>(&'a self, first: &'a Eni, settings: &'a Settings) -> For<'a> {
        For { vpc: &first.vpc, zone: &self.zone, own: &first.subnet, settings }
    }
}

/// The changes to try, each with the instance that it is for: one of each kind for which there is
/// something to try it on, and a new interface in each zone. Interfaces that Penstock did not make are
/// changed in their addresses alone, and only for these the chart's policy permits it.
pub fn attempts(settings: &Settings, seen: &Seen, owned: Option<&Eni>) -> Vec<(String, Action)> {
    let creates = seen.homes.iter().filter_map(|home| Some((home, create(settings, seen, home)?)));
    let mut all: Vec<_> = creates.map(|(home, create)| (home.instance.clone(), create)).collect();
    let Some((home, first)) = seen.homes.iter().find_map(|home| Some((home, home.first()?))) else {
        return all;
    };
    let changes = changes(settings, first, owned).into_iter();
    all.extend(changes.map(|change| (home.instance.clone(), change)));
    all
}

/// An address that no interface of these subnets has: one that is for documents alone (RFC 5737).
pub fn nobodys(subnets: &Subnets) -> Ipv4Addr {
    let all = [[192, 0, 2, 1], [198, 51, 100, 1], [203, 0, 113, 1]].map(Ipv4Addr::from);
    let is_nobodys = |address: &Ipv4Addr| !subnets.values().any(|subnet| subnet.contains(*address));
    all.into_iter().find(is_nobodys).unwrap_or(all[0])
}

/// As the operator would make it; in the node's own subnet where the settings lead nowhere.
fn create(settings: &Settings, seen: &Seen, home: &Home) -> Option<Action> {
    let first = home.first()?;
    let fill = Fill::Addresses(1);
    let who = home.who(first, settings);
    let chosen = seen.subnets.as_ref().and_then(|all| who.choose(all, fill, Time(0)).ok());
    let groups = seen.groups.as_ref();
    let groups =
        groups.and_then(|all| security_groups(settings, &first.vpc, &first.groups, all).ok());
    Some(Action::Create {
        subnet: chosen.map_or(&first.subnet, |subnet| &subnet.id).clone(),
        groups: groups.unwrap_or_else(|| first.groups.clone()),
        fill,
        place: (0, 1),
    })
}

fn changes(settings: &Settings, first: &Eni, owned: Option<&Eni>) -> Vec<Action> {
    let interface = first.id.clone();
    // Which is of no account: see `nobodys`.
    let unit = Unit::Address(first.primary);
    let mut all = vec![
        Action::Assign { interface: interface.clone(), fill: Fill::Addresses(1) },
        Action::Unassign { interface, units: [unit].into() },
    ];
    let Some(owned) = owned else { return all };
    let interface = || owned.id.clone();
    all.push(Action::Attach { interface: interface(), place: (0, 1) });
    all.push(Action::Delete { interface: interface() });
    if let Some(at) = &owned.attachment {
        let attachment = || at.id.clone();
        all.push(Action::DeleteOnTermination {
            interface: interface(),
            attachment: attachment(),
            delete: settings.delete_on_termination,
        });
        all.push(Action::Detach { interface: interface(), attachment: attachment() });
    }
    all
}

/// What stands in the way. What follows from something that is said is not said again.
pub fn findings(settings: &Settings, seen: &Seen) -> Vec<Finding> {
    let failures = || seen.tried.iter().filter_map(|tried| tried.result.as_ref().err());
    // Without these every call fails alike.
    let is_deaf = failures().count() == seen.tried.len();
    for reason in [Reason::NoRegion, Reason::NoCredentials, Reason::NoAnswer] {
        let found = failures().find(|failure| failure.reason == reason);
        // Where EC2 answers other calls, one answer was lost.
        if let Some(failure) = found.filter(|_| is_deaf || reason != Reason::NoAnswer) {
            return vec![unreachable(failure)];
        }
    }
    let mut all: Vec<Finding> = seen.tried.iter().filter_map(refused).collect();
    if let Some(subnets) = &seen.subnets {
        all.extend(of_subnets(settings, &seen.homes, subnets));
    }
    if let Some(groups) = &seen.groups {
        all.extend(of_groups(settings, &seen.homes, groups));
    }
    let mut said = BTreeSet::new();
    all.retain(|finding| said.insert(finding.clone()));
    all
}

fn unreachable(failure: &Failure) -> Finding {
    let (about, remedy) = match failure.reason {
        Reason::NoRegion => ("eni.region", failure.reason.remedy()),
        Reason::NoAnswer => (
            "eni.endpoint",
            "let the operator's nodes reach EC2's endpoint: a NAT gateway, or an interface endpoint for com.amazonaws.REGION.ec2 whose security group lets them in; or correct eni.region and eni.endpoint",
        ),
        reason => (EC2, reason.remedy()),
    };
    finding(failure.reason.as_str(), about, failure.message.clone(), remedy)
}

/// A permission that is missing, or a setting that EC2 refuses. A call that EC2 would refuse for the
/// state of what it was tried on is permitted.
fn refused(tried: &Tried) -> Option<Finding> {
    let failure = tried.result.as_ref().err()?;
    let reason = failure.reason.as_str();
    if let Some(denied) = Denied::of(failure, tried.call, &tried.about) {
        let remedy = match denied.is_explicit() {
            true => "take the deny out of that policy: allowing it in another does not help",
            false => failure.reason.remedy(),
        };
        let (about, cause) = (denied.action.clone(), denied.to_string());
        return Some(Finding { reason, about, cause, remedy: remedy.into() });
    }
    if matches!(failure.reason, Reason::NoAnswer | Reason::Throttled | Reason::Internal) {
        let cause = format!("EC2 did not say whether it permits this: {}", failure.message);
        return Some(finding(reason, &format!("ec2:{}", tried.call), cause, "ask again"));
    }
    let about_settings =
        tried.call == "CreateNetworkInterface" && failure.reason == Reason::Invalid;
    about_settings.then(|| Finding {
        reason,
        about: format!("ec2:{}", tried.call),
        cause: format!("EC2 would refuse a new interface: {}", failure.message),
        remedy: "correct eni.tags or eni.nodeSpec, as the message says".into(),
    })
}

fn finding(reason: &'static str, about: &str, cause: String, remedy: &str) -> Finding {
    Finding { reason, about: about.into(), cause, remedy: remedy.into() }
}

fn of_subnets(settings: &Settings, homes: &[Home], subnets: &Subnets) -> Vec<Finding> {
    let (ids, tags) = ("eni.nodeSpec.subnetIDs", "eni.nodeSpec.subnetTags");
    let each = "name one of each zone that has nodes";
    let mut all = Vec::new();
    let vpcs = vpcs(homes);
    for id in &settings.subnet_ids {
        match subnets.get(id) {
            None => {
                let cause = format!("there is no subnet {id} in this region and account");
                all.push(finding("NoSuchSubnet", ids, cause, "correct the id, or eni.region"));
            }
            Some(subnet) if !vpcs.is_empty() && !vpcs.contains(subnet.vpc.as_str()) => {
                let cause =
                    format!("{id} is of VPC {}, the nodes are in {}", subnet.vpc, said(&vpcs));
                all.push(finding("OtherVpc", ids, cause, each));
            }
            Some(_) => {}
        }
    }
    let wanted = &settings.subnet_tags;
    let by_tags = settings.subnet_ids.is_empty() && !wanted.is_empty();
    let is_there = subnets.values().any(|subnet| has_tags(&subnet.tags, wanted));
    if homes.is_empty() && by_tags && !is_there {
        let lacking = lacking(subnets.values().map(|subnet| &subnet.tags), wanted);
        let cause = format!("no subnet of this region has all of them, since {lacking}");
        all.push(finding("NoSubnet", tags, cause, "tag one of each zone that will have nodes"));
    }
    for home in homes {
        let Some(first) = home.first() else { continue };
        let who = home.who(first, settings);
        let Err(error) = who.choose(subnets, Fill::Addresses(1), Time(0)) else { continue };
        let field = error.field().unwrap_or(ids);
        let (reason, other) = match error {
            SubnetError::Full { .. } => ("SubnetFull", Reason::SubnetFull.remedy()),
            _ => ("NoSubnet", each),
        };
        all.push(finding(reason, field, error.cause(), error.remedy().unwrap_or(other)));
    }
    all
}

fn of_groups(
    settings: &Settings,
    homes: &[Home],
    groups: &BTreeMap<String, SecurityGroup>,
) -> Vec<Finding> {
    let (ids, tags) = ("eni.nodeSpec.securityGroups", "eni.nodeSpec.securityGroupTags");
    let missing = |id: &str| {
        let cause = format!("there is no security group {id} in this region and account");
        finding("NoSuchSecurityGroup", ids, cause, "correct the id, or eni.region")
    };
    let absent = settings.security_groups.iter().filter(|id| !groups.contains_key(*id));
    let mut all: Vec<_> = absent.map(|id| missing(id)).collect();
    let tag_one = "tag one, or name groups by id in eni.nodeSpec.securityGroups";
    let wanted = &settings.security_group_tags;
    let by_tags = settings.security_groups.is_empty() && !wanted.is_empty();
    let is_there = groups.values().any(|group| has_tags(&group.tags, wanted));
    if homes.is_empty() && by_tags && !is_there {
        let lacking = lacking(groups.values().map(|g| &g.tags), wanted);
        let cause = format!("no security group of this region has all of them, since {lacking}");
        all.push(finding("NoSecurityGroup", tags, cause, tag_one));
    }
    for home in homes {
        let Some(first) = home.first() else { continue };
        all.extend(match security_groups(settings, &first.vpc, &first.groups, groups) {
            // What is nowhere was said.
            Ok(_) | Err(GroupsError::NoSuchId { .. }) => None,
            Err(GroupsError::OtherVpc { id, other, vpc }) => {
                let cause = format!("{id} is of VPC {other}, the nodes are in {vpc}");
                Some(finding("OtherVpc", ids, cause, "name groups of the nodes' VPC"))
            }
            Err(GroupsError::NoSuchTags(vpc, lacking)) => {
                let cause =
                    format!("no security group of VPC {vpc} has all of them, since {lacking}");
                Some(finding("NoSecurityGroup", tags, cause, tag_one))
            }
            Err(GroupsError::None) => {
                let cause =
                    format!("the first interface of {} has none to take over", home.instance);
                Some(finding("NoSecurityGroup", ids, cause, "name some"))
            }
        });
    }
    all
}

/// The VPCs of nodes.
fn vpcs(homes: &[Home]) -> BTreeSet<&str> {
    homes.iter().filter_map(Home::first).map(|first| first.vpc.as_str()).collect()
}

fn said(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// One sentence: what it is about, why, and what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, cause, remedy, .. } = self;
        write!(f, "{about}: {cause}; {remedy}")
    }
}
