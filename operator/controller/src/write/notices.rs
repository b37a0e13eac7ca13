//! Events, for people who look at an object.

use crate::{core::Notice, watch::resource};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// The name under which events are reported.
const CONTROLLER: &str = "penstock.dev/gateway-controller";

/// Writes events.
pub(super) struct Notices(Recorder);

impl Notices {
    /// For a replica.
    pub(super) fn new(client: Client, me: String) -> Self {
        let reporter = Reporter { controller: CONTROLLER.into(), instance: Some(me) };
        Self(Recorder::new(client, reporter))
    }

    /// Tells people. An event that cannot be written is only logged: the status says the same.
    pub(super) async fn tell(&self, notice: Notice) {
        let Notice { id, uid, warning, reason, message } = notice;
        let kind = resource(id.kind);
        let reference = ObjectReference {
            api_version: Some(kind.api_version),
            kind: Some(kind.kind),
            namespace: Some(id.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(id.name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason,
            note: Some(message),
            action: "Translate".into(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &reference).await {
            tracing::debug!(object = %id, %error, "an event was not written");
        }
    }
}
