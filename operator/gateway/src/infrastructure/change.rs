//! What has to be written so that the Services are as they should be.

use super::service::{CONTENT, GATEWAY_NAME, MANAGED_BY, has};
use crate::{Index, Name};
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;
use std::collections::BTreeMap;

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceChange {
    /// Metadata and `spec`, by server-side apply. `status` is left out.
    Apply(Box<Service>),
    /// `status.loadBalancer` of a Service that is there: its addresses come from pools.
    Status(Box<Service>),
    /// A Service of a Gateway that is gone.
    Delete(Name),
}

/// The writes that make the Services of an index as a translation wants them; none where they are.
///
/// To be used once every Gateway and Service that there is has been seen: the Service of a Gateway
/// that is not known is deleted, and its load balancer with it.
pub fn service_changes(index: &Index, wanted: &BTreeMap<Name, Service>) -> Vec<ServiceChange> {
    let mut changes = Vec::new();
    for (name, service) in wanted {
        let existing = index.services.get(name).map(Box::as_ref);
        if existing.is_none_or(|existing| !is_as(existing, service)) {
            let service = Service { status: None, ..service.clone() };
            changes.push(ServiceChange::Apply(Box::new(service)));
        }
        if let Some(existing) = existing
            && service.status.is_some()
            && load_balancer(existing) != load_balancer(service)
        {
            changes.push(ServiceChange::Status(Box::new(service.clone())));
        }
    }
    let namespace = &index.settings().namespace;
    let ours = index.services.range(Name::new(namespace, "")..);
    let ours = ours.take_while(|(name, _)| name.namespace == *namespace);
    let gone = ours.filter(|(name, service)| is_ours(service) && !wanted.contains_key(*name));
    changes.extend(gone.map(|(name, _)| ServiceChange::Delete(name.clone())));
    changes
}

fn is_ours(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    has(labels, MANAGED_BY) && labels.is_some_and(|labels| labels.contains_key(GATEWAY_NAME))
}

/// Whether a Service was written with this content, and nobody has changed it since.
fn is_as(existing: &Service, wanted: &Service) -> bool {
    let content = |service: &Service| service.metadata.annotations.as_ref()?.get(CONTENT).cloned();
    let selector = |service: &Service| service.spec.as_ref()?.selector.clone();
    let parts = |service: &Service| {
        let metadata = &service.metadata;
        serde_json::json!([service.spec, metadata.labels, metadata.annotations])
    };
    content(existing) == content(wanted)
        && selector(existing) == selector(wanted)
        && covers(&parts(existing), &parts(wanted))
}

/// Whether everything that is wanted is there; the API server adds fields of its own.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| there.get(key).is_some_and(|found| covers(found, value))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(t, w)| covers(t, w))
        }
        (there, wanted) => there == wanted,
    }
}

/// The addresses in `status`.
fn load_balancer(service: &Service) -> Value {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    serde_json::json!(status.and_then(|status| status.ingress.as_ref()))
}
