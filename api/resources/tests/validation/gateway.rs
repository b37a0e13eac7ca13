//! What Gateway API v1.6.1 refuses in a Gateway, a GatewayClass and a ReferenceGrant.

use serde_json::{Value, json};

use crate::support::{Case, run};

fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge"},
        "spec": {
            "gatewayClassName": "penstock",
            "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP"},
                {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.example.com",
                 "tls": {"certificateRefs": [{"name": "cert"}]}},
            ],
        },
    })
}

#[test]
fn gateway_listeners() {
    const LISTENERS: &str = "/spec/listeners";
    run(
        &gateway(),
        vec![
            Case {
                name: "an HTTPS listener without tls is accepted: the rule was taken back (#5021)",
                set: "/spec/listeners/1/tls",
                to: Value::Null,
                refused: None,
            },
            Case {
                name: "an HTTP listener with tls",
                set: "/spec/listeners/0/tls",
                to: json!({"certificateRefs": [{"name": "cert"}]}),
                refused: Some((LISTENERS, "tls must not be specified for protocols")),
            },
            Case {
                name: "Terminate needs certificates or options",
                set: "/spec/listeners/1/tls",
                to: json!({"mode": "Terminate"}),
                refused: Some((
                    "/spec/listeners/1/tls",
                    "certificateRefs or options must be specified",
                )),
            },
            Case {
                name: "an HTTPS listener terminates",
                set: "/spec/listeners/1/tls",
                to: json!({"mode": "Passthrough"}),
                refused: Some((LISTENERS, "tls mode must be Terminate for protocol HTTPS")),
            },
            Case {
                name: "listener names differ",
                set: "/spec/listeners/1/name",
                to: json!("http"),
                refused: Some((LISTENERS, "Listener name must be unique")),
            },
            Case {
                name: "port, protocol and hostname differ",
                set: "/spec/listeners/1",
                to: json!({"name": "other", "port": 80, "protocol": "HTTP"}),
                refused: Some((LISTENERS, "Combination of port, protocol and hostname")),
            },
            Case {
                name: "a TCP listener has no hostname",
                set: "/spec/listeners/0",
                to: json!({"name": "tcp", "port": 80, "protocol": "TCP", "hostname": "a.b"}),
                refused: Some((LISTENERS, "hostname must not be specified for protocols")),
            },
            Case {
                name: "a port is between 1 and 65535",
                set: "/spec/listeners/0/port",
                to: json!(0),
                refused: Some(("/spec/listeners/0/port", "from 1 to 65535")),
            },
            Case {
                name: "at most 64 listeners",
                set: LISTENERS,
                to: (1..=65)
                    .map(|i| json!({"name": format!("l{i}"), "port": i, "protocol": "HTTP"}))
                    .collect(),
                refused: Some((LISTENERS, "has 65 items, at most 64")),
            },
            Case {
                name: "an unknown source of routes",
                set: "/spec/listeners/0/allowedRoutes",
                to: json!({"namespaces": {"from": "Everywhere"}}),
                refused: Some((
                    "/spec/listeners/0/allowedRoutes/namespaces/from",
                    "Known are `All`, `Selector`, `Same`",
                )),
            },
        ],
    );
}

#[test]
fn gateway_addresses_and_infrastructure() {
    run(
        &gateway(),
        vec![
            Case {
                name: "an address without value asks for one",
                set: "/spec/addresses",
                to: json!([{"type": "IPAddress"}, {"value": "192.0.2.1"}, {"value": "2001:db8::1"}]),
                refused: None,
            },
            Case {
                name: "an IP address is one",
                set: "/spec/addresses",
                to: json!([{"value": "192.0.2.256"}]),
                refused: Some(("/spec/addresses/0", "value has none of the allowed forms")),
            },
            Case {
                name: "addresses differ",
                set: "/spec/addresses",
                to: json!([{"value": "192.0.2.1"}, {"value": "192.0.2.1"}]),
                refused: Some(("/spec/addresses", "IPAddress values must be unique")),
            },
            Case {
                name: "a host name is one",
                set: "/spec/addresses",
                to: json!([{"type": "Hostname", "value": "a_b"}]),
                refused: Some(("/spec/addresses/0", "Hostname value must be empty or contain")),
            },
            Case {
                name: "infrastructure labels have keys",
                set: "/spec/infrastructure",
                to: json!({"labels": {"-a": "b"}}),
                refused: Some(("/spec/infrastructure/labels", "Label keys must be in the form")),
            },
            Case {
                name: "the frontend's ports differ",
                set: "/spec/tls",
                to: json!({"frontend": {
                    "default": {},
                    "perPort": [{"port": 443, "tls": {}}, {"port": 443, "tls": {}}],
                }}),
                refused: Some(("/spec/tls/frontend/perPort/1", "the same `port` as item 0")),
            },
        ],
    );
}

#[test]
fn gateway_class_and_reference_grant() {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "penstock"},
        "spec": {"controllerName": "penstock.dev/gateway-controller"},
    });
    run(
        &class,
        vec![
            Case {
                name: "a controller name has a path",
                set: "/spec/controllerName",
                to: json!("penstock.dev"),
                refused: Some(("/spec/controllerName", "`penstock.dev` is not of the form")),
            },
            Case {
                name: "a class belongs to no namespace",
                set: "/metadata/namespace",
                to: json!("web"),
                refused: Some(("/metadata/namespace", "belongs to no namespace")),
            },
        ],
    );
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "web"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    });
    run(
        &grant,
        vec![
            Case {
                name: "a grant is for somebody",
                set: "/spec/from",
                to: json!([]),
                refused: Some(("/spec/from", "at least 1")),
            },
            Case {
                name: "a grant says from which namespace",
                set: "/spec/from/0/namespace",
                to: Value::Null,
                refused: Some(("/spec/from/0/namespace", "`namespace` is required")),
            },
        ],
    );
}
