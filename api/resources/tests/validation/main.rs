//! What [`penstock_resources::validate`] refuses and accepts, as tables and as a property.

mod accepted;
mod core_kinds;
mod gateway;
mod http_route;
mod own_kinds;
mod support;
