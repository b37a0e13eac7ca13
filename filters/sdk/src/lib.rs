//! Write a Penstock policy as plain Rust functions.
//!
//! ```
//! use penstock_filter::prelude::*;
//!
//! /// Which header to greet in.
//! #[config]
//! pub struct Greeter {
//!     /// Name of the header to set.
//!     header: String,
//! }
//!
//! /// Greets the user that an earlier policy found.
//! #[header_policy]
//! impl Greeter {
//!     #[writes(&self.header)]
//!     fn request(&self, #[header("x-user")] user: &str) -> Edits {
//!         set(&self.header, format!("Hello {user}"))
//!     }
//! }
//!
//! // A policy is a value with functions: that is how it is tested.
//! let greeter: Greeter = from_json(r#"{ "header": "x-greeting" }"#).unwrap();
//! assert_eq!(greeter.request("Ada"), set("x-greeting", "Hello Ada"));
//! ```
//!
//! What the function takes is what it reads: the host gives it nothing else. `&str` means that the
//! policy has nothing to say where the value is absent (the host then does not call it at all),
//! `Option<&str>` that it wants to know. See [`header_policy`], [`path_policy`] and [`tls_policy`];
//! a policy whose inputs depend on its configuration implements [`HeaderPolicy`] or [`PathPolicy`]
//! itself.
//!
//! What the host may be asked for lives in [`log`], [`metrics`], [`trace`], [`clock`] and
//! [`random`]: calling a function of one makes the component import it, and the `WasmFilter` must
//! then grant it.

#[doc(hidden)]
pub mod bindings;
mod capabilities;
pub mod clock;
mod condition;
mod config;
mod decision;
mod header;
mod input;
pub mod log;
pub mod metrics;
mod module;
mod path;
pub mod plan;
pub mod random;
mod selector;
pub mod template;
pub mod tls;
pub mod trace;

pub use condition::{Condition, Guard, shared_conditions};
pub use config::{About, Problem, Problems, from_json};
pub use decision::{Decision, Edit, Edits, Fault, Field, IntoDecision, Response};
pub use decision::{append, remove, respond, set, set_attribute};
pub use header::HeaderPolicy;
pub use input::{FromInput, Inputs};
pub use module::Module;
pub use path::{
    IntoPathDecision, PathDecision, PathEdit, PathPolicy, Redirect, Rewrite, backend, redirect,
    rewrite,
};
pub use penstock_filter_macros::{config, header_policy, path_policy, tls_policy};
pub use plan::{Predicate, Selector, Slot, Stage};
pub use tls::TlsPolicy;

pub use schemars;
pub use serde;
pub use serde_json;

/// What most policies need.
pub mod prelude {
    pub use crate::tls::{
        Alert, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, San, Terms,
    };
    pub use crate::{
        Decision, Edits, Fault, HeaderPolicy, Inputs, PathDecision, PathPolicy, Problem, Problems,
        Response, Stage, TlsPolicy, append, backend, config, from_json, header_policy, path_policy,
        redirect, remove, respond, rewrite, set, set_attribute, tls_policy,
    };
}

/// What the attributes expand to; no part of the interface.
#[doc(hidden)]
pub mod private {
    pub use crate::config::{describe, parse};
    pub use crate::header::Component as HeaderComponent;
    pub use crate::module::Describe;
    pub use crate::path::Component as PathComponent;
    pub use crate::tls::Component as TlsComponent;
    pub use crate::tls::{IntoHelloDecision, IntoPeerDecision};
    pub use penstock_filter_header_world as header_world;
    pub use penstock_filter_path_world as path_world;
    pub use penstock_filter_tls_world as tls_world;
}
