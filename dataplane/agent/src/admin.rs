//! Health and metrics.

use crate::Status;
use parking_lot::Mutex;
use penstock_stream::Link;
use penstock_telemetry::{PageFormat, admin::AdminSource};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::ConstCounter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::sync::Arc;
use tokio::sync::watch;

/// What the port shows.
#[derive(Debug)]
pub struct Health {
    status: Arc<Mutex<Status>>,
    link: watch::Receiver<Link>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Health {
    /// Shows what keeper and stream say.
    pub fn new(status: Arc<Mutex<Status>>, link: watch::Receiver<Link>) -> Self {
        Self { status, link }
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
        registry.register("build", "Always one.", ConstCounter::new(1u64));
        let mut page = String::new();
        encode(&mut page, &registry)?;
        Ok(page)
    }
}

impl AdminSource for Health {
    fn ready(&self) -> Result<(), String> {
        match &self.link.borrow().version {
            Some(_) => Ok(()),
            None => Err("no configuration has come from the operator yet".into()),
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
