//! Health and metrics.

use crate::{Status, addresses::Counts};
use parking_lot::Mutex;
use penstock_stream::Link;
use penstock_telemetry::{PageFormat, admin::AdminSource};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::ConstCounter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::sync::Arc;
use tokio::sync::watch;

/// What the port shows.
#[derive(Debug)]
pub struct Health {
    status: Arc<Mutex<Status>>,
    link: watch::Receiver<Link>,
    addresses: Option<AddressHealth>,
}

/// What can be seen of addresses.
#[derive(Clone, Debug)]
pub struct AddressHealth {
    /// Counts.
    pub counts: watch::Receiver<Counts>,
    /// Whether kubelet's runtime was told to ask this agent.
    pub configured: watch::Receiver<bool>,
    /// From a request for an address to its answer.
    pub adds: Histogram,
    /// Whether what pods send out of the VPC gets the node's address.
    pub masquerade: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Health {
    /// Shows what keeper and stream say.
    pub fn new(status: Arc<Mutex<Status>>, link: watch::Receiver<Link>) -> Self {
        Self { status, link, addresses: None }
    }

    /// And what the clerk says.
    #[must_use]
    pub fn with_addresses(self, addresses: AddressHealth) -> Self {
        Self { addresses: Some(addresses), ..self }
    }

    fn page(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("penstock_agent");
        let status = self.status.lock().clone();
        let gauge = |value: usize| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge
        };
        let serving = status.proxies.values().filter(|serving| **serving).count();
        registry.register("proxies", "Proxies that serve on this node.", gauge(serving));
        registry.register("sockets", "Listening sockets.", gauge(status.sockets));
        let connected = usize::from(self.link.borrow().connected);
        registry.register("connected", "Whether the operator's stream is open.", gauge(connected));
        let fallback = usize::from(status.fallback.is_some());
        registry.register("fallback", "Whether nothing can be steered.", gauge(fallback));
        let packets = Family::<Reason, Gauge<i64>>::default();
        for (reason, count) in &status.packets {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            packets.get_or_create(&Reason { reason }).set(count);
        }
        registry.register(
            "packets",
            "Packets since the maps were made, by what became of them.",
            packets,
        );
        if let Some(addresses) = &self.addresses {
            addresses.register(&mut registry);
        }
        registry.register("build", "Always one.", ConstCounter::new(1u64));
        let mut page = String::new();
        encode(&mut page, &registry)?;
        Ok(page)
    }
}

impl AddressHealth {
    fn register(&self, registry: &mut Registry) {
        let counts = *self.counts.borrow();
        let states = Family::<State, Gauge<i64>>::default();
        let used = i64::try_from(counts.used).unwrap_or(i64::MAX);
        let waiting = i64::try_from(counts.waiting).unwrap_or(i64::MAX);
        let free = i64::from(counts.all).saturating_sub(used).max(0);
        for (state, count) in [("used", used), ("free", free), ("waiting", waiting)] {
            states.get_or_create(&State { state }).set(count);
        }
        registry.register("addresses", "Addresses of this node's pods.", states);
        let interfaces = Gauge::<i64>::default();
        interfaces.set(i64::try_from(counts.interfaces).unwrap_or(i64::MAX));
        registry.register("interfaces", "Interfaces that are set up for pods.", interfaces);
        let help = "From a plugin's request for an address to its answer.";
        registry.register("add_seconds", help, self.adds.clone());
        if self.masquerade {
            // A kernel that does not say how many has made none.
            let connections = penstock_net::egress::masqueraded().unwrap_or_default();
            registry.register(
                "masqueraded_connections",
                "Connections of pods that got the node's address, since its rules were made last.",
                ConstCounter::new(connections),
            );
        }
    }
}

impl AdminSource for Health {
    fn ready(&self) -> Result<(), String> {
        if self.link.borrow().version.is_none() {
            return Err("no configuration has come from the operator yet".into());
        }
        match &self.addresses {
            Some(addresses) if !*addresses.configured.borrow() => {
                Err("no interface with addresses for pods has come from the operator yet".into())
            }
            _ => Ok(()),
        }
    }

    fn metrics(&self, format: PageFormat) -> String {
        let page = self.page().unwrap_or_default();
        match format {
            PageFormat::OpenMetrics => page,
            PageFormat::Prometheus => page.replace("# EOF\n", ""),
        }
    }

    fn config(&self) -> serde_json::Value {
        let status = self.status.lock();
        serde_json::json!({
            "proxies": status.proxies,
            "sockets": status.sockets,
            "fallback": status.fallback,
            "trouble": status.trouble,
        })
    }
}
