//! What the definitions of Penstock's own kinds refuse.

use serde_json::{Value, json};

use crate::support::{Case, run};

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn filter() -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
        "metadata": {"name": "tag", "namespace": "web"},
        "spec": {
            "module": {"file": {"path": "tag.wasm"}},
            "config": {"anything": [1, null, {"a": true}]},
            "grants": ["log", "metrics"],
            "limits": {"memory": "32Mi", "deadline": "2ms", "maxInvocations": 1000},
            "onFailure": "Open",
            "opaqueValues": "Lossy",
        },
    })
}

#[test]
fn wasm_filter_module_is_exactly_one_source() {
    const MODULE: &str = "/spec/module";
    let of = |name, to, refused| Case { name, set: MODULE, to, refused };
    run(
        &filter(),
        vec![
            of("none", json!({}), Some((MODULE, "none is given"))),
            of("null is none", json!({"file": null}), Some((MODULE, "none is given"))),
            of(
                "two",
                json!({"file": {"path": "a"}, "configMap": {"name": "m", "key": "k"}}),
                Some((MODULE, "`file` and `configMap` are given: keep one")),
            ),
            of("absent", Value::Null, Some((MODULE, "`module` is required"))),
            of("a ConfigMap", json!({"configMap": {"name": "m", "key": "f.wasm"}}), None),
            of(
                "a ConfigMap without key",
                json!({"configMap": {"name": "m"}}),
                Some(("/spec/module/configMap/key", "`key` is required")),
            ),
            of(
                "a misspelt source",
                json!({"configmap": {"name": "m", "key": "k"}}),
                Some(("/spec/module/configmap", "did you mean `configMap`?")),
            ),
            of(
                "an unknown field of a source",
                json!({"file": {"path": "a", "sha256": DIGEST}}),
                Some(("/spec/module/file/sha256", "unknown field `sha256`")),
            ),
        ],
    );
}

#[test]
fn wasm_filter_modules_from_afar_are_named_without_doubt() {
    const IMAGE: &str = "/spec/module/oci/image";
    let oci = |name, image: String, refused: Option<_>| Case {
        name,
        set: "/spec/module",
        to: json!({"oci": {"image": image, "pullSecretRef": {"name": "pull"}}}),
        refused: refused.map(|part| (IMAGE, part)),
    };
    let http = |name, url: &str, sha256: &str, refused| Case {
        name,
        set: "/spec/module",
        to: json!({"http": {"url": url, "sha256": sha256}}),
        refused,
    };
    const SHA: Option<(&str, &str)> =
        Some(("/spec/module/http/sha256", "64 lower-case hexadecimal digits"));
    const URL: Option<(&str, &str)> = Some(("/spec/module/http/url", "absolute http or https"));
    const GOOD: &str = "https://example.com/f.wasm?v=1";
    let digest = format!("@sha256:{DIGEST}");
    run(
        &filter(),
        vec![
            oci("a digest", format!("registry.example.com/filters/tag{digest}"), None),
            oci("a tag and a digest", format!("localhost:5000/tag:v1{digest}"), None),
            oci("a tag alone", "registry.example.com/tag:v1".into(), None),
            oci("neither", "registry.example.com/tag".into(), Some("end in a tag or a digest")),
            oci(
                "a port and neither",
                "r.example:5000/tag".into(),
                Some("end in a tag or a digest"),
            ),
            oci("no registry", format!("tag{digest}"), Some("must name a registry")),
            oci("a short digest", "r.example/t@sha256:abc".into(), Some("tag or a digest")),
            oci(
                "an upper-case digest",
                format!("r.example/t@sha256:{}", DIGEST.to_uppercase()),
                Some("tag or a digest"),
            ),
            http("pinned", GOOD, DIGEST, None),
            http("a short sum", GOOD, "abc", SHA),
            http("a prefix before the sum", GOOD, &format!("sha256:{DIGEST}"), SHA),
            http("an upper-case sum", GOOD, &DIGEST.to_uppercase(), SHA),
            http("another scheme", "ftp://example.com/f", DIGEST, URL),
            http("no host", "https:///f.wasm", DIGEST, URL),
            http("credentials in the address", "https://a:b@example.com/f", DIGEST, URL),
            Case {
                name: "no sum",
                set: "/spec/module",
                to: json!({"http": {"url": GOOD}}),
                refused: Some(("/spec/module/http/sha256", "`sha256` is required")),
            },
        ],
    );
}

#[test]
fn wasm_filter_limits() {
    const MEMORY: &str = "/spec/limits/memory";
    const DEADLINE: &str = "/spec/limits/deadline";
    const CALLS: &str = "/spec/limits/maxInvocations";
    let memory = |name, to: &str, good: bool| Case {
        name,
        set: MEMORY,
        to: json!(to),
        refused: (!good).then_some((MEMORY, "a quantity from 64Ki to 256Mi")),
    };
    let deadline = |name, to: &str, refused: Option<_>| Case {
        name,
        set: DEADLINE,
        to: json!(to),
        refused: refused.map(|part| (DEADLINE, part)),
    };
    run(
        &filter(),
        vec![
            memory("one page", "64Ki", true),
            memory("less than a page", "63Ki", false),
            memory("the most", "256Mi", true),
            memory("more", "257Mi", false),
            memory("decimal", "16M", true),
            memory("plain bytes", "1048576", true),
            memory("no quantity", "16MB", false),
            memory("negative", "-16Mi", false),
            deadline("the least", "1ms", None),
            deadline("the most", "1s", None),
            deadline("in parts", "500ms500ms", None),
            deadline("nothing", "0s", Some("from 1ms to 1s")),
            deadline("too long", "1001ms", Some("from 1ms to 1s")),
            deadline("finer than GEP-2257", "500us", Some("is not a duration")),
            deadline("no unit", "5", Some("is not a duration")),
            Case {
                name: "a number for a quantity",
                set: MEMORY,
                to: json!(1_048_576),
                refused: Some((MEMORY, "write it in quotes")),
            },
            Case {
                name: "no calls at all",
                set: CALLS,
                to: json!(0),
                refused: Some((CALLS, "at least 1")),
            },
            Case { name: "no limits", set: "/spec/limits", to: Value::Null, refused: None },
        ],
    );
}

#[test]
fn wasm_filter_grants_and_choices() {
    run(
        &filter(),
        vec![
            Case {
                name: "an unknown grant",
                set: "/spec/grants",
                to: json!(["logs"]),
                refused: Some(("/spec/grants/0", "did you mean `log`?")),
            },
            Case {
                name: "a grant twice",
                set: "/spec/grants",
                to: json!(["log", "log"]),
                refused: Some(("/spec/grants/1", "the same value as item 0")),
            },
            Case {
                name: "an unknown choice on failure",
                set: "/spec/onFailure",
                to: json!("Skip"),
                refused: Some(("/spec/onFailure", "Known are `Closed`, `Open`")),
            },
            Case {
                name: "an unknown choice for opaque values",
                set: "/spec/opaqueValues",
                to: json!("lossy"),
                refused: Some(("/spec/opaqueValues", "did you mean `Lossy`?")),
            },
            Case { name: "any configuration", set: "/spec/config", to: json!([1]), refused: None },
        ],
    );
}

#[test]
fn wasm_filter_targets_are_gateway_listeners() {
    const TARGETS: &str = "/spec/targetRefs";
    let target = |group: &str, kind: &str, section: Value| json!({"group": group, "kind": kind, "name": "edge", "sectionName": section});
    let gateway = |section: Value| target("gateway.networking.k8s.io", "Gateway", section);
    let of = |name, to, refused| Case { name, set: TARGETS, to, refused };
    const KIND: Option<(&str, &str)> =
        Some(("/spec/targetRefs/0", "only group gateway.networking.k8s.io, kind Gateway"));
    run(
        &filter(),
        vec![
            of("a listener", json!([gateway(json!("https"))]), None),
            of("two listeners", json!([gateway(json!("a")), gateway(json!("b"))]), None),
            of("the whole Gateway", json!([gateway(Value::Null)]), None),
            of(
                "a listener twice",
                json!([gateway(json!("a")), gateway(json!("a"))]),
                Some((TARGETS, "must not name the same listener twice")),
            ),
            of(
                "a route",
                json!([target("gateway.networking.k8s.io", "HTTPRoute", Value::Null)]),
                KIND,
            ),
            of("another group", json!([target("example.com", "Gateway", Value::Null)]), KIND),
            of(
                "no name",
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway"}]),
                Some(("/spec/targetRefs/0/name", "`name` is required")),
            ),
        ],
    );
}

#[test]
fn gateway_config() {
    let valid = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "GatewayConfig",
        "metadata": {"name": "edge"},
        "spec": {
            "tls": {
                "profiles": [{"name": "old", "minVersion": "1.2"}, {"name": "new", "minVersion": "1.3"}],
                "defaultProfile": "old",
            },
            "clientAddress": {"trustedHops": 1},
            "limits": {
                "maxConnections": 1000, "maxHeaderBytes": 65536, "maxHeaders": 100,
                "headerTimeout": "10s", "idleTimeout": "1m", "maxConcurrentStreams": 100,
                "bodyTimeout": "30s", "maxBodyBytes": 1048576,
            },
        },
    });
    const TLS: &str = "/spec/tls";
    run(
        &valid,
        vec![
            Case { name: "nothing at all", set: "/spec", to: json!({}), refused: None },
            Case {
                name: "a default that is no profile",
                set: "/spec/tls/defaultProfile",
                to: json!("modern"),
                refused: Some((TLS, "defaultProfile must name one of tls.profiles")),
            },
            Case {
                name: "a built-in default",
                set: TLS,
                to: json!({"defaultProfile": "modern"}),
                refused: None,
            },
            Case {
                name: "a default that is not built in",
                set: TLS,
                to: json!({"defaultProfile": "old"}),
                refused: Some((TLS, "defaultProfile must name one of tls.profiles")),
            },
            Case {
                name: "a profile twice",
                set: "/spec/tls/profiles/1/name",
                to: json!("old"),
                refused: Some(("/spec/tls/profiles/1", "the same `name` as item 0")),
            },
            Case {
                name: "a version that is not offered",
                set: "/spec/tls/profiles/0/minVersion",
                to: json!("1.1"),
                refused: Some(("/spec/tls/profiles/0/minVersion", "Known are `1.2`, `1.3`")),
            },
            Case {
                name: "a version without quotes",
                set: "/spec/tls/profiles/0/minVersion",
                to: json!(1.2),
                refused: Some(("/spec/tls/profiles/0/minVersion", "write it in quotes")),
            },
            Case {
                name: "fewer than no hops",
                set: "/spec/clientAddress/trustedHops",
                to: json!(-1),
                refused: Some(("/spec/clientAddress/trustedHops", "from 0 to 32")),
            },
            Case {
                name: "a timeout of nothing",
                set: "/spec/limits/idleTimeout",
                to: json!("0s"),
                refused: Some(("/spec/limits/idleTimeout", "at least 1ms")),
            },
            Case {
                name: "a head smaller than any",
                set: "/spec/limits/maxHeaderBytes",
                to: json!(100),
                refused: Some(("/spec/limits/maxHeaderBytes", "from 8192 to 1048576")),
            },
            Case {
                name: "a limit as a text",
                set: "/spec/limits/maxBodyBytes",
                to: json!("1Mi"),
                refused: Some(("/spec/limits/maxBodyBytes", "expected a whole number")),
            },
        ],
    );
}

#[test]
fn load_balancer_pool() {
    const RANGE: &str = "/spec/ranges/0";
    let pool = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerPool",
        "metadata": {"name": "edge"},
        "spec": {
            "ranges": [{"cidr": "192.0.2.0/28"}, {"start": "2001:db8::1", "stop": "2001:db8::9"}],
            "gatewaySelector": {"matchLabels": {"tier": "edge"}},
            "namespaceSelector": {"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "Exists"},
            ]},
        },
    });
    let range = |name, to, refused: Option<&'static str>| Case {
        name,
        set: RANGE,
        to,
        refused: refused.map(|said| (RANGE, said)),
    };
    let two = "a range has either cidr or start";
    run(
        &pool,
        vec![
            range("one address", json!({"start": "192.0.2.1"}), None),
            range("nothing", json!({}), Some(two)),
            range("both", json!({"cidr": "192.0.2.0/28", "start": "192.0.2.1"}), Some(two)),
            range("an end without a start", json!({"stop": "192.0.2.1"}), Some(two)),
            range("no block", json!({"cidr": "192.0.2.0"}), Some("cidr must be a block")),
            range("too long", json!({"cidr": "192.0.2.0/33"}), Some("cidr must be a block")),
            range("no address", json!({"start": "edge"}), Some("start must be an IP address")),
            range(
                "two families",
                json!({"start": "192.0.2.1", "stop": "2001:db8::"}),
                Some("one address family"),
            ),
            Case {
                name: "no range",
                set: "/spec/ranges",
                to: json!([]),
                refused: Some(("/spec/ranges", "at least 1")),
            },
            Case {
                name: "values with Exists",
                set: "/spec/namespaceSelector/matchExpressions/1/values",
                to: json!(["d"]),
                refused: Some(("/spec/namespaceSelector/matchExpressions/1", "take none")),
            },
            Case {
                name: "another operator",
                set: "/spec/namespaceSelector/matchExpressions/1/operator",
                to: json!("Gt"),
                refused: Some(("/spec/namespaceSelector/matchExpressions/1/operator", "Gt")),
            },
        ],
    );
}
