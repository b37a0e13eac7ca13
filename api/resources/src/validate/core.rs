//! The core kinds: what the API server checks and fills in by code rather than by a schema.

use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::metadata::is_subdomain;
use super::{Findings, child, quoted};
use crate::kind::Kind;
use crate::schema_rules::{keys, rules};

/// Bytes that the values of a Secret or a ConfigMap may have together.
const MAX_DATA: usize = 1024 * 1024;

const PORT_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$";
const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                              (([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";

/// Adds to the schema of a core kind's type what the API server checks beyond types.
pub(super) fn constrain(kind: Kind, schema: &mut Value) {
    let constraints = match kind {
        Kind::Service => service(),
        Kind::EndpointSlice => endpoint_slice(),
        Kind::Secret => vec![("/properties/type", json!({"default": "Opaque"}))],
        _ => Vec::new(),
    };
    for (path, keywords) in constraints {
        let node = schema.pointer_mut(path).and_then(Value::as_object_mut);
        if let (Some(node), Value::Object(keywords)) = (node, keywords) {
            node.extend(keywords);
        }
    }
}

/// Keywords for places in the schema of a Service.
fn service() -> Vec<(&'static str, Value)> {
    vec![
        ("", json!({"required": ["spec"]})),
        (
            "/properties/spec",
            json!({"x-kubernetes-validations": rules(&[
                (
                    "self.type != 'ExternalName' || (has(self.externalName) && self.externalName != '')",
                    "a Service of type ExternalName needs `externalName`, the DNS name it stands for",
                ),
                (
                    "self.type == 'ExternalName' || (has(self.clusterIP) && self.clusterIP == 'None') \
                     || (has(self.ports) && self.ports.size() > 0)",
                    "`ports` needs at least one port",
                ),
                (
                    "self.type != 'ExternalName' || !has(self.clusterIP) || self.clusterIP == ''",
                    "a Service of type ExternalName has no `clusterIP`: remove it",
                ),
            ])}),
        ),
        (
            "/properties/spec/properties/type",
            json!({
                "default": "ClusterIP",
                "enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"],
            }),
        ),
        (
            "/properties/spec/properties/externalName",
            json!({"maxLength": 253, "pattern": "^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\.?$"}),
        ),
        (
            "/properties/spec/properties/sessionAffinity",
            json!({"default": "None", "enum": ["None", "ClientIP"]}),
        ),
        (
            "/properties/spec/properties/clusterIP",
            json!({"x-kubernetes-validations": rules(&[(
                "self in ['', 'None'] || isIP(self)",
                "clusterIP must be an IP address, `None` or absent",
            )])}),
        ),
        (
            "/properties/spec/properties/ports",
            json!({
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": keys(&["port", "protocol"]),
                "x-kubernetes-validations": rules(&[
                    (
                        "self.size() < 2 || self.all(p, has(p.name) && p.name != '')",
                        "each port needs a `name` where there are several",
                    ),
                    (
                        "self.all(p, !has(p.name) || p.name == '' || \
                         self.exists_one(q, has(q.name) && q.name == p.name))",
                        "the names of ports must differ",
                    ),
                ]),
            }),
        ),
        (
            "/properties/spec/properties/ports/items/properties/name",
            json!({"maxLength": 63, "pattern": PORT_NAME}),
        ),
        (
            "/properties/spec/properties/ports/items/properties/port",
            json!({"minimum": 1, "maximum": 65535}),
        ),
        (
            "/properties/spec/properties/ports/items/properties/nodePort",
            json!({"minimum": 0, "maximum": 65535}),
        ),
        ("/properties/spec/properties/ports/items/properties/protocol", protocol()),
        (
            "/properties/spec/properties/ports/items/properties/appProtocol",
            json!({"maxLength": 317, "pattern": QUALIFIED_NAME}),
        ),
        (
            "/properties/spec/properties/ports/items/properties/targetPort",
            json!({
                "minimum": 1, "maximum": 65535, "maxLength": 15,
                "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
            }),
        ),
    ]
}

/// Keywords for places in the schema of an EndpointSlice.
fn endpoint_slice() -> Vec<(&'static str, Value)> {
    vec![
        ("/properties/addressType", json!({"enum": ["IPv4", "IPv6", "FQDN"]})),
        ("/properties/endpoints", json!({"maxItems": 1000})),
        (
            "/properties/endpoints/items/properties/addresses",
            json!({"minItems": 1, "maxItems": 100, "x-kubernetes-list-type": "set"}),
        ),
        (
            "/properties/ports",
            json!({
                "maxItems": 20000,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": keys(&["name"]),
            }),
        ),
        (
            "/properties/ports/items/properties/name",
            json!({"default": "", "maxLength": 63, "pattern": PORT_NAME}),
        ),
        ("/properties/ports/items/properties/port", json!({"minimum": 1, "maximum": 65535})),
        ("/properties/ports/items/properties/protocol", protocol()),
        (
            "/properties/ports/items/properties/appProtocol",
            json!({"maxLength": 317, "pattern": QUALIFIED_NAME}),
        ),
    ]
}

fn protocol() -> Value {
    json!({"default": "TCP", "enum": ["TCP", "UDP", "SCTP"]})
}

/// Fills in what the API server computes.
pub(super) fn default(kind: Kind, value: &mut Value) {
    match kind {
        Kind::Service => target_ports(value),
        Kind::Secret => string_data(value),
        Kind::Namespace => name_label(value),
        _ => {}
    }
}

/// Service, `targetPort`: "If this is not specified, the value of the 'port' field is used".
fn target_ports(value: &mut Value) {
    let ports = value.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(number) = port.get("port").filter(|number| number.is_i64()).cloned() {
            port.entry("targetPort").or_insert(number);
        }
    }
}

/// Secret, `stringData`: "All keys and values are merged into the data field on write, overwriting
/// any existing values." What is no text stays, for the schema to refuse.
fn string_data(value: &mut Value) {
    let Some(secret) = value.as_object_mut() else { return };
    let Some(Value::Object(texts)) = secret.get_mut("stringData") else { return };
    let (texts, rest): (Map<_, _>, Map<_, _>) =
        std::mem::take(texts).into_iter().partition(|(_, text)| text.is_string());
    if rest.is_empty() {
        secret.remove("stringData");
    } else {
        secret.insert("stringData".to_owned(), Value::Object(rest));
    }
    let Value::Object(data) = secret.entry("data").or_insert_with(|| json!({})) else { return };
    for (key, text) in texts {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        data.insert(key, json!(bytes));
    }
}

/// The label by which selectors find a namespace by its name.
fn name_label(value: &mut Value) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(name) = metadata.get("name").filter(|name| name.is_string()).cloned() else { return };
    if let Value::Object(labels) = metadata.entry("labels").or_insert_with(|| json!({})) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// The checks for which a schema has no keyword.
pub(super) fn check(kind: Kind, value: &Value, findings: &mut Findings) {
    match kind {
        Kind::EndpointSlice => endpoint_addresses(value, findings),
        Kind::Secret => {
            let Some(data) = value.get("data").and_then(Value::as_object) else {
                secret_keys(value, &Map::new(), findings);
                return;
            };
            data_keys("/data", data, findings);
            data_size(&[data], findings);
            secret_keys(value, data, findings);
        }
        Kind::ConfigMap => config_map(value, findings),
        _ => {}
    }
}

fn endpoint_addresses(value: &Value, findings: &mut Findings) {
    let family = value["addressType"].as_str().unwrap_or_default();
    let expected = match family {
        "IPv4" => "an IPv4 address, as `addressType` says",
        "IPv6" => "an IPv6 address, as `addressType` says",
        _ => "a DNS name, as `addressType` says",
    };
    let endpoints = value["endpoints"].as_array().into_iter().flatten().enumerate();
    for (i, endpoint) in endpoints {
        let addresses = endpoint["addresses"].as_array().into_iter().flatten().enumerate();
        for (j, address) in addresses.filter_map(|(j, a)| Some((j, a.as_str()?))) {
            let right = match family {
                "IPv4" => address.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<Ipv6Addr>().is_ok(),
                "FQDN" => is_subdomain(address.strip_suffix('.').unwrap_or(address)),
                // The schema has refused it.
                _ => true,
            };
            if !right {
                let at = format!("/endpoints/{i}/addresses/{j}");
                findings.refuse(&at, format!("{} is not {expected}", quoted(address)));
            }
        }
    }
}

/// The keys that a Secret of a known type must have.
fn secret_keys(value: &Value, data: &Map<String, Value>, findings: &mut Findings) {
    let kind = value["type"].as_str().unwrap_or_default();
    let needed: &[&str] = match kind {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| !data.contains_key(**key)) {
        let message = format!("`{key}` is required in a Secret of type {kind}: add it");
        findings.refuse(&child("/data", key), message);
    }
}

fn config_map(value: &Value, findings: &mut Findings) {
    let entries = |field: &str| value.get(field).and_then(Value::as_object);
    let (data, binary) = (entries("data"), entries("binaryData"));
    for (at, entries) in [("/data", data), ("/binaryData", binary)] {
        if let Some(entries) = entries {
            data_keys(at, entries, findings);
        }
    }
    if let (Some(data), Some(binary)) = (data, binary) {
        for key in binary.keys().filter(|key| data.contains_key(*key)) {
            let message = format!("key {} is under `data` as well: remove one", quoted(key));
            findings.refuse(&child("/binaryData", key), message);
        }
    }
    let parts: Vec<_> = data.into_iter().chain(binary).collect();
    data_size(&parts, findings);
}

fn data_keys(at: &str, entries: &Map<String, Value>, findings: &mut Findings) {
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    for key in entries.keys() {
        let right = (1..=253).contains(&key.len())
            && key.bytes().all(letter)
            && key != "."
            && !key.starts_with("..");
        if !right {
            let message = format!(
                "{} is not a key: at most 253 letters, digits, `-`, `_` and `.`, not beginning \
                 with `..`",
                quoted(key)
            );
            findings.refuse(&child(at, key), message);
        }
    }
}

fn data_size(parts: &[&Map<String, Value>], findings: &mut Findings) {
    // Base64 is counted as written, so that an object near the limit is refused a little early
    // rather than late; the limit of a whole request, 1.5 MiB, is reached about then too.
    let values = parts.iter().flat_map(|entries| entries.values());
    let total: usize = values.filter_map(Value::as_str).map(str::len).sum();
    if total > MAX_DATA {
        let message = format!("has {total} bytes of data, at most {MAX_DATA} are allowed");
        findings.refuse("/data", message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::default;
    use super::*;

    #[test]
    fn string_data_of_a_secret_is_moved_to_data_and_wins() {
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "text"},
        });
        default(&mut secret);
        assert_eq!(secret["data"], json!({"a": "eA==", "b": "dGV4dA=="}));
        assert_eq!(secret.get("stringData"), None);
        assert_eq!(secret["type"], "Opaque");
    }

    #[test]
    fn a_namespace_carries_its_name_as_a_label() {
        let mut namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "n", "labels": {"a": "b"}},
        });
        default(&mut namespace);
        let labels = json!({"a": "b", "kubernetes.io/metadata.name": "n"});
        assert_eq!(namespace["metadata"], json!({"name": "n", "labels": labels}));
    }

    #[test]
    fn a_service_port_gets_its_protocol_and_target() {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]},
        });
        default(&mut service);
        let expected = json!([
            {"port": 80, "targetPort": 80, "protocol": "TCP"},
            {"port": 81, "targetPort": "web", "protocol": "UDP"},
        ]);
        assert_eq!(service["spec"]["ports"], expected);
        assert_eq!(service["spec"]["type"], "ClusterIP");
    }

    #[test]
    fn every_constraint_has_its_place_in_the_schema() {
        use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
        let plain = |kind| {
            let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| {
                settings.inline_subschemas = true;
            });
            let generator = settings.into_generator();
            match kind {
                Kind::Service => generator.into_root_schema_for::<Service>().to_value(),
                _ => generator.into_root_schema_for::<EndpointSlice>().to_value(),
            }
        };
        for (kind, constraints) in
            [(Kind::Service, service()), (Kind::EndpointSlice, endpoint_slice())]
        {
            let schema = plain(kind);
            for (path, _) in constraints {
                assert!(schema.pointer(path).is_some_and(Value::is_object), "{kind}: {path}");
            }
        }
    }
}
