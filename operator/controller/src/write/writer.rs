//! What every write needs.

use crate::{clock::Clock, core::WriteError, metrics::Metrics};
use kube::Client;
use penstock_resources::Kind;
use std::fmt;

/// What every write needs.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

impl Writer {
    /// Counts a write that failed, and says what it means.
    pub(super) fn failed(
        &self,
        kind: Kind,
        object: &dyn fmt::Display,
        error: &kube::Error,
    ) -> WriteError {
        if matches!(error, kube::Error::Api(status) if status.code == 404) {
            self.metrics.write(kind, "gone");
            return WriteError::Gone;
        }
        self.metrics.write(kind, "failed");
        tracing::warn!(%object, %error, "a write failed, and is tried again later");
        WriteError::Refused
    }
}
