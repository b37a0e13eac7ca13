//! Health and metrics.

use crate::{engine::Publisher, metrics::Metrics, trust::Trust};
use penstock_resources::Kind;
use penstock_telemetry::{
    PageFormat,
    admin::{AdminSource, dump},
};
use tokio::sync::watch;

/// What the port shows.
pub(crate) struct Health {
    pub(crate) metrics: Metrics,
    /// Kinds whose lists are not complete.
    pub(crate) waiting_for: watch::Receiver<Vec<Kind>>,
    pub(crate) trust: watch::Receiver<Option<Trust>>,
    pub(crate) publisher: Publisher,
}

impl AdminSource for Health {
    fn ready(&self) -> Result<(), String> {
        let waiting = self.waiting_for.borrow();
        if !waiting.is_empty() {
            let kinds: Vec<&str> = waiting.iter().map(|kind| kind.name()).collect();
            return Err(format!("waiting for the lists of {}", kinds.join(", ")));
        }
        if self.trust.borrow().is_none() {
            return Err("waiting for the Secret with the CA".into());
        }
        Ok(())
    }

    fn metrics(&self, format: PageFormat) -> String {
        let page = self.metrics.page().unwrap_or_default();
        match format {
            PageFormat::OpenMetrics => page,
            PageFormat::Prometheus => page.replace("# EOF\n", ""),
        }
    }

    fn config(&self) -> serde_json::Value {
        dump(&self.publisher.state(), std::iter::empty())
    }
}
