//! A node: its agent, and the pods that the kubelet runs on it.

use penstock_config::address::{InterfaceId, NodeAddresses};
use penstock_pool::{Kept, Owner, Pool};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// A node.
#[derive(Debug, Default)]
pub(super) struct SimNode {
    /// Its name.
    pub(super) name: String,
    /// Its EC2 instance.
    pub(super) instance: String,
    /// Its agent; absent while it is away.
    pub(super) pool: Option<Pool>,
    /// What the agent wrote down.
    pub(super) disk: Kept,
    /// Until when nothing that it says or is told arrives.
    pub(super) silent_until: u64,
    /// Pods, and the addresses that they were told.
    pub(super) pods: BTreeMap<Owner, Option<Ipv4Addr>>,
    started: u32,
    /// Devices that the kernel shows.
    pub(super) devices: BTreeSet<InterfaceId>,
}

impl SimNode {
    pub(super) fn new(name: String, instance: String) -> Self {
        let mut node = Self { name, instance, ..Self::default() };
        node.begin();
        node
    }

    /// The agent begins with what it wrote down.
    pub(super) fn begin(&mut self) {
        let mut pool = Pool::new(self.disk.clone());
        pool.ready(self.devices.clone());
        self.pool = Some(pool);
    }

    /// A pod starts.
    pub(super) fn start(&mut self, now: u64) {
        self.started += 1;
        let container = format!("{}-{}", self.instance, self.started);
        let owner = Owner { container, device: "eth0".into() };
        self.pods.insert(owner.clone(), None);
        self.ask(&owner, now);
    }

    /// The kubelet asks for those that have none.
    pub(super) fn ask_again(&mut self, now: u64) {
        let without = self.pods.iter().filter(|(_, address)| address.is_none());
        for owner in without.map(|(owner, _)| owner.clone()).collect::<Vec<_>>() {
            self.ask(&owner, now);
        }
    }

    fn ask(&mut self, owner: &Owner, now: u64) {
        let Some(pool) = &mut self.pool else { return };
        let granted = pool.add(owner.clone(), now);
        self.disk = pool.kept().clone();
        if let Ok(granted) = granted {
            self.pods.insert(owner.clone(), Some(granted.address));
        }
    }

    /// The agent ends after it wrote down a pod's address, before it said so.
    pub(super) fn end_in_add(&mut self, now: u64) {
        self.start(now);
        if let Some((_, address)) = self.pods.last_key_value()
            && address.is_some()
        {
            let owner = self.pods.last_key_value().map(|(owner, _)| owner.clone());
            self.pods.extend(owner.map(|owner| (owner, None)));
        }
        self.pool = None;
    }

    /// A pod ends. While the agent is away the kubelet keeps asking, and the pod its address.
    pub(super) fn stop(&mut self, nth: usize, now: u64) {
        let nth = nth % self.pods.len().max(1);
        if let Some(owner) = self.pods.keys().nth(nth).cloned() {
            self.stop_pod(&owner, now);
        }
    }

    pub(super) fn stop_all(&mut self, now: u64) {
        for owner in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.stop_pod(&owner, now);
        }
    }

    fn stop_pod(&mut self, owner: &Owner, now: u64) {
        if let Some(pool) = &mut self.pool {
            pool.remove(owner, now);
            self.disk = pool.kept().clone();
            self.pods.remove(owner);
        }
    }

    pub(super) fn told(&mut self, told: NodeAddresses) {
        if let Some(pool) = &mut self.pool {
            pool.tell(told);
            self.disk = pool.kept().clone();
        }
    }

    pub(super) fn device(&mut self, id: InterfaceId) {
        self.devices.insert(id);
        self.ready();
    }

    /// Devices that are not there any more.
    pub(super) fn only(&mut self, attached: &BTreeSet<InterfaceId>) {
        self.devices.retain(|id| attached.contains(id));
        self.ready();
    }

    fn ready(&mut self) {
        if let Some(pool) = &mut self.pool {
            pool.ready(self.devices.clone());
        }
    }
}
