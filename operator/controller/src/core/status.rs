//! A status of any kind, as a value.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use penstock_gateway::{Name, Statuses, merge};
use penstock_resources::{
    Kind, Object, ObjectId,
    gateway_api::{
        gatewayclasses::GatewayClassStatus, gateways::GatewayStatus, httproutes::HttpRouteStatus,
    },
    load_balancer_pool::LoadBalancerPoolStatus,
    wasm_filter::WasmFilterStatus,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The status of an object.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is named like the kind it belongs to")]
pub enum Status {
    GatewayClass(Box<GatewayClassStatus>),
    Gateway(Box<GatewayStatus>),
    HttpRoute(Box<HttpRouteStatus>),
    WasmFilter(Box<WasmFilterStatus>),
    LoadBalancerPool(Box<LoadBalancerPoolStatus>),
}

/// What the API server has of an object that carries a status of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// `metadata.uid`: another one is another object.
    pub uid: String,
    /// `metadata.resourceVersion`: a write that names it fails when somebody else was faster.
    pub resource_version: String,
    /// The status.
    pub status: Option<Status>,
}

impl Status {
    /// The status to write, or `None` when what is there is as wanted.
    pub fn merge(existing: Option<&Status>, wanted: &Status, now: &Time) -> Option<Status> {
        Some(match (existing, wanted) {
            (Some(Status::GatewayClass(old)), Status::GatewayClass(new)) => {
                Status::GatewayClass(Box::new(merge::gateway_class(Some(old), new, now)?))
            }
            (_, Status::GatewayClass(new)) => {
                Status::GatewayClass(Box::new(merge::gateway_class(None, new, now)?))
            }
            (Some(Status::Gateway(old)), Status::Gateway(new)) => {
                Status::Gateway(Box::new(merge::gateway(Some(old), new, now)?))
            }
            (_, Status::Gateway(new)) => Status::Gateway(Box::new(merge::gateway(None, new, now)?)),
            (Some(Status::HttpRoute(old)), Status::HttpRoute(new)) => {
                Status::HttpRoute(Box::new(merge::http_route(Some(old), new, now)?))
            }
            (_, Status::HttpRoute(new)) => {
                Status::HttpRoute(Box::new(merge::http_route(None, new, now)?))
            }
            (Some(Status::WasmFilter(old)), Status::WasmFilter(new)) => {
                Status::WasmFilter(Box::new(merge::wasm_filter(Some(old), new, now)?))
            }
            (_, Status::WasmFilter(new)) => {
                Status::WasmFilter(Box::new(merge::wasm_filter(None, new, now)?))
            }
            (Some(Status::LoadBalancerPool(old)), Status::LoadBalancerPool(new)) => {
                Status::LoadBalancerPool(Box::new(merge::load_balancer_pool(Some(old), new, now)?))
            }
            (_, Status::LoadBalancerPool(new)) => {
                Status::LoadBalancerPool(Box::new(merge::load_balancer_pool(None, new, now)?))
            }
        })
    }

    /// As it stands in the object.
    ///
    /// # Errors
    /// None that a value of these types can cause; what serde says.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        match self {
            Status::GatewayClass(status) => serde_json::to_value(status),
            Status::Gateway(status) => serde_json::to_value(status),
            Status::HttpRoute(status) => serde_json::to_value(status),
            Status::WasmFilter(status) => serde_json::to_value(status),
            Status::LoadBalancerPool(status) => serde_json::to_value(status),
        }
    }

    /// Takes the status out of an object. The outer `None`: objects of the kind carry no status of
    /// ours.
    pub(crate) fn take(object: &mut Object) -> Option<Option<Status>> {
        Some(match object {
            Object::GatewayClass(o) => o.status.take().map(|s| Status::GatewayClass(Box::new(s))),
            Object::Gateway(o) => {
                let status = o.status.clone();
                // Whoever gives addresses remembers by them what was given.
                if let Some(kept) = &mut o.status {
                    kept.conditions = None;
                    kept.listeners = None;
                }
                status.map(|s| Status::Gateway(Box::new(s)))
            }
            Object::HttpRoute(o) => o.status.take().map(|s| Status::HttpRoute(Box::new(s))),
            Object::WasmFilter(o) => o.status.take().map(|s| Status::WasmFilter(Box::new(s))),
            Object::LoadBalancerPool(o) => {
                o.status.take().map(|s| Status::LoadBalancerPool(Box::new(s)))
            }
            _ => return None,
        })
    }

    /// What statuses say of an object.
    pub(crate) fn wanted(statuses: &Statuses, id: &ObjectId) -> Option<Status> {
        let name = || Name::new(&id.namespace, &id.name);
        Some(match id.kind {
            Kind::GatewayClass => {
                Status::GatewayClass(Box::new(statuses.gateway_classes.get(&id.name)?.clone()))
            }
            Kind::Gateway => Status::Gateway(Box::new(statuses.gateways.get(&name())?.clone())),
            Kind::HttpRoute => {
                Status::HttpRoute(Box::new(statuses.http_routes.get(&name())?.clone()))
            }
            Kind::WasmFilter => {
                Status::WasmFilter(Box::new(statuses.wasm_filters.get(&name())?.clone()))
            }
            Kind::LoadBalancerPool => {
                let status = statuses.load_balancer_pools.get(&id.name)?.clone();
                Status::LoadBalancerPool(Box::new(status))
            }
            _ => return None,
        })
    }

    /// The conditions of each part of the object.
    pub(crate) fn conditions(&self) -> Vec<&[Condition]> {
        match self {
            Status::GatewayClass(s) => s.conditions.as_deref().into_iter().collect(),
            Status::Gateway(s) => {
                let listeners = s.listeners.iter().flatten().map(|l| &*l.conditions);
                s.conditions.as_deref().into_iter().chain(listeners).collect()
            }
            Status::HttpRoute(s) => s.parents.iter().map(|p| &*p.conditions).collect(),
            Status::WasmFilter(s) => vec![&s.conditions],
            Status::LoadBalancerPool(s) => vec![&s.conditions],
        }
    }
}

/// The objects of which two statuses say different things, in the new one.
pub(crate) fn changed(old: &Statuses, new: &Statuses) -> Vec<ObjectId> {
    let cluster =
        |kind, name: &String| ObjectId { kind, namespace: String::new(), name: name.clone() };
    let namespaced = |kind, name: &Name| ObjectId {
        kind,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    let mut ids = Vec::new();
    let classes = differing(&old.gateway_classes, &new.gateway_classes);
    ids.extend(classes.map(|name| cluster(Kind::GatewayClass, name)));
    let pools = differing(&old.load_balancer_pools, &new.load_balancer_pools);
    ids.extend(pools.map(|name| cluster(Kind::LoadBalancerPool, name)));
    let filters = differing(&old.wasm_filters, &new.wasm_filters);
    ids.extend(filters.map(|name| namespaced(Kind::WasmFilter, name)));
    let gateways = differing(&old.gateways, &new.gateways);
    ids.extend(gateways.map(|name| namespaced(Kind::Gateway, name)));
    let routes = old.http_routes.differences(&new.http_routes, PartialEq::eq);
    let said = routes.into_iter().filter(|route| route.new.is_some());
    ids.extend(said.map(|route| namespaced(Kind::HttpRoute, route.key)));
    ids
}

fn differing<'a, K: Ord, S: PartialEq>(
    old: &'a BTreeMap<K, S>,
    new: &'a BTreeMap<K, S>,
) -> impl Iterator<Item = &'a K> {
    new.iter().filter(|(key, status)| old.get(*key) != Some(*status)).map(|(key, _)| key)
}

/// What a JSON merge patch (RFC 7396) has to say to lead from one value to another: what is gone is
/// null, what is equal is not there.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, new) in to {
        match from.get(key) {
            Some(old) if old == new => {}
            Some(old @ Value::Object(_)) if new.is_object() => {
                patch.insert(key.clone(), merge_patch(old, new));
            }
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_names_what_changed_and_what_is_gone_rfc_7396() {
        let cases = [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), json!({"b": 3})),
            (json!({"a": 1}), json!({}), json!({"a": null})),
            (
                json!({"plan": {"tier": "call", "reads": ["x"]}, "digest": "d"}),
                json!({"plan": {"tier": "memo"}, "digest": "d"}),
                json!({"plan": {"tier": "memo", "reads": null}}),
            ),
            (json!({"l": [1, 2]}), json!({"l": [2]}), json!({"l": [2]})),
            (json!({}), json!({}), json!({})),
        ];
        for (from, to, patch) in cases {
            assert_eq!(merge_patch(&from, &to), patch, "{from} -> {to}");
        }
    }
}
