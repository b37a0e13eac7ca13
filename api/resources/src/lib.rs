//! What users write: Gateway API v1.6.1 kinds and Penstock's own custom resources.
//!
//! An object arrives as a JSON value, from a file or from the API server.
//! [`validate::validate`] says what an API server would refuse, [`validate::default`] fills in
//! what it would fill in, and [`Object::from_json`] turns the value into a typed kind.
//! Nothing here does I/O or reads a clock.

pub mod conditions;
pub mod duration;
pub mod gateway_api;
pub mod gateway_config;
mod kind;
pub mod load_balancer_pool;
pub mod object;
pub mod penstock_node;
pub mod quantity;
pub mod validate;
pub mod wasm_filter;

mod schema_rules;

pub use gateway_config::GatewayConfig;
pub use kind::{KINDS, Kind, ObjectError};
pub use load_balancer_pool::LoadBalancerPool;
pub use object::{Object, ObjectId};
pub use penstock_node::PenstockNode;
pub use validate::Violation;
pub use wasm_filter::WasmFilter;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// API group of Penstock's own kinds.
pub const GROUP: &str = "penstock.dev";
/// API version of Penstock's own kinds.
pub const VERSION: &str = "v1alpha1";

/// The definitions of Penstock's own kinds, for the API server and for [`validate`].
pub fn definitions() -> [CustomResourceDefinition; 4] {
    [WasmFilter::crd(), GatewayConfig::crd(), LoadBalancerPool::crd(), PenstockNode::crd()]
}
