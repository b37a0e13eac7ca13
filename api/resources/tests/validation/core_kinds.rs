//! What the API server refuses in the core kinds.

use penstock_resources::validate::validate;
use serde_json::{Value, json};

use crate::support::{Case, run};

#[test]
fn service() {
    let valid = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart", "namespace": "web"},
        "spec": {
            "selector": {"app": "cart"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "kubernetes.io/h2c"},
                {"name": "https", "port": 443, "targetPort": 8443},
            ],
        },
        "status": {"loadBalancer": {}},
    });
    const PORTS: &str = "/spec/ports";
    run(
        &valid,
        vec![
            Case {
                name: "an external name",
                set: "/spec",
                to: json!({"type": "ExternalName", "externalName": "example.com"}),
                refused: None,
            },
            Case {
                name: "ExternalName without the name",
                set: "/spec",
                to: json!({"type": "ExternalName"}),
                refused: Some(("/spec", "needs `externalName`")),
            },
            Case {
                name: "no ports",
                set: PORTS,
                to: Value::Null,
                refused: Some(("/spec", "`ports` needs at least one port")),
            },
            Case {
                name: "no ports of a headless service",
                set: "/spec",
                to: json!({"clusterIP": "None"}),
                refused: None,
            },
            Case {
                name: "a cluster address that is none",
                set: "/spec/clusterIP",
                to: json!("here"),
                refused: Some(("/spec/clusterIP", "must be an IP address")),
            },
            Case {
                name: "a port beyond 65535",
                set: "/spec/ports/0/port",
                to: json!(70_000),
                refused: Some(("/spec/ports/0/port", "from 1 to 65535")),
            },
            Case {
                name: "a target port of 0",
                set: "/spec/ports/0/targetPort",
                to: json!(0),
                refused: Some(("/spec/ports/0/targetPort", "from 1 to 65535")),
            },
            Case {
                name: "several ports need names",
                set: "/spec/ports/0/name",
                to: Value::Null,
                refused: Some((PORTS, "each port needs a `name`")),
            },
            Case {
                name: "port names differ",
                set: "/spec/ports/0/name",
                to: json!("https"),
                refused: Some((PORTS, "the names of ports must differ")),
            },
            Case {
                name: "ports differ",
                set: "/spec/ports/0/port",
                to: json!(443),
                refused: Some(("/spec/ports/1", "the same `port` and `protocol` as item 0")),
            },
            Case {
                name: "a port name is a label",
                set: "/spec/ports/0/name",
                to: json!("HTTP"),
                refused: Some(("/spec/ports/0/name", "`HTTP` is not")),
            },
            Case {
                name: "an unknown type",
                set: "/spec/type",
                to: json!("Loadbalancer"),
                refused: Some(("/spec/type", "did you mean `LoadBalancer`?")),
            },
            Case {
                name: "an unknown field",
                set: "/spec/selectors",
                to: json!({}),
                refused: Some(("/spec/selectors", "did you mean `selector`?")),
            },
            Case {
                name: "the name begins with a letter",
                set: "/metadata/name",
                to: json!("1cart"),
                refused: Some(("/metadata/name", "RFC 1035 label")),
            },
        ],
    );
}

#[test]
fn endpoint_slice() {
    let valid = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "cart-1", "labels": {"kubernetes.io/service-name": "cart"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 3000}],
    });
    const ADDRESS: &str = "/endpoints/0/addresses/0";
    run(
        &valid,
        vec![
            Case {
                name: "an address of another family",
                set: ADDRESS,
                to: json!("2001:db8::1"),
                refused: Some((ADDRESS, "is not an IPv4 address, as `addressType` says")),
            },
            Case {
                name: "an address with a port",
                set: ADDRESS,
                to: json!("192.0.2.1:80"),
                refused: Some((ADDRESS, "is not an IPv4 address")),
            },
            Case {
                name: "no addresses",
                set: "/endpoints/0/addresses",
                to: json!([]),
                refused: Some(("/endpoints/0/addresses", "at least 1")),
            },
            Case {
                name: "an unknown address type",
                set: "/addressType",
                to: json!("ipv4"),
                refused: Some(("/addressType", "did you mean `IPv4`?")),
            },
            Case {
                name: "two ports of one name",
                set: "/ports",
                to: json!([{"port": 1}, {"port": 2}]),
                refused: Some(("/ports/1", "the same `name` as item 0")),
            },
            Case { name: "no endpoints", set: "/endpoints", to: Value::Null, refused: None },
        ],
    );
}

#[test]
fn secret() {
    let valid = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"},
        "type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}, "stringData": {"tls.key": "x"},
    });
    run(
        &valid,
        vec![
            Case {
                name: "a TLS secret has a key",
                set: "/stringData",
                to: Value::Null,
                refused: Some(("/data/tls.key", "required in a Secret of type kubernetes.io/tls")),
            },
            Case {
                name: "a key is a file name",
                set: "/data/a~1b",
                to: json!("eA=="),
                refused: Some(("/data/a~1b", "is not a key")),
            },
            Case {
                name: "values are texts",
                set: "/stringData/tls.key",
                to: json!(1),
                refused: Some(("/stringData/tls.key", "write it in quotes")),
            },
        ],
    );
    let mut plain = valid;
    plain["data"]["tls.crt"] = json!("-----BEGIN secret");
    let found = validate(&plain);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].pointer, "/data/tls.crt");
    assert_eq!(found[0].message, "is not base64; plain text goes under `stringData`");
}

#[test]
fn config_map_and_namespace() {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "modules"},
        "data": {"a.txt": "text"}, "binaryData": {"a.wasm": "AGFzbQ=="},
    });
    run(
        &map,
        vec![
            Case {
                name: "a key in both",
                set: "/binaryData/a.txt",
                to: json!("eA=="),
                refused: Some(("/binaryData/a.txt", "is under `data` as well")),
            },
            Case {
                name: "more than a mebibyte",
                set: "/data/a.txt",
                to: json!("x".repeat(1024 * 1024)),
                refused: Some(("/data", "at most 1048576 are allowed")),
            },
            Case {
                name: "binary data is base64",
                set: "/binaryData/a.wasm",
                to: json!("§"),
                refused: Some(("/binaryData/a.wasm", "is not base64")),
            },
        ],
    );
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}});
    run(
        &namespace,
        vec![Case {
            name: "a namespace is a label",
            set: "/metadata/name",
            to: json!("a.b"),
            refused: Some(("/metadata/name", "RFC 1123 label")),
        }],
    );
}
