//! How each kind is watched.

use super::follow::{Follow, follow};
use crate::engine::Inbox;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, core::ApiResource, core::DeserializeGuard};
use penstock_resources::{
    GatewayConfig, Kind, LoadBalancerPool, Object, ObjectId, WasmFilter,
    gateway_api::{Gateway, GatewayClass, HttpRoute, ReferenceGrant},
};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Secrets that hold no certificate: the largest and the most of them are of these types.
const SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,\
                       type!=bootstrap.kubernetes.io/token";
/// One of these is in each namespace.
const CONFIG_MAPS: &str = "metadata.name!=kube-root-ca.crt";

/// The plural of a kind, as it stands in paths of the API and in RBAC rules.
pub fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::GatewayClass => "gatewayclasses",
        Kind::Gateway => "gateways",
        Kind::HttpRoute => "httproutes",
        Kind::ReferenceGrant => "referencegrants",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::Namespace => "namespaces",
        Kind::WasmFilter => "wasmfilters",
        Kind::GatewayConfig => "gatewayconfigs",
        Kind::LoadBalancerPool => "loadbalancerpools",
    }
}

/// Where the objects of a kind are at the API server.
pub fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.versions()[0].to_owned(),
        api_version: kind.api_version(),
        kind: kind.name().to_owned(),
        plural: plural(kind).to_owned(),
    }
}

/// Watches one kind; never ends.
pub(super) async fn watch_kind(client: Client, kind: Kind, inbox: Inbox) {
    let mut follow = Follow { kind, fields: None, inbox };
    match kind {
        Kind::GatewayClass => guarded::<GatewayClass>(client, Object::GatewayClass, follow).await,
        Kind::Gateway => guarded::<Gateway>(client, Object::Gateway, follow).await,
        Kind::HttpRoute => guarded::<HttpRoute>(client, Object::HttpRoute, follow).await,
        Kind::ReferenceGrant => {
            guarded::<ReferenceGrant>(client, Object::ReferenceGrant, follow).await;
        }
        Kind::WasmFilter => guarded::<WasmFilter>(client, Object::WasmFilter, follow).await,
        Kind::GatewayConfig => {
            guarded::<GatewayConfig>(client, Object::GatewayConfig, follow).await;
        }
        Kind::LoadBalancerPool => {
            guarded::<LoadBalancerPool>(client, Object::LoadBalancerPool, follow).await;
        }
        Kind::Service => typed::<Service>(client, Object::Service, follow).await,
        Kind::EndpointSlice => typed::<EndpointSlice>(client, Object::EndpointSlice, follow).await,
        Kind::Namespace => typed::<Namespace>(client, Object::Namespace, follow).await,
        Kind::Secret => {
            follow.fields = Some(SECRETS);
            typed::<Secret>(client, Object::Secret, follow).await;
        }
        Kind::ConfigMap => {
            follow.fields = Some(CONFIG_MAPS);
            typed::<ConfigMap>(client, Object::ConfigMap, follow).await;
        }
    }
}

/// A kind whose form the API server guarantees.
async fn typed<K>(client: Client, wrap: fn(Box<K>) -> Object, how: Follow)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    follow(Api::<K>::all(client), how, |object| Ok(wrap(Box::new(object)))).await;
}

/// A kind whose definition may be of another release than the types here: an object that cannot be
/// read must not stop the others.
async fn guarded<K>(client: Client, wrap: fn(Box<K>) -> Object, how: Follow)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let kind = how.kind;
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Ok(wrap(Box::new(object))),
        Err(invalid) => {
            let id = ObjectId {
                kind,
                namespace: invalid.metadata.namespace.clone().unwrap_or_default(),
                name: invalid.metadata.name.clone().unwrap_or_default(),
            };
            tracing::warn!(object = %id, error = invalid.error,
                "this object is of a form that is not known here, and is left alone; install the \
                 definitions of the release that this operator is for");
            Err(id)
        }
    };
    follow(Api::<DeserializeGuard<K>>::all(client), how, read).await;
}
