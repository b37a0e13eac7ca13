//! `GatewayConfig`: settings of Gateways beyond the Gateway API, named by `parametersRef` of a
//! GatewayClass or by `infrastructure.parametersRef` of a Gateway.

use std::borrow::Cow;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::{self, DurationError};
use crate::schema_rules::{keys, rules};

/// Settings of Gateways beyond the Gateway API. Every part is optional; what is absent here has the
/// proxy's default.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "GatewayConfig",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    shortname = "gwc",
    category = "penstock",
    doc = "Settings of Gateways beyond the Gateway API. A GatewayClass names it in parametersRef, a Gateway in infrastructure.parametersRef.",
    printcolumn = r#"{"name": "TLS default", "type": "string", "jsonPath": ".spec.tls.defaultProfile"}"#,
    printcolumn = r#"{"name": "Trusted hops", "type": "integer", "jsonPath": ".spec.clientAddress.trustedHops"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfigSpec {
    /// TLS profiles that listeners use and TLS policies may name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// How the address of the client is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddress>,
    /// Limits on what clients may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ClientLimits>,
}

/// TLS profiles.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.defaultProfile) || (has(self.profiles) && size(self.profiles) > 0 ? \
     self.profiles.exists(p, p.name == self.defaultProfile) : \
     self.defaultProfile in ['compatible', 'modern'])",
    "defaultProfile must name one of tls.profiles (without profiles there are compatible and modern)",
)])))]
pub struct TlsSettings {
    /// The profiles there are. Absent: `compatible` (TLS 1.2 and later) and `modern` (TLS 1.3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = keys(&["name"]))
    )]
    pub profiles: Vec<TlsProfile>,
    /// The profile in force where no policy names a stricter one. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub default_profile: Option<String>,
}

/// A named set of TLS parameters.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsProfile {
    /// Name by which policies ask for it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Least version that is accepted.
    pub min_version: TlsVersion,
}

/// TLS protocol versions, in order.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema,
)]
pub enum TlsVersion {
    /// RFC 5246
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446
    #[serde(rename = "1.3")]
    Tls13,
}

/// How the address of the client is found.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAddress {
    /// How many proxies in front of the Gateway are trusted to have written `X-Forwarded-For`.
    /// 0: the peer of the connection is the client and what it sent in that field is replaced.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 32))]
    pub trusted_hops: u32,
}

/// Limits on what clients may use; what is absent has the proxy's default.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientLimits {
    /// Open client connections on each listener port, all workers of a proxy together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1))]
    pub max_connections: Option<u32>,
    /// Bytes of a request's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 8192, max = 1048576))]
    pub max_header_bytes: Option<u32>,
    /// Number of fields in a request's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10000))]
    pub max_headers: Option<u32>,
    /// GEP-2257 duration for a client to send a request's head, and to finish the TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timeout")]
    pub header_timeout: Option<String>,
    /// GEP-2257 duration after which a connection without a request is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timeout")]
    pub idle_timeout: Option<String>,
    /// Concurrent HTTP/2 streams on one connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1))]
    pub max_concurrent_streams: Option<u32>,
    /// GEP-2257 duration without progress of a body, in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timeout")]
    pub body_timeout: Option<String>,
    /// Bytes of a request's body; a larger one is answered 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub max_body_bytes: Option<u64>,
}

impl GatewayConfigSpec {
    /// The profiles in force: the declared ones, or `compatible` and `modern`.
    pub fn tls_profiles(&self) -> Cow<'_, [TlsProfile]> {
        match &self.tls {
            Some(tls) if !tls.profiles.is_empty() => Cow::Borrowed(&tls.profiles),
            _ => Cow::Owned(built_in_profiles()),
        }
    }

    /// Name of the profile in force where no policy names a stricter one: the declared one, or the
    /// first of [`Self::tls_profiles`].
    pub fn default_tls_profile(&self) -> String {
        let declared = self.tls.as_ref().and_then(|tls| tls.default_profile.clone());
        declared
            .or_else(|| self.tls_profiles().first().map(|profile| profile.name.clone()))
            .unwrap_or_default()
    }
}

impl ClientLimits {
    /// `headerTimeout` in milliseconds.
    ///
    /// # Errors
    /// When the text is no duration, which [`crate::validate`] refuses as well.
    pub fn header_timeout_ms(&self) -> Result<Option<u32>, DurationError> {
        milliseconds(self.header_timeout.as_deref())
    }

    /// `idleTimeout` in milliseconds.
    ///
    /// # Errors
    /// When the text is no duration, which [`crate::validate`] refuses as well.
    pub fn idle_timeout_ms(&self) -> Result<Option<u32>, DurationError> {
        milliseconds(self.idle_timeout.as_deref())
    }

    /// `bodyTimeout` in milliseconds.
    ///
    /// # Errors
    /// When the text is no duration, which [`crate::validate`] refuses as well.
    pub fn body_timeout_ms(&self) -> Result<Option<u32>, DurationError> {
        milliseconds(self.body_timeout.as_deref())
    }
}

/// The profiles there are where none is declared; the first is the default.
pub fn built_in_profiles() -> Vec<TlsProfile> {
    [("compatible", TlsVersion::Tls12), ("modern", TlsVersion::Tls13)]
        .map(|(name, min_version)| TlsProfile { name: name.to_owned(), min_version })
        .into()
}

/// Saturates at 49 days, which is as good as never.
fn milliseconds(text: Option<&str>) -> Result<Option<u32>, DurationError> {
    let duration = text.map(duration::parse).transpose()?;
    Ok(duration.map(|d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX)))
}

fn timeout(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 28,
        "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        "x-kubernetes-validations": rules(&[(
            "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self) >= duration('1ms')",
            "a timeout must be at least 1ms, for example 10s",
        )]),
    })
}
