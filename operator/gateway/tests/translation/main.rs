//! Table tests of the translation, named after the points of the specification's checklist, and
//! properties of the translation as a whole.

mod backends;
mod fixture;
mod infrastructure;
mod infrastructure_names;
mod infrastructure_properties;
mod last_good;
mod listeners;
mod properties;
mod routes;
mod statuses;
mod tls;
mod translator;
mod wasm;
