//! What is left of a request when it is over.

use super::context::RequestTrace;
use crate::telemetry::record::RequestDetail;

/// A request that is over, as its writers get it.
#[derive(Debug)]
pub struct Finished {
    /// What is known of it.
    pub(in super::super) detail: Box<RequestDetail>,
    /// Its trace, when tracing is on.
    pub(in super::super) trace: Option<Box<RequestTrace>>,
}
