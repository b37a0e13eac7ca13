//! From the operator's stream to the proxy.

use super::Handover;
use crate::{Ack, Proxy};
use penstock_config::Delta;
use penstock_stream::{Applied, Apply, Refused};
use std::sync::Arc;

/// Applies changes to a proxy, and has the agent told once there is something to serve.
#[derive(Debug)]
pub struct Serve {
    proxy: Arc<Proxy>,
    handover: Option<Arc<Handover>>,
}

impl Serve {
    /// For a proxy, and its conversation with the agent where it has one.
    pub fn new(proxy: Arc<Proxy>, handover: Option<Arc<Handover>>) -> Self {
        Self { proxy, handover }
    }
}

impl Apply for Serve {
    fn apply(&mut self, delta: &Delta) -> Applied {
        let Ack { version, refused, kept } = self.proxy.apply(delta);
        if let Some(handover) = &self.handover {
            handover.configured();
        }
        let refused = refused.into_iter().map(|r| {
            let serves_on = kept.contains(&r.key);
            let refused = Refused::new(r.key, r.reason, r.message);
            if serves_on { refused.kept() } else { refused }
        });
        Applied { version, refused: refused.collect() }
    }
}
