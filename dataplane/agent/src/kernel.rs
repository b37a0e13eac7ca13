//! What the keeper asks of the kernel, and the kernel that does it.

use crate::{Listening, SocketError, listeners, neighbours};
use penstock_config::State;
use penstock_net::{Device, NetError, Steering, addresses, announce, devices, nat, routes};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

/// Drivers of devices whose other end is one pod's.
const OF_ONE_POD: [&str; 2] = ["veth", "netkit"];

/// What can be done with the node's network. A test has one of its own.
pub trait Kernel: Send {
    /// Makes a listening socket.
    ///
    /// # Errors
    /// [`SocketError`].
    fn make(&mut self) -> Result<Listening, SocketError>;

    /// New connections go to these sockets, by index; none: packets pass unchanged.
    ///
    /// # Errors
    /// [`NetError`]; what was before stays.
    fn steer(&mut self, sockets: &[&Listening]) -> Result<(), NetError>;

    /// Brings what is steered to what a configuration asks, with proxies at these addresses. `None`:
    /// none has come yet, and what an earlier agent steered to stays.
    ///
    /// # Errors
    /// [`NetError`]; a part may have been done. It is tried again at the next [`Kernel::refresh`].
    fn configure(&mut self, state: Option<&State>, proxies: &[IpAddr]) -> Result<(), NetError>;

    /// Looks for devices and addresses that came and went.
    ///
    /// # Errors
    /// [`NetError`].
    fn refresh(&mut self) -> Result<(), NetError>;

    /// Packets by what became of them.
    fn packets(&self) -> Vec<(&'static str, u64)>;
}

/// A kernel that cannot steer: proxies get no socket and bind their own ports.
#[derive(Debug)]
pub struct NoKernel(pub String);

impl Kernel for NoKernel {
    fn make(&mut self) -> Result<Listening, SocketError> {
        Err(SocketError::Unsupported(self.0.clone()))
    }

    fn steer(&mut self, _: &[&Listening]) -> Result<(), NetError> {
        Ok(())
    }

    fn configure(&mut self, _: Option<&State>, _: &[IpAddr]) -> Result<(), NetError> {
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn packets(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// The kernel of this node, in the network namespace of the thread that made this.
pub struct NodeKernel {
    steering: Steering,
    node: String,
    state: Option<State>,
    proxies: Vec<IpAddr>,
    /// Devices of the pods of proxies, as long as they are there: whatever a proxy says later.
    confined: BTreeSet<u32>,
    /// Whether somebody accepts; only then is a listener in force. `None`: not known yet, and what an
    /// earlier agent left stays as it is.
    served: Option<bool>,
    applied: Option<Applied>,
    /// Pods reach each other past the stack.
    redirect: bool,
    /// Those that do so now. `None`: not known yet.
    pods: Option<BTreeMap<Ipv4Addr, u32>>,
    refused: BTreeSet<String>,
}

/// What the kernel was told last.
#[derive(Debug, PartialEq)]
struct Applied {
    wanted: listeners::Wanted,
    local: Vec<IpAddr>,
    announced: BTreeSet<IpAddr>,
    confined: BTreeSet<u32>,
}

impl NodeKernel {
    /// For the Node of that name. Loads the programs in the place of what an earlier agent left, which
    /// steers until then. With `redirect`, pods of Penstock reach each other past the stack.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn start(pins: &Path, node: &str, redirect: bool) -> Result<Self, NetError> {
        let mut steering = Steering::load(pins)?;
        routes::install()?;
        steering.replace()?;
        let mut kernel = Self {
            steering,
            node: node.into(),
            state: None,
            proxies: Vec::new(),
            confined: BTreeSet::new(),
            served: None,
            applied: None,
            redirect,
            pods: None,
            refused: BTreeSet::new(),
        };
        kernel.look()?;
        Ok(kernel)
    }

    /// Puts the program on every device that carries Ethernet frames: uplinks for clients outside,
    /// the host's side of pods' devices for pods, `lo` for processes of the node.
    fn attach(&mut self, there: &[Device]) -> Result<(), NetError> {
        let attached = self.steering.attached();
        for device in there.iter().filter(|device| device.ethernet && device.up) {
            if attached.contains(&device.index) {
                continue;
            }
            match self.steering.attach(&device.name) {
                Ok(hook) => tracing::info!(device = device.name, ?hook, "steers"),
                // It may be gone by now; and one that cannot be used must not stop the others.
                Err(error) if self.refused.insert(device.name.clone()) => {
                    tracing::warn!(device = device.name, "does not steer: {error}");
                }
                Err(_) => {}
            }
        }
        for index in attached.iter().filter(|index| there.iter().all(|d| d.index != **index)) {
            self.steering.detach(*index)?;
        }
        self.confined.retain(|index| there.iter().any(|device| device.index == *index));
        self.refused.retain(|name| there.iter().any(|device| device.name == *name));
        Ok(())
    }

    /// Looks at the devices: programs come first, since of a connection both directions pass them.
    fn look(&mut self) -> Result<(), NetError> {
        let there = devices()?;
        self.attach(&there)?;
        let pods = match self.redirect {
            true => neighbours::pods(&there, &self.steering.attached()),
            false => BTreeMap::new(),
        };
        if self.pods.as_ref() != Some(&pods) {
            self.pods = None;
            let changes = self.steering.set_pods(&pods)?;
            tracing::debug!(?changes, "pods reach each other past the stack");
            self.pods = Some(pods);
        }
        Ok(())
    }

    /// Notes the devices of the pods at these addresses: what comes from them does not reach the metadata
    /// of the instance. A device that is not the pod's alone stays out of it, since others may.
    fn confine(&mut self, proxies: &[IpAddr]) -> Result<(), NetError> {
        let there = devices()?;
        for proxy in proxies.iter().filter(|proxy| !self.proxies.contains(proxy)) {
            let index = routes::device_towards(*proxy)?;
            let device = there.iter().find(|device| Some(device.index) == index);
            match device.filter(|device| OF_ONE_POD.contains(&device.kind.as_str())) {
                Some(device) => _ = self.confined.insert(device.index),
                None => tracing::warn!(
                    %proxy,
                    device = device.map_or("none", |device| device.name.as_str()),
                    "this proxy has no device of its own on the node: whether it reaches the metadata of \
                     the instance is up to the hop limit (HttpPutResponseHopLimit=1)"
                ),
            }
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), NetError> {
        let (wanted, announced) = match (self.served, &self.state) {
            (None, _) | (Some(true), None) => return Ok(()),
            (Some(false), _) => Default::default(),
            (Some(true), Some(state)) => {
                (listeners::wanted(state, &self.proxies), listeners::announced(state, &self.node))
            }
        };
        let local = listeners::local(&addresses()?, &wanted.addresses);
        let next = Applied { wanted, local, announced, confined: self.confined.clone() };
        if self.applied.as_ref() == Some(&next) {
            return Ok(());
        }
        self.applied = None;
        let hosts = listeners::host_routes(&next.wanted.addresses, &next.local);
        let hosts: Vec<_> = hosts.into_iter().collect();
        let dialled: Vec<_> = next.wanted.addresses.iter().copied().collect();
        let confined: Vec<_> = next.confined.iter().copied().collect();
        nat::install(&dialled, &confined)?;
        self.steering.set_local(&next.local)?;
        self.steering.set_listeners(&next.wanted.listeners)?;
        routes::set_host(&hosts)?;
        // Last: whoever is told comes at once.
        let announced = announce(&next.announced)?;
        for address in &announced.added {
            tracing::info!(%address, "this node answers for the address");
        }
        for address in &announced.removed {
            tracing::info!(%address, "this node no longer answers for the address");
        }
        if let Some(error) = announced.untold {
            tracing::warn!("neighbours find out late where an address is (CAP_NET_RAW): {error}");
        }
        self.applied = Some(next);
        Ok(())
    }
}

impl Kernel for NodeKernel {
    fn make(&mut self) -> Result<Listening, SocketError> {
        Listening::make()
    }

    fn steer(&mut self, sockets: &[&Listening]) -> Result<(), NetError> {
        if !sockets.is_empty() {
            let fds: Vec<_> = sockets.iter().map(|socket| socket.fd()).collect();
            self.steering.set_workers(&fds)?;
        }
        self.served = Some(!sockets.is_empty());
        self.apply()
    }

    fn configure(&mut self, state: Option<&State>, proxies: &[IpAddr]) -> Result<(), NetError> {
        self.confine(proxies)?;
        self.state = state.cloned();
        self.proxies = proxies.to_vec();
        self.apply()
    }

    fn refresh(&mut self) -> Result<(), NetError> {
        self.look()?;
        self.apply()
    }

    fn packets(&self) -> Vec<(&'static str, u64)> {
        let counters = self.steering.counters().ok();
        let counters = counters.iter().flat_map(|counters| counters.iter());
        counters.map(|(reason, count)| (reason.name(), count)).collect()
    }
}

impl std::fmt::Debug for NodeKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKernel").field("applied", &self.applied).finish_non_exhaustive()
    }
}
