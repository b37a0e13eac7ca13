//! Writing a status into one that others write to as well.
//!
//! A status is read, merged and written. What other controllers wrote keeps its place and its
//! content; a condition keeps its time while its `status` does not change; `observedGeneration`
//! never goes down; nothing is written when nothing changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use penstock_resources::conditions::{CONTROLLER_NAME, types};
use penstock_resources::gateway_api::gatewayclasses::GatewayClassStatus;
use penstock_resources::gateway_api::gateways::GatewayStatus;
use penstock_resources::gateway_api::httproutes::HttpRouteStatus;
use penstock_resources::load_balancer_pool::LoadBalancerPoolStatus;
use penstock_resources::wasm_filter::WasmFilterStatus;

/// The condition types that Penstock writes: one of them that is no longer wanted is removed, any
/// other belongs to somebody else and stays.
const OURS: [&str; 8] = [
    types::ACCEPTED,
    types::PROGRAMMED,
    types::RESOLVED_REFS,
    types::CONFLICTED,
    types::OVERLAPPING_TLS_CONFIG,
    types::PARTIALLY_INVALID,
    types::SUPPORTED_VERSION,
    types::INSECURE_FRONTEND_VALIDATION_MODE,
];

/// The conditions to write, given those that are there.
pub fn conditions(existing: &[Condition], wanted: &[Condition], now: &Time) -> Vec<Condition> {
    let wanted_of = |type_: &str| wanted.iter().find(|c| c.type_ == type_);
    let mut merged: Vec<Condition> = existing
        .iter()
        .filter(|old| wanted_of(&old.type_).is_some() || !OURS.contains(&old.type_.as_str()))
        .map(|old| wanted_of(&old.type_).map_or_else(|| old.clone(), |new| update(old, new, now)))
        .collect();
    let added = wanted.iter().filter(|c| !existing.iter().any(|old| old.type_ == c.type_));
    merged.extend(added.map(|c| Condition { last_transition_time: now.clone(), ..c.clone() }));
    merged
}

/// The status of a GatewayClass to write, or `None` when it is as wanted.
pub fn gateway_class(
    existing: Option<&GatewayClassStatus>,
    wanted: &GatewayClassStatus,
    now: &Time,
) -> Option<GatewayClassStatus> {
    let old = existing.cloned().unwrap_or_default();
    let merged = GatewayClassStatus {
        conditions: optional(old.conditions.as_deref(), wanted.conditions.as_deref(), now),
        supported_features: wanted.supported_features.clone(),
    };
    (existing != Some(&merged)).then_some(merged)
}

/// The status of a Gateway to write, or `None` when it is as wanted.
pub fn gateway(
    existing: Option<&GatewayStatus>,
    wanted: &GatewayStatus,
    now: &Time,
) -> Option<GatewayStatus> {
    let old = existing.cloned().unwrap_or_default();
    let mut merged = wanted.clone();
    merged.conditions = optional(old.conditions.as_deref(), wanted.conditions.as_deref(), now);
    for listener in merged.listeners.iter_mut().flatten() {
        let before = old.listeners.iter().flatten().find(|l| l.name == listener.name);
        let before = before.map_or(&[][..], |l| &l.conditions);
        listener.conditions = conditions(before, &listener.conditions, now);
    }
    (existing != Some(&merged)).then_some(merged)
}

/// The status of an HTTPRoute to write, or `None` when it is as wanted. Entries of other
/// controllers stay where they are, ours for a parent that is gone are removed.
pub fn http_route(
    existing: Option<&HttpRouteStatus>,
    wanted: &HttpRouteStatus,
    now: &Time,
) -> Option<HttpRouteStatus> {
    let old = existing.cloned().unwrap_or_default();
    let mut left: Vec<_> = wanted.parents.iter().collect();
    let mut parents = Vec::new();
    for entry in old.parents {
        if entry.controller_name != CONTROLLER_NAME {
            parents.push(entry);
        } else if let Some(at) = left.iter().position(|w| w.parent_ref == entry.parent_ref) {
            let new = left.remove(at);
            let conditions = conditions(&entry.conditions, &new.conditions, now);
            parents.push({
                let mut entry = entry;
                entry.conditions = conditions;
                entry
            });
        }
    }
    parents.extend(left.into_iter().map(|new| {
        let mut entry = new.clone();
        entry.conditions = conditions(&[], &new.conditions, now);
        entry
    }));
    let merged = HttpRouteStatus { parents };
    // A route that names none of our Gateways has no status to write.
    let before = existing.cloned().unwrap_or_default();
    (before != merged).then_some(merged)
}

/// The status of a WasmFilter to write, or `None` when it is as wanted.
pub fn wasm_filter(
    existing: Option<&WasmFilterStatus>,
    wanted: &WasmFilterStatus,
    now: &Time,
) -> Option<WasmFilterStatus> {
    let before = existing.map_or(&[][..], |s| &s.conditions);
    let merged = WasmFilterStatus {
        conditions: conditions(before, &wanted.conditions, now),
        ..wanted.clone()
    };
    (existing != Some(&merged)).then_some(merged)
}

/// The status of a LoadBalancerPool to write, or `None` when it is as wanted.
pub fn load_balancer_pool(
    existing: Option<&LoadBalancerPoolStatus>,
    wanted: &LoadBalancerPoolStatus,
    now: &Time,
) -> Option<LoadBalancerPoolStatus> {
    let before = existing.map_or(&[][..], |s| &s.conditions);
    let merged = LoadBalancerPoolStatus {
        conditions: conditions(before, &wanted.conditions, now),
        ..wanted.clone()
    };
    (existing != Some(&merged)).then_some(merged)
}

fn update(old: &Condition, new: &Condition, now: &Time) -> Condition {
    let same = old.status == new.status;
    Condition {
        last_transition_time: if same { old.last_transition_time.clone() } else { now.clone() },
        observed_generation: old.observed_generation.max(new.observed_generation),
        ..new.clone()
    }
}

fn optional(
    existing: Option<&[Condition]>,
    wanted: Option<&[Condition]>,
    now: &Time,
) -> Option<Vec<Condition>> {
    let merged = conditions(existing.unwrap_or_default(), wanted.unwrap_or_default(), now);
    (!merged.is_empty()).then_some(merged)
}
