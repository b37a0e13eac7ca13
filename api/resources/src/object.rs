//! Any object that Penstock reads, by its kind.

use std::fmt;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::gateway_api::{Gateway, GatewayClass, HttpRoute, ReferenceGrant};
use crate::kind::{Kind, ObjectError};
use crate::{GatewayConfig, LoadBalancerPool, WasmFilter, validate};

/// An object of a kind that Penstock reads.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is named like the kind it holds")]
pub enum Object {
    GatewayClass(Box<GatewayClass>),
    Gateway(Box<Gateway>),
    HttpRoute(Box<HttpRoute>),
    ReferenceGrant(Box<ReferenceGrant>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Secret(Box<Secret>),
    ConfigMap(Box<ConfigMap>),
    Namespace(Box<Namespace>),
    WasmFilter(Box<WasmFilter>),
    GatewayConfig(Box<GatewayConfig>),
    LoadBalancerPool(Box<LoadBalancerPool>),
}

/// What an object is, independent of its contents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for kinds that have none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Object {
    /// A typed object from a JSON value, by its `apiVersion` and `kind`, with the defaults that an
    /// API server fills in.
    ///
    /// Only the form that the types need is checked; [`validate::validate`] says everything that
    /// an API server would refuse.
    ///
    /// # Errors
    /// When the kind is not read by Penstock or a field has the wrong form.
    pub fn from_json(mut value: Value) -> Result<Object, ObjectError> {
        let kind = Kind::of(&value)?;
        validate::default(&mut value);
        Ok(match kind {
            Kind::GatewayClass => Object::GatewayClass(typed(kind, value)?),
            Kind::Gateway => Object::Gateway(typed(kind, value)?),
            Kind::HttpRoute => Object::HttpRoute(typed(kind, value)?),
            Kind::ReferenceGrant => Object::ReferenceGrant(typed(kind, value)?),
            Kind::Service => Object::Service(typed(kind, value)?),
            Kind::EndpointSlice => Object::EndpointSlice(typed(kind, value)?),
            Kind::Secret => Object::Secret(typed(kind, value)?),
            Kind::ConfigMap => Object::ConfigMap(typed(kind, value)?),
            Kind::Namespace => Object::Namespace(typed(kind, value)?),
            Kind::WasmFilter => Object::WasmFilter(typed(kind, value)?),
            Kind::GatewayConfig => Object::GatewayConfig(typed(kind, value)?),
            Kind::LoadBalancerPool => Object::LoadBalancerPool(typed(kind, value)?),
        })
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::GatewayClass(_) => Kind::GatewayClass,
            Object::Gateway(_) => Kind::Gateway,
            Object::HttpRoute(_) => Kind::HttpRoute,
            Object::ReferenceGrant(_) => Kind::ReferenceGrant,
            Object::Service(_) => Kind::Service,
            Object::EndpointSlice(_) => Kind::EndpointSlice,
            Object::Secret(_) => Kind::Secret,
            Object::ConfigMap(_) => Kind::ConfigMap,
            Object::Namespace(_) => Kind::Namespace,
            Object::WasmFilter(_) => Kind::WasmFilter,
            Object::GatewayConfig(_) => Kind::GatewayConfig,
            Object::LoadBalancerPool(_) => Kind::LoadBalancerPool,
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Object::GatewayClass(object) => &object.metadata,
            Object::Gateway(object) => &object.metadata,
            Object::HttpRoute(object) => &object.metadata,
            Object::ReferenceGrant(object) => &object.metadata,
            Object::Service(object) => &object.metadata,
            Object::EndpointSlice(object) => &object.metadata,
            Object::Secret(object) => &object.metadata,
            Object::ConfigMap(object) => &object.metadata,
            Object::Namespace(object) => &object.metadata,
            Object::WasmFilter(object) => &object.metadata,
            Object::GatewayConfig(object) => &object.metadata,
            Object::LoadBalancerPool(object) => &object.metadata,
        }
    }

    /// What the object is. The namespace is `default` where a namespaced object states none, and
    /// empty for the other kinds whatever they state.
    pub fn id(&self) -> ObjectId {
        let metadata = self.metadata();
        let namespace = if self.kind().namespaced() {
            metadata.namespace.clone().unwrap_or_else(|| "default".to_owned())
        } else {
            String::new()
        };
        let name = metadata.name.clone().unwrap_or_default();
        ObjectId { kind: self.kind(), namespace, name }
    }
}

fn typed<T: DeserializeOwned>(kind: Kind, mut value: Value) -> Result<Box<T>, ObjectError> {
    // The types know one version; those that are read have the same fields.
    value["apiVersion"] = Value::String(kind.api_version());
    serde_json::from_value(value).map(Box::new).map_err(|source| ObjectError::Form { kind, source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(namespace: Option<&str>) -> Value {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
            "metadata": {"name": "a", "namespace": namespace},
            "spec": {"module": {"file": {"path": "a.wasm"}}},
        })
    }

    #[test]
    fn an_object_is_read_by_api_version_and_kind() {
        let object = Object::from_json(filter(Some("n"))).unwrap();
        assert_eq!(object.id().to_string(), "WasmFilter n/a");
        let Object::WasmFilter(filter) = object else { panic!("{object:?}") };
        assert_eq!(filter.spec.memory_bytes(), Ok(16 << 20));
        assert_eq!(filter.spec.deadline(), Ok(std::time::Duration::from_millis(5)));
    }

    #[test]
    fn a_namespaced_object_without_namespace_is_in_default() {
        assert_eq!(Object::from_json(filter(None)).unwrap().id().namespace, "default");
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "GatewayClass",
            "metadata": {"name": "penstock"}, "spec": {"controllerName": "penstock.dev/c"},
        });
        let class = Object::from_json(class).unwrap();
        assert_eq!(class.id().to_string(), "GatewayClass penstock");
    }

    #[test]
    fn unknown_kinds_are_refused_with_the_known_ones() {
        let error = |api_version: &str, kind: &str| {
            Kind::of(&json!({"apiVersion": api_version, "kind": kind})).unwrap_err().to_string()
        };
        assert!(error("v1", "Pod").contains("HTTPRoute (gateway.networking.k8s.io/v1)"));
        assert!(error("v2", "Service").ends_with("write `apiVersion: v1`"));
        assert!(error("apps/v1", "Service").contains("not read by Penstock"));
        assert!(
            Kind::of(&json!({"kind": "Service"})).unwrap_err().to_string().contains("apiVersion")
        );
    }
}
