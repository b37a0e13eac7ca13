//! Where calls go.

use crate::model::{Model, ModelInterface, ModelSubnet, NewInterface, Space};
use penstock_eni::{Action, Eni, Failure, Fill, Limits, Outcome, Subnet};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The tag that says which cluster made an interface.
pub(super) const CLUSTER: &str = "penstock.dev/cluster";

/// The tag that says for which instance.
pub(super) const INSTANCE: &str = "penstock.dev/instance";

/// The VPC of the simulation.
pub const VPC: &str = "vpc-1";

/// The subnet that instances start in.
pub const FIRST: &str = "subnet-a";

/// Something that answers calls as EC2 does.
pub trait Cloud {
    /// Makes a call for an instance.
    ///
    /// # Errors
    /// EC2's.
    fn call(&mut self, instance: &str, token: &str, action: &Action) -> Result<Outcome, Failure>;

    /// The interfaces that are attached to an instance or were made for it.
    fn interfaces(&self, instance: &str) -> Vec<Eni>;

    /// The same as it truly is, without a call; for what checks.
    fn truth(&self, instance: &str) -> Vec<Eni> {
        self.interfaces(instance)
    }

    /// All subnets.
    fn subnets(&self) -> BTreeMap<String, Subnet>;

    /// Interfaces of this cluster that are attached to nothing, with their instances.
    fn loose(&self) -> Vec<penstock_eni::Loose>;

    /// An instance starts, with one interface in the first subnet; whether there was room.
    fn launch(&mut self, instance: &str, limits: Limits) -> bool;

    /// An instance ends.
    fn terminate(&mut self, instance: &str);

    /// Others take addresses of the first subnet.
    fn take(&mut self, count: u32);

    /// And give all of them back.
    fn give_back(&mut self);
}

/// The model itself.
#[derive(Clone, Debug)]
pub struct InMemory {
    /// The model.
    pub model: Model,
    taken: Vec<Ipv4Addr>,
}

impl InMemory {
    /// Two subnets of one zone: a small one, and one that is large enough.
    pub fn new() -> Self {
        let mut model = Model::new();
        for (id, cidr) in [(FIRST, "10.0.0.0/25"), ("subnet-b", "10.0.4.0/22")] {
            let subnet = ModelSubnet {
                zone: "a".into(),
                vpc: VPC.into(),
                space: Space::new(cidr),
                tags: BTreeMap::new(),
            };
            model.subnets.insert(id.into(), subnet);
        }
        model.groups.insert("sg-node".into(), VPC.into());
        Self { model, taken: Vec::new() }
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Cloud for InMemory {
    fn call(&mut self, instance: &str, token: &str, action: &Action) -> Result<Outcome, Failure> {
        let model = &mut self.model;
        let result = match action {
            Action::Propose(_) | Action::Withdraw(_) => unreachable!("no call of EC2"),
            Action::Create { subnet, groups, fill, .. } => {
                let (addresses, prefixes) = match fill {
                    Fill::Addresses(count) => (*count, 0),
                    Fill::Prefixes(count) => (0, *count),
                };
                let tags = [(CLUSTER, "test"), (INSTANCE, instance)];
                let new = NewInterface {
                    subnet: subnet.clone(),
                    groups: groups.clone(),
                    addresses,
                    prefixes,
                    tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                };
                let created = model.create_network_interface(&new, token);
                created.map(|created| Outcome::Created(shown(&created.interface)))
            }
            Action::Attach { interface, place: (card, index) } => model
                .attach_network_interface(interface, instance, *card, *index)
                .map(Outcome::Attached),
            Action::DeleteOnTermination { interface, attachment, delete } => {
                model.delete_on_termination(interface, attachment, *delete).map(|()| Outcome::Done)
            }
            Action::Assign { interface, fill } => {
                model.assign_private_ip_addresses(interface, *fill).map(Outcome::Assigned)
            }
            Action::Unassign { interface, units } => {
                model.unassign_private_ip_addresses(interface, units).map(|()| Outcome::Done)
            }
            Action::Detach { attachment, .. } => {
                model.detach_network_interface(attachment).map(|()| Outcome::Done)
            }
            Action::Delete { interface } => {
                model.delete_network_interface(interface).map(|()| Outcome::Done)
            }
        };
        result.map_err(|error| Failure::of_ec2(error.code, &error.message))
    }

    fn interfaces(&self, instance: &str) -> Vec<Eni> {
        let here = self.model.interfaces.values().filter(|eni| match &eni.attached {
            Some((on, _)) => on == instance,
            None => eni.tags.get(INSTANCE).is_some_and(|made_for| made_for == instance),
        });
        here.map(shown).collect()
    }

    fn subnets(&self) -> BTreeMap<String, Subnet> {
        let subnets = self.model.subnets.iter().map(|(id, subnet)| {
            let shown = Subnet {
                id: id.clone(),
                vpc: subnet.vpc.clone(),
                zone: subnet.zone.clone(),
                cidr: subnet.space.cidr(),
                tags: subnet.tags.clone(),
                free: subnet.space.free(),
                ..Subnet::default()
            };
            (id.clone(), shown)
        });
        subnets.collect()
    }

    fn loose(&self) -> Vec<penstock_eni::Loose> {
        let loose = self.model.interfaces.values().filter(|eni| eni.attached.is_none());
        loose
            .filter(|eni| eni.tags.contains_key(CLUSTER))
            .map(|eni| penstock_eni::Loose {
                id: eni.id.clone(),
                instance: eni.tags.get(INSTANCE).cloned().unwrap_or_default(),
            })
            .collect()
    }

    fn launch(&mut self, instance: &str, limits: Limits) -> bool {
        self.model.launch(instance, limits, FIRST, &["sg-node"]).is_ok()
    }

    fn terminate(&mut self, instance: &str) {
        self.model.terminate(instance);
    }

    fn take(&mut self, count: u32) {
        if let Some(subnet) = self.model.subnets.get_mut(FIRST) {
            self.taken.extend(subnet.space.steal(count));
        }
    }

    fn give_back(&mut self) {
        if let Some(subnet) = self.model.subnets.get_mut(FIRST) {
            subnet.space.give(self.taken.drain(..));
        }
    }
}

fn shown(eni: &ModelInterface) -> Eni {
    Eni {
        id: eni.id.clone(),
        mac: eni.mac.clone(),
        vpc: VPC.into(),
        subnet: eni.subnet.clone(),
        primary: eni.primary,
        units: eni.units(),
        groups: eni.groups.clone(),
        tags: eni.tags.clone(),
        owned: eni.tags.contains_key(CLUSTER),
        attachment: eni.attached.as_ref().map(|(_, at)| at.clone()),
    }
}
