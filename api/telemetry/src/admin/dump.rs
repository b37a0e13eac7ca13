//! The configuration in effect as JSON, without secrets.
//!
//! What may be a secret is left out or replaced by `REDACTED`: private keys, the configuration of
//! filters (which may hold API keys; its hash is shown), and values of headers and query parameters
//! whose names suggest it.

use penstock_config::{
    BackendChoice, Certificate, ClientValidation, Endpoints, Failure, Filter, Frontend, Gateway,
    Header, HeaderEdit, HttpMatch, Kind, Listener, PathEdit, PathMatch, ResourceKind, Rule, State,
    Step, StepAction, ValueMatch, ValueTest, Version,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt::Write};

/// What stands in place of a value that may be a secret.
const REDACTED: &str = "REDACTED";

/// Parts of the names of fields and parameters that tend to carry secrets.
const SECRET_NAMES: [&str; 9] =
    ["auth", "cookie", "token", "secret", "password", "key", "credential", "session", "signature"];

/// A configuration as JSON: its version, and each kind's resources by their names. Filters whose last
/// good generation serves, because the one of the configuration is refused, have it as `serving`.
pub fn dump<'a>(
    state: &State,
    last_good: impl IntoIterator<Item = (&'a Filter, Version)>,
) -> Value {
    let mut last_good: HashMap<&str, Value> = last_good
        .into_iter()
        .map(|(serving, version)| (serving.name.as_str(), versioned(filter(serving), version)))
        .collect();
    let mut kinds: Map<String, Value> = Map::new();
    for resource in state.iter() {
        let mut value = versioned(resource_value(&resource.content), resource.version);
        if resource.key.kind() == Kind::Filter
            && let Some(serving) = last_good.remove(resource.key.name.as_str())
        {
            value["serving"] = serving;
        }
        let kind =
            kinds.entry(resource.key.kind().name()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(resources) = kind {
            resources.insert(resource.key.name.clone(), value);
        }
    }
    json!({ "version": state.version().to_string(), "resources": kinds })
}

fn versioned(mut value: Value, version: Version) -> Value {
    value["version"] = version.to_string().into();
    value
}

fn resource_value(content: &ResourceKind) -> Value {
    match content {
        ResourceKind::Gateway(r) => gateway(r),
        ResourceKind::Certificate(r) => certificate(r),
        ResourceKind::Listener(r) => listener(r),
        ResourceKind::Filter(r) => filter(r),
        ResourceKind::TlsBinding(r) => json!({
            "listener": r.listener, "hostname": r.hostname, "filters": r.filters,
        }),
        ResourceKind::Backend(r) => json!({ "protocol": format!("{:?}", r.protocol()) }),
        ResourceKind::Endpoints(r) => endpoints(r),
        ResourceKind::Rule(r) => rule(r),
        ResourceKind::Frontend(r) => frontend(r),
    }
}

fn gateway(r: &Gateway) -> Value {
    let profiles = r.tls_profiles.iter().map(|profile| {
        json!({ "name": profile.name, "minVersion": format!("{:?}", profile.min_version()) })
    });
    json!({
        "trustedHops": r.trusted_hops,
        "tlsProfiles": profiles.collect::<Vec<_>>(),
        "defaultTlsProfile": r.default_tls_profile,
        "limits": r.limits.map(|limits| json!({
            "maxConnections": limits.max_connections,
            "maxHeaderBytes": limits.max_header_bytes,
            "maxHeaders": limits.max_headers,
            "headerTimeoutMs": limits.header_timeout_ms,
            "idleTimeoutMs": limits.idle_timeout_ms,
            "maxConcurrentStreams": limits.max_concurrent_streams,
            "bodyTimeoutMs": limits.body_timeout_ms,
            "maxBodyBytes": limits.max_body_bytes,
        })),
    })
}

/// A chain is public, its key is not.
fn certificate(r: &Certificate) -> Value {
    json!({ "chainPem": String::from_utf8_lossy(&r.chain_pem), "key": REDACTED })
}

fn listener(r: &Listener) -> Value {
    json!({
        "gateway": r.gateway,
        "section": r.section,
        "port": r.port,
        "targetPort": r.target_port,
        "protocol": format!("{:?}", r.protocol()),
        "hostname": r.hostname,
        "certificates": r.certificates,
        "clientValidation": r.client_validation.as_ref().map(|v: &ClientValidation| json!({
            "anchorsPem": v.anchors_pem, "mode": format!("{:?}", v.mode()),
        })),
    })
}

fn frontend(r: &Frontend) -> Value {
    json!({
        "gateway": r.gateway,
        "port": r.port,
        "targetPort": r.target_port,
        "addresses": r.addresses,
        "nodePort": r.node_port,
        "announcedBy": r.announced_by,
    })
}

fn filter(r: &Filter) -> Value {
    json!({
        "kind": r.kind().name(),
        "module": r.module,
        "config": { "bytes": r.config_json.len(), "sha256": sha256(r.config_json.as_bytes()) },
        "generation": r.generation,
        "grants": r.grants,
        "memoryBytes": r.memory_bytes,
        "deadlineUs": r.deadline_us,
        "maxInvocations": r.max_invocations,
        "onFailure": format!("{:?}", r.on_failure()),
        "opaqueValues": format!("{:?}", r.opaque_values()),
    })
}

fn endpoints(r: &Endpoints) -> Value {
    let endpoints = r.endpoints.iter().map(|e| json!({ "host": e.host, "port": e.port }));
    json!({ "endpoints": endpoints.collect::<Vec<_>>() })
}

fn rule(r: &Rule) -> Value {
    let attachments =
        r.attachments.iter().map(|a| json!({ "listener": a.listener, "hostnames": a.hostnames }));
    json!({
        "route": r.route,
        "name": r.name,
        "attachments": attachments.collect::<Vec<_>>(),
        "created": r.created,
        "position": r.position,
        "matches": r.matches.iter().map(http_match).collect::<Vec<_>>(),
        "filters": steps(&r.filters),
        "tlsFilters": r.tls_filters,
        "backends": r.backends.iter().map(backend_choice).collect::<Vec<_>>(),
        "requestTimeoutMs": r.request_timeout_ms,
        "backendTimeoutMs": r.backend_timeout_ms,
    })
}

fn http_match(m: &HttpMatch) -> Value {
    json!({
        "path": m.path.as_ref().map(|path| match path {
            PathMatch::Exact(path) => json!({ "exact": path }),
            PathMatch::Prefix(path) => json!({ "prefix": path }),
            PathMatch::Regex(path) => json!({ "regex": path }),
        }),
        "headers": m.headers.iter().map(value_match).collect::<Vec<_>>(),
        "query": m.query.iter().map(value_match).collect::<Vec<_>>(),
        "method": m.method,
    })
}

fn value_match(m: &ValueMatch) -> Value {
    let test = m.test.as_ref().map(|test| match test {
        ValueTest::Exact(value) => json!({ "exact": shown(&m.name, value) }),
        ValueTest::Regex(value) => json!({ "regex": shown(&m.name, value) }),
    });
    json!({ "name": m.name, "test": test })
}

fn backend_choice(choice: &BackendChoice) -> Value {
    json!({
        "backend": choice.backend,
        "reference": choice.reference,
        "weight": choice.weight,
        "filters": steps(&choice.filters),
        "failure": choice.failure.as_ref().map(failure),
    })
}

fn steps(steps: &[Step]) -> Vec<Value> {
    steps.iter().filter_map(|step| step.action.as_ref()).map(action).collect()
}

fn action(action: &StepAction) -> Value {
    match action {
        StepAction::RequestHeaders(edit) => json!({ "requestHeaders": header_edit(edit) }),
        StepAction::ResponseHeaders(edit) => json!({ "responseHeaders": header_edit(edit) }),
        StepAction::Redirect(r) => json!({ "redirect": {
            "scheme": r.scheme,
            "hostname": r.hostname,
            "port": r.port,
            "status": r.status,
            "path": r.path.as_ref().map(path_edit),
        }}),
        StepAction::Rewrite(r) => json!({ "rewrite": {
            "hostname": r.hostname,
            "path": r.path.as_ref().map(path_edit),
        }}),
        StepAction::Policy(filter) => json!({ "policy": filter }),
        StepAction::Failure(reason) => json!({ "failure": failure(reason) }),
    }
}

fn failure(failure: &Failure) -> Value {
    json!({ "reason": failure.reason, "message": failure.message })
}

fn header_edit(edit: &HeaderEdit) -> Value {
    let shown = |headers: &[Header]| {
        let header = |h: &Header| json!({ "name": h.name, "value": shown(&h.name, &h.value) });
        headers.iter().map(header).collect::<Vec<_>>()
    };
    json!({ "set": shown(&edit.set), "add": shown(&edit.add), "remove": edit.remove })
}

fn path_edit(edit: &PathEdit) -> Value {
    match edit {
        PathEdit::Full(path) => json!({ "full": path }),
        PathEdit::Prefix(path) => json!({ "prefix": path }),
    }
}

/// A value, unless its name suggests a secret.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    if SECRET_NAMES.iter().any(|part| name.contains(part)) { REDACTED } else { value }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // A string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::{Attachment, Backend};

    const SECRET: &str = "hunter2";

    fn header(name: &str, value: &str) -> Header {
        Header { name: name.into(), value: value.into() }
    }

    fn value_match(name: &str, test: ValueTest) -> ValueMatch {
        ValueMatch { name: name.into(), test: Some(test) }
    }

    fn state() -> State {
        let edit = HeaderEdit {
            set: vec![header("authorization", SECRET), header("x-tier", "gold")],
            add: vec![header("x-api-key", SECRET)],
            remove: vec!["cookie".into()],
        };
        let rule = Rule {
            route: "shop/api".into(),
            id: "things".into(),
            attachments: vec![Attachment {
                listener: "shop/gw/https".into(),
                hostnames: vec!["api.example.com".into()],
            }],
            matches: vec![HttpMatch {
                path: Some(PathMatch::Prefix("/v1".into())),
                headers: vec![value_match("X-Auth-Token", ValueTest::Exact(SECRET.into()))],
                query: vec![value_match("session", ValueTest::Regex(SECRET.into()))],
                method: "GET".into(),
            }],
            filters: vec![Step { action: Some(StepAction::RequestHeaders(edit)) }],
            ..Rule::default()
        };
        [
            ResourceKind::Certificate(Certificate {
                name: "shop/tls".into(),
                chain_pem: b"public chain".to_vec(),
                key_pem: SECRET.into(),
            }),
            ResourceKind::Filter(Filter {
                name: "shop/key".into(),
                config_json: format!("{{\"keys\":[\"{SECRET}\"]}}"),
                ..Filter::default()
            }),
            ResourceKind::Backend(Backend { name: "shop/api:80".into(), protocol: 1 }),
            ResourceKind::Rule(rule),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn no_secret_is_shown() {
        let text = dump(&state(), []).to_string();
        assert!(!text.contains(SECRET), "{text}");
    }

    #[test]
    fn everything_else_is_shown_under_the_key_it_has_in_the_configuration() {
        let state = state();
        let dump = dump(&state, []);
        assert_eq!(dump["version"], state.version().to_string());
        let rule = &dump["resources"]["rule"]["shop/api/things"];
        assert_eq!(rule["matches"][0]["path"]["prefix"], "/v1");
        assert_eq!(rule["matches"][0]["headers"][0]["name"], "X-Auth-Token");
        assert_eq!(rule["filters"][0]["requestHeaders"]["set"][1]["value"], "gold");
        assert_eq!(rule["filters"][0]["requestHeaders"]["set"][0]["value"], REDACTED);
        assert_eq!(dump["resources"]["backend"]["shop/api:80"]["protocol"], "H2c");
        assert_eq!(dump["resources"]["certificate"]["shop/tls"]["chainPem"], "public chain");
        let config = &dump["resources"]["filter"]["shop/key"]["config"];
        assert_eq!(config["bytes"], 20);
        assert_eq!(config["sha256"].as_str().unwrap().len(), 64);
    }
}
