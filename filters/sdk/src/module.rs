//! What a module says of itself, and how it is exported.

use schemars::JsonSchema;

use crate::bindings::types::Descriptor;
use crate::config::schema;

/// A module as its manifest and its documentation describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Package name.
    pub name: &'static str,
    /// Package version.
    pub version: &'static str,
    /// One sentence; the package's `description`.
    pub description: &'static str,
    /// Markdown for people; the documentation of the policy.
    pub documentation: &'static str,
}

/// Implemented by the `export_*` macros, since only they see the author's manifest.
pub trait Describe {
    /// What the module is.
    const MODULE: Module;
}

/// The descriptor of a module that takes `C`.
pub(crate) fn descriptor<D: Describe, C: JsonSchema>() -> Descriptor {
    Descriptor {
        name: D::MODULE.name.to_owned(),
        version: D::MODULE.version.to_owned(),
        description: D::MODULE.description.to_owned(),
        config_schema: schema::<C>(),
        documentation: D::MODULE.documentation.trim().to_owned(),
    }
}

/// Exports a [`HeaderPolicy`](crate::HeaderPolicy) as this crate's component, with Markdown for
/// people. `#[header_policy]` does it by itself.
#[macro_export]
macro_rules! export_header_policy {
    ($policy:ty, $documentation:expr) => {
        $crate::describe_policy!($policy, $documentation);
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::private::HeaderComponent<$policy>;
            $crate::private::header_world::export_header_world!(
                Component with_types_in $crate::bindings
            );
        };
    };
}

/// Exports a [`PathPolicy`](crate::PathPolicy) as this crate's component, with Markdown for people.
/// `#[path_policy]` does it by itself.
#[macro_export]
macro_rules! export_path_policy {
    ($policy:ty, $documentation:expr) => {
        $crate::describe_policy!($policy, $documentation);
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::private::PathComponent<$policy>;
            $crate::private::path_world::export_path_world!(
                Component with_types_in $crate::bindings
            );
        };
    };
}

/// Exports a [`TlsPolicy`](crate::TlsPolicy) as this crate's component, with Markdown for people.
/// `#[tls_policy]` does it by itself.
#[macro_export]
macro_rules! export_tls_policy {
    ($policy:ty, $documentation:expr) => {
        $crate::describe_policy!($policy, $documentation);
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::private::TlsComponent<$policy>;
            $crate::private::tls_world::export_tls_world!(
                Component with_types_in $crate::bindings
            );
        };
    };
}

/// What the three export macros share.
#[doc(hidden)]
#[macro_export]
macro_rules! describe_policy {
    ($policy:ty, $documentation:expr) => {
        impl $crate::private::Describe for $policy {
            const MODULE: $crate::Module = $crate::Module {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                documentation: $documentation,
            };
        }
    };
}
