//! Pure translation: Gateway API resources to node configuration and statuses.
//!
//! [`Index`] holds the objects that users wrote, and what was found out about their modules.
//! [`translate`] makes from it the configuration for the nodes and the statuses for the users, and a
//! [`Translator`] the same again after each change.
//! [`Statuses::confirm`] adds what the nodes answered. [`merge`] writes a status into one that
//! others write to as well.
//!
//! Nothing here does I/O, waits or reads a clock: equal input gives equal output on every replica.
//! One object that is wrong never stops another: it gets a condition that names cause and remedy.

mod announcers;
mod backend;
mod condition;
mod dependency;
mod endpoints;
mod facts;
mod gateway;
mod gateway_class;
mod gateway_config;
mod hostname;
mod http_route;
mod index;
mod infrastructure;
mod label_selector;
mod last_good;
mod ledger;
mod listener_policy;
pub mod merge;
mod name;
mod reference_grant;
mod share;
mod status;
mod tls_policy;
mod translate;
mod wasm_filter;

pub use condition::problems;
pub use facts::{FilterFacts, FilterReason, PlanSummary};
pub use index::{Index, Mode, Settings};
pub use infrastructure::service_is_in_place;
pub use name::Name;
pub use status::{Confirmation, Statuses};
pub use translate::{Translation, Translator, translate};
pub use wasm_filter::filter_resource;
