//! The Gateway API kinds that Penstock reads, standard channel of v1.6.1.
//!
//! The decision record on Gateway API types says where these types come from.

pub use gateway_api::{gatewayclasses, gateways, httproutes, referencegrants};

pub use gateway_api::gatewayclasses::GatewayClass;
pub use gateway_api::gateways::Gateway;
pub use gateway_api::httproutes::HttpRoute;
pub use gateway_api::referencegrants::ReferenceGrant;

/// API group of the Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// The release whose schemas [`crate::validate`] applies.
pub const BUNDLE_VERSION: &str = "v1.6.1";
