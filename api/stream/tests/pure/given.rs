//! What the tests begin with.

use penstock_config::{Backend, Endpoint, Endpoints, ResourceKind, State};
use penstock_stream::{
    Identity, Published, Role,
    wire::{Answer, Hello},
};
use std::sync::Arc;

pub(crate) fn backend(name: &str) -> ResourceKind {
    ResourceKind::Backend(Backend { name: name.into(), protocol: 0 })
}

pub(crate) fn endpoints(name: &str, port: u32) -> ResourceKind {
    let endpoint = Endpoint { host: "10.0.0.1".into(), port };
    ResourceKind::Endpoints(Endpoints { backend: name.into(), endpoints: vec![endpoint] })
}

/// A configuration with a backend and its endpoints for each port that is not 0.
pub(crate) fn state(ports: &[u32]) -> State {
    let used = ports.iter().enumerate().filter(|(_, port)| **port != 0);
    used.flat_map(|(i, port)| {
        [backend(&format!("n/b{i}:80")), endpoints(&format!("n/b{i}:80"), *port)]
    })
    .collect()
}

pub(crate) fn published(ports: &[u32]) -> Arc<Published> {
    Arc::new(Published::new(Role::Proxy, &Arc::new(state(ports))))
}

pub(crate) fn identity(pod: &str) -> Identity {
    Identity {
        node: "node-1".into(),
        pod: pod.into(),
        service_account: "penstock-system/penstock-proxy".into(),
        role: Role::Proxy,
    }
}

pub(crate) fn hello(pod: &str) -> Hello {
    Hello { node: "node-1".into(), pod: pod.into(), role: 1, ..Hello::default() }
}

pub(crate) fn answer(nonce: u64, to: &Published) -> Answer {
    Answer { nonce, version: to.version.0.to_vec(), refused: Vec::new() }
}
