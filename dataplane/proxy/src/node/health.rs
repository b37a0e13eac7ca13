//! Health of a proxy whose connections come in by sockets from the agent.

use super::Handover;
use crate::Proxy;
use penstock_telemetry::{PageFormat, admin::AdminSource};
use std::sync::Arc;

/// What the port shows: the proxy, and whether it can be reached.
#[derive(Debug)]
pub struct Health {
    proxy: Arc<Proxy>,
    handover: Option<Arc<Handover>>,
}

impl Health {
    /// Of a proxy, and of its conversation with the agent where it has one.
    pub fn new(proxy: Arc<Proxy>, handover: Option<Arc<Handover>>) -> Self {
        Self { proxy, handover }
    }
}

impl AdminSource for Health {
    fn live(&self) -> Result<(), String> {
        self.proxy.live()
    }

    /// Ready without sockets, a proxy would have its predecessor ended, which alone may hold them while
    /// the agent is replaced too.
    fn ready(&self) -> Result<(), String> {
        self.proxy.ready()?;
        match self.handover.as_ref().is_none_or(|handover| handover.serves()) {
            true => Ok(()),
            false => {
                Err("the agent of this node has not given the listening sockets yet; its log \
                          says why, where it runs"
                    .into())
            }
        }
    }

    fn metrics(&self, format: PageFormat) -> String {
        AdminSource::metrics(&*self.proxy, format)
    }

    fn config(&self) -> serde_json::Value {
        self.proxy.config()
    }
}
