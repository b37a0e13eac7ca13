//! `WasmFilter`: a policy that HTTPRoutes name in an `ExtensionRef`, or that is attached to the
//! listeners of a Gateway by `targetRefs`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::{self, DurationError};
use crate::quantity::{self, QuantityError};
use crate::schema_rules::{keys, rules};

/// Linear memory of an instance where `limits.memory` is absent.
pub const DEFAULT_MEMORY: &str = "16Mi";
/// Time for one call where `limits.deadline` is absent.
pub const DEFAULT_DEADLINE: &str = "5ms";

/// A policy as a WebAssembly component, with its configuration and what it may do.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "WasmFilter",
    namespaced,
    status = "WasmFilterStatus",
    derive = "PartialEq",
    shortname = "wf",
    category = "penstock",
    category = "gateway-api",
    doc = "A policy as a WebAssembly component. An HTTPRoute names it in a filter of type ExtensionRef (at a rule or at a backendRef, same namespace), or it is attached to the listeners of a Gateway by targetRefs.",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Kind", "type": "string", "jsonPath": ".status.kind"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].reason"}"#,
    printcolumn = r#"{"name": "Digest", "type": "string", "jsonPath": ".status.digest", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct WasmFilterSpec {
    /// Where the component comes from: exactly one source.
    pub module: ModuleSource,
    /// Configuration for the component, checked against the schema that the component itself
    /// declares. Any JSON value of the form that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub config: Option<serde_json::Value>,
    /// Interfaces of `penstock:host` that the component may import. What it imports beyond them
    /// makes the filter invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub grants: Vec<Grant>,
    /// What one instance may use.
    #[serde(default)]
    pub limits: FilterLimits,
    /// What a fault at run time (trap, deadline, memory) does to the request. A filter that cannot
    /// be loaded is never skipped, whatever is written here.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What happens when an input that the filter declared is not valid UTF-8.
    #[serde(default)]
    pub opaque_values: OpaqueValues,
    /// Gateway listeners of the same namespace to which the policy is attached. For TLS policies;
    /// a policy for requests is named by HTTPRoutes instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-validations" = rules(&[(
            "self.all(a, self.filter(b, b.name == a.name && (has(a.sectionName) ? a.sectionName : '') \
             == (has(b.sectionName) ? b.sectionName : '')).size() == 1)",
            "targetRefs must not name the same listener twice: remove one of the equal entries",
        )]))
    )]
    pub target_refs: Vec<TargetRef>,
}

/// Where a component comes from. In JSON an object with exactly one of these keys.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ModuleSource {
    /// A file beside the object's own, for the standalone gateway.
    File(FileSource),
    /// A key under `binaryData` of a ConfigMap of the same namespace.
    ConfigMap(ConfigMapSource),
    /// An OCI artifact, by its digest or by a tag that is followed.
    Oci(OciSource),
    /// A file from a web server, pinned by its digest.
    Http(HttpSource),
}

/// A component in a file.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Path, relative to the directory of the file that holds this object.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
}

/// A component in a ConfigMap.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key under `binaryData`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A component as an OCI artifact.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// `registry/repository@sha256:` and 64 hexadecimal digits, a tag may stand before the `@`. With
    /// a tag alone, `registry/repository:tag`, what it means is looked up again every five minutes
    /// (`operator.moduleRefresh` of the chart) and `status.digest` says what is in use.
    #[schemars(
        length(min = 1, max = 1024),
        extend("x-kubernetes-validations" = rules(&[(
            "self.matches('^[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]+)?/[a-z0-9._/-]+\
             (:[a-zA-Z0-9_][a-zA-Z0-9._-]*|(:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?@sha256:[a-f0-9]{64})$')",
            "image must name a registry and end in a tag or a digest, registry/repository:tag or \
             registry/repository@sha256:<64 lower-case hexadecimal digits>",
        )]))
    )]
    pub image: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<SecretRef>,
    /// ConfigMap of the same namespace with PEM certificates under `ca.crt`: the authorities that
    /// the registry is believed by, in place of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<ConfigMapRef>,
}

/// A component from a web server.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// `https://` or `http://` address.
    #[schemars(
        length(min = 1, max = 2048),
        extend("x-kubernetes-validations" = rules(&[(
            "self.matches('^https?://[^/?#@ ]+(/[^# ]*)?$')",
            "url must be an absolute http or https address, without user name and fragment",
        )]))
    )]
    pub url: String,
    /// SHA-256 of the component, 64 lower-case hexadecimal digits.
    #[schemars(extend("x-kubernetes-validations" = rules(&[(
        "self.matches('^[a-f0-9]{64}$')",
        "sha256 must be 64 lower-case hexadecimal digits, as sha256sum prints them",
    )])), length(max = 71))]
    pub sha256: String,
    /// ConfigMap of the same namespace with PEM certificates under `ca.crt`: the authorities that
    /// the server is believed by, in place of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<ConfigMapRef>,
}

/// A Secret of the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A ConfigMap of the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An interface of `penstock:host`.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Time of day and a steady clock.
    Clock,
    /// Log lines.
    Log,
    /// Counters and gauges of its own.
    Metrics,
    /// Random bytes.
    Random,
    /// Attributes and events on the request's span.
    Trace,
}

impl Grant {
    /// Name of the interface.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Clock => "clock",
            Grant::Log => "log",
            Grant::Metrics => "metrics",
            Grant::Random => "random",
            Grant::Trace => "trace",
        }
    }
}

/// What one instance of a filter may use.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilterLimits {
    /// Linear memory of an instance as a quantity, 64Ki (one page) to 256Mi.
    #[serde(default = "default_memory")]
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-validations" = rules(&[(
            "isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0 \
             && quantity(self).compareTo(quantity('256Mi')) <= 0",
            "memory must be a quantity from 64Ki to 256Mi, for example 16Mi",
        )]))
    )]
    pub memory: String,
    /// Time of a processor for one call as a GEP-2257 duration, 1ms to 1s, looked at once a
    /// millisecond. A filter that runs holds its worker, so keep it short.
    #[serde(default = "default_deadline")]
    #[schemars(
        length(min = 1, max = 28),
        regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"),
        extend("x-kubernetes-validations" = rules(&[(
            "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || \
             (duration(self) >= duration('1ms') && duration(self) <= duration('1s'))",
            "deadline must be from 1ms to 1s, for example 5ms",
        )]))
    )]
    pub deadline: String,
    /// Calls after which an instance is replaced by a fresh one; absent: the host decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub max_invocations: Option<u64>,
}

/// What a fault at run time does to the request.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum OnFailure {
    /// The request fails.
    #[default]
    Closed,
    /// The filter is skipped for this request.
    Open,
}

/// What happens when a declared input is not valid UTF-8.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum OpaqueValues {
    /// The request is answered 400.
    #[default]
    Reject,
    /// Invalid bytes arrive as U+FFFD.
    Lossy,
}

/// A Gateway, or one listener of it, in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.group == 'gateway.networking.k8s.io' && self.kind == 'Gateway'",
    "targetRefs may name only group gateway.networking.k8s.io, kind Gateway: an HTTPRoute names the \
     filter itself, in a filter of type ExtensionRef",
)])))]
pub struct TargetRef {
    /// `gateway.networking.k8s.io`
    #[schemars(length(max = 253))]
    pub group: String,
    /// `Gateway`
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the listener; absent: all listeners of the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// What was found out about the filter.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WasmFilterStatus {
    /// `Accepted`, `ResolvedRefs`, `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = keys(&["type"]))
    )]
    pub conditions: Vec<Condition>,
    /// Digest of the component in use, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The interface that the component exports: `headers`, `paths` or `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What the filter asked for when it was configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
}

/// What a filter asked for when it was configured.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Inputs that it reads, for example `header:authorization`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Fields that it may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// The cheapest way in which its decisions are made: `constant`, `guarded`, `memo` or `call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

impl WasmFilterSpec {
    /// Linear memory that an instance may have, in bytes.
    ///
    /// # Errors
    /// When `limits.memory` is no quantity, which [`crate::validate`] refuses as well.
    pub fn memory_bytes(&self) -> Result<u64, QuantityError> {
        quantity::bytes(&self.limits.memory)
    }

    /// Time for one call.
    ///
    /// # Errors
    /// When `limits.deadline` is no duration, which [`crate::validate`] refuses as well.
    pub fn deadline(&self) -> Result<Duration, DurationError> {
        duration::parse(&self.limits.deadline)
    }
}

impl Default for FilterLimits {
    fn default() -> Self {
        FilterLimits {
            memory: default_memory(),
            deadline: default_deadline(),
            max_invocations: None,
        }
    }
}

fn default_memory() -> String {
    DEFAULT_MEMORY.to_owned()
}

fn default_deadline() -> String {
    DEFAULT_DEADLINE.to_owned()
}

/// A field of any JSON type that the API server must keep as it is.
fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
