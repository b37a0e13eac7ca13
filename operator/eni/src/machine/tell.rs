//! What a node is told.

use super::{Machine, Output};
use crate::subnet::{Subnet, Subnets};
use penstock_config::address::{Interface, InterfaceId, NodeAddresses, Proposal};
use std::collections::BTreeMap;

impl Machine {
    /// Tells the node what it does not know yet. Each word has an epoch that is higher than that of
    /// any before, and than that of every proposal in it.
    pub(super) fn tell(&mut self, subnets: &Subnets) -> Option<Output> {
        let interfaces = self.interfaces(subnets);
        let proposals: BTreeMap<_, _> = self
            .node
            .releases
            .iter()
            .map(|(held, release)| (held.clone(), Proposal { epoch: release.epoch }))
            .collect();
        if let Some(told) = &self.told
            && told.interfaces == interfaces
            && told.proposals == proposals
        {
            return None;
        }
        self.epoch = self.epoch.next();
        let told = NodeAddresses { epoch: self.epoch, interfaces, proposals };
        self.told = Some(told.clone());
        Some(Output::Tell(told))
    }

    /// What the node was told last; for one that comes back.
    pub fn told(&self) -> Option<&NodeAddresses> {
        self.told.as_ref()
    }

    /// One whose subnet is not known yet cannot be used: nothing says where its router is.
    fn interfaces(&self, subnets: &Subnets) -> BTreeMap<InterfaceId, Interface> {
        let settings = &self.node.settings;
        let used = self.node.used_enis().into_iter();
        used.filter_map(|eni| {
            let at = eni.attachment.as_ref()?;
            let known = || subnets.get(&eni.subnet).and_then(Subnet::router);
            let told = |told: &NodeAddresses| Some(told.interfaces.get(&eni.id)?.gateway);
            let gateway = self.told.as_ref().and_then(told).or_else(known)?;
            let interface = Interface {
                id: eni.id.clone(),
                mac: eni.mac.clone(),
                card: at.card,
                index: at.index,
                primary: eni.primary,
                subnet: eni.subnet.clone(),
                gateway,
                units: eni.allocatable(settings),
            };
            Some((eni.id.clone(), interface))
        })
        .collect()
    }
}
