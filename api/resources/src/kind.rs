//! The kinds that Penstock reads.

use std::fmt;

use serde_json::Value;

/// The kinds that Penstock reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `gateway.networking.k8s.io` GatewayClass
    GatewayClass,
    /// `gateway.networking.k8s.io` Gateway
    Gateway,
    /// `gateway.networking.k8s.io` HTTPRoute
    HttpRoute,
    /// `gateway.networking.k8s.io` ReferenceGrant
    ReferenceGrant,
    /// Service
    Service,
    /// `discovery.k8s.io` EndpointSlice
    EndpointSlice,
    /// Secret
    Secret,
    /// ConfigMap
    ConfigMap,
    /// Namespace
    Namespace,
    /// `penstock.dev` WasmFilter
    WasmFilter,
    /// `penstock.dev` GatewayConfig
    GatewayConfig,
    /// `penstock.dev` LoadBalancerPool
    LoadBalancerPool,
}

/// Every [`Kind`].
pub const KINDS: [Kind; 12] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Namespace,
    Kind::WasmFilter,
    Kind::GatewayConfig,
    Kind::LoadBalancerPool,
];

/// Why a value is no object that Penstock reads. The writer of the value is at fault; reading the
/// same value again does not help.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// `apiVersion` or `kind` is missing or no text.
    #[error("`{0}` is missing: every object states its apiVersion and kind")]
    Untyped(&'static str),
    /// Nobody here knows the kind.
    #[error("kind `{kind}` of `{api_version}` is not read by Penstock; it reads {}", known())]
    UnknownKind {
        /// `apiVersion` as written.
        api_version: String,
        /// `kind` as written.
        kind: String,
    },
    /// The kind is known, in another version.
    #[error(
        "{kind} is not read in version `{api_version}`: write `apiVersion: {}`",
        kind.api_version()
    )]
    UnknownVersion {
        /// `apiVersion` as written.
        api_version: String,
        /// The kind.
        kind: Kind,
    },
    /// A field has the wrong form.
    #[error("not a valid {kind}: {source}")]
    Form {
        /// The kind.
        kind: Kind,
        /// Which field and why.
        source: serde_json::Error,
    },
}

impl Kind {
    /// As written in `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::GatewayClass => "GatewayClass",
            Kind::Gateway => "Gateway",
            Kind::HttpRoute => "HTTPRoute",
            Kind::ReferenceGrant => "ReferenceGrant",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Namespace => "Namespace",
            Kind::WasmFilter => "WasmFilter",
            Kind::GatewayConfig => "GatewayConfig",
            Kind::LoadBalancerPool => "LoadBalancerPool",
        }
    }

    /// API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute | Kind::ReferenceGrant => {
                crate::gateway_api::GROUP
            }
            Kind::WasmFilter | Kind::GatewayConfig | Kind::LoadBalancerPool => crate::GROUP,
            Kind::EndpointSlice => "discovery.k8s.io",
            Kind::Service | Kind::Secret | Kind::ConfigMap | Kind::Namespace => "",
        }
    }

    /// Versions that are read, the preferred one first. Those of one kind have the same fields.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Kind::GatewayClass | Kind::Gateway | Kind::HttpRoute | Kind::ReferenceGrant => {
                &["v1", "v1beta1"]
            }
            Kind::WasmFilter | Kind::GatewayConfig | Kind::LoadBalancerPool => &[crate::VERSION],
            _ => &["v1"],
        }
    }

    /// Whether objects of the kind live in a namespace.
    pub fn namespaced(self) -> bool {
        !matches!(self, Kind::GatewayClass | Kind::Namespace | Kind::LoadBalancerPool)
    }

    /// `apiVersion` as it should be written.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.versions()[0].to_owned(),
            group => format!("{group}/{}", self.versions()[0]),
        }
    }

    /// The kind of a value, from its `apiVersion` and `kind`.
    ///
    /// # Errors
    /// When either is missing or unknown.
    pub fn of(value: &Value) -> Result<Kind, ObjectError> {
        let text = |field: &'static str| {
            value.get(field).and_then(Value::as_str).ok_or(ObjectError::Untyped(field))
        };
        let (api_version, name) = (text("apiVersion")?, text("kind")?);
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = KINDS.into_iter().find(|kind| kind.name() == name && kind.group() == group);
        let api_version = api_version.to_owned();
        match kind {
            Some(kind) if kind.versions().contains(&version) => Ok(kind),
            Some(kind) => Err(ObjectError::UnknownVersion { api_version, kind }),
            None => Err(ObjectError::UnknownKind { api_version, kind: name.to_owned() }),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn known() -> String {
    let names: Vec<_> =
        KINDS.iter().map(|kind| format!("{} ({})", kind.name(), kind.api_version())).collect();
    names.join(", ")
}
