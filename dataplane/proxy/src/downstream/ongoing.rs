//! One request from its head to the end of its answer.

use super::Connection;
use crate::{
    filters::Exchange,
    reason::Reason,
    snapshot::RouteRule,
    telemetry::{RequestEnd, RequestRecord},
    upstream::{BodyProgress, Lease},
};
use std::rc::Rc;

/// One request from its head to the end of its answer. Dropping it ends it: it is counted, its
/// connection to the endpoint is given back, whatever happened.
#[derive(Debug)]
pub struct Ongoing {
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// The message and its way through the steps.
    pub exchange: Exchange,
    /// What became of the request's body, where it has one.
    pub progress: Option<Rc<BodyProgress>>,
    /// Status sent to the client; 0 before one was.
    pub status: u16,
    /// Bytes of the answer's body that were handed on.
    pub bytes: u64,
    /// Why the gateway made the answer itself, or the exchange broke off.
    pub error: Option<Reason>,
    /// The connection to the endpoint.
    pub lease: Option<Lease>,
}

impl Ongoing {
    /// The rule that matched.
    pub fn rule(&self) -> Option<&RouteRule> {
        self.exchange.rule()
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let exchange = &mut self.exchange;
        let silent = RequestRecord::silent(exchange.record.started());
        let mut record = std::mem::replace(&mut exchange.record, silent);
        if !exchange.attributes.is_empty() {
            let attributes = std::mem::take(&mut exchange.attributes);
            record.note(|detail| detail.attributes = attributes);
        }
        let end = RequestEnd {
            status: self.status,
            request_bytes: self.progress.as_ref().map_or(0, |progress| progress.bytes.get()),
            response_bytes: self.bytes,
            error: self.error.map(Reason::as_str),
        };
        let cells = exchange.rule().map(|rule| &*rule.cells);
        self.connection.worker.telemetry.finish(record, cells, end);
        self.connection.state.end();
    }
}
