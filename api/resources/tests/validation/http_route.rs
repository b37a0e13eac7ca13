//! What Gateway API v1.6.1 refuses in an HTTPRoute, one row for each rule that matters to its author.

use penstock_resources::validate::validate;
use serde_json::{Value, json};

use crate::support::{Case, run};

fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "web"},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "https"}],
            "hostnames": ["shop.example.com", "*.shop.example.com"],
            "rules": [{
                "matches": [{
                    "path": {"type": "PathPrefix", "value": "/cart"},
                    "headers": [{"name": "X-Tenant", "value": "a"}],
                    "method": "GET",
                }],
                "filters": [
                    {"type": "RequestHeaderModifier", "requestHeaderModifier": {
                        "set": [{"name": "X-A", "value": "1"}],
                    }},
                    {"type": "ExtensionRef", "extensionRef": {
                        "group": "penstock.dev", "kind": "WasmFilter", "name": "tag",
                    }},
                ],
                "backendRefs": [{"name": "cart", "port": 8080, "weight": 1}],
                "timeouts": {"request": "10s", "backendRequest": "2s"},
            }],
        },
    })
}

fn rewrite(path: Value) -> Value {
    json!({"type": "URLRewrite", "urlRewrite": {"path": path}})
}

fn prefix(value: &str) -> Value {
    json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": value})
}

#[test]
fn http_route_filters() {
    let redirect = json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}});
    let extension = json!({"type": "ExtensionRef", "extensionRef": {
        "group": "penstock.dev", "kind": "WasmFilter", "name": "f",
    }});
    let mut without_backends = route();
    without_backends["spec"]["rules"][0].as_object_mut().unwrap().remove("backendRefs");
    const AT: &str = "/spec/rules/0/filters";
    run(
        &without_backends,
        vec![
            Case {
                name: "URLRewrite and RequestRedirect exclude each other",
                set: AT,
                to: json!([redirect, rewrite(prefix("/"))]),
                refused: Some((AT, "but not both")),
            },
            Case {
                name: "at most 16 filters",
                set: AT,
                to: Value::Array(vec![extension.clone(); 17]),
                refused: Some((AT, "has 17 items, at most 16")),
            },
            Case {
                name: "ExtensionRef may be repeated",
                set: AT,
                to: Value::Array(vec![extension.clone(); 16]),
                refused: None,
            },
            Case {
                name: "a native filter may not be repeated",
                set: AT,
                to: json!([redirect, redirect]),
                refused: Some((AT, "RequestRedirect filter cannot be repeated")),
            },
            Case {
                name: "a filter's type and its field belong together",
                set: "/spec/rules/0/filters/0",
                to: json!({"type": "URLRewrite", "extensionRef": extension["extensionRef"]}),
                refused: Some(("/spec/rules/0/filters/0", "urlRewrite must be specified")),
            },
            Case {
                name: "a filter's field is required by its type",
                set: "/spec/rules/0/filters/1",
                to: json!({"type": "ExtensionRef"}),
                refused: Some((
                    "/spec/rules/0/filters/1",
                    "filter.extensionRef must be specified for ExtensionRef filter.type",
                )),
            },
            Case {
                name: "an unknown filter type is answered with the known ones",
                set: "/spec/rules/0/filters/1/type",
                to: json!("ExtensionRefs"),
                refused: Some(("/spec/rules/0/filters/1/type", "did you mean `ExtensionRef`?")),
            },
            Case {
                name: "header names are set once",
                set: "/spec/rules/0/filters/0/requestHeaderModifier/set",
                to: json!([{"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]),
                refused: Some((
                    "/spec/rules/0/filters/0/requestHeaderModifier/set/1",
                    "the same `name` as item 0",
                )),
            },
            Case {
                name: "headers are removed once",
                set: "/spec/rules/0/filters/0/requestHeaderModifier/remove",
                to: json!(["a", "b", "a"]),
                refused: Some((
                    "/spec/rules/0/filters/0/requestHeaderModifier/remove/2",
                    "the same value as item 0",
                )),
            },
            Case {
                name: "a header name is a token",
                set: "/spec/rules/0/filters/0/requestHeaderModifier/set/0/name",
                to: json!("X-A:"),
                refused: Some((
                    "/spec/rules/0/filters/0/requestHeaderModifier/set/0/name",
                    "an HTTP field name",
                )),
            },
            Case {
                name: "ReplacePrefixMatch with a PathPrefix match",
                set: AT,
                to: json!([rewrite(prefix("/basket"))]),
                refused: None,
            },
            Case {
                name: "a path modifier's type and its field belong together",
                set: AT,
                to: json!([rewrite(json!({"type": "ReplaceFullPath", "replacePrefixMatch": "/"}))]),
                refused: Some((
                    "/spec/rules/0/filters/0/urlRewrite/path",
                    "replaceFullPath must be specified",
                )),
            },
            Case {
                name: "a mirror takes a percentage or a fraction",
                set: AT,
                to: json!([{"type": "RequestMirror", "requestMirror": {
                    "backendRef": {"name": "b", "port": 1}, "percent": 1,
                    "fraction": {"numerator": 1},
                }}]),
                refused: Some((
                    "/spec/rules/0/filters/0/requestMirror",
                    "Only one of percent or fraction",
                )),
            },
            Case {
                name: "a redirect's status is one of those that redirect",
                set: AT,
                to: json!([{"type": "RequestRedirect", "requestRedirect": {"statusCode": 304}}]),
                refused: Some(("/spec/rules/0/filters/0/requestRedirect/statusCode", "is none of")),
            },
        ],
    );
}

#[test]
fn http_route_prefix_replacement_needs_exactly_one_prefix_match() {
    let mut value = route();
    value["spec"]["rules"][0]["filters"] = json!([rewrite(prefix("/basket"))]);
    const RULE: &str = "/spec/rules/0";
    const MESSAGE: &str = "exactly one PathPrefix match must be specified";
    run(
        &value,
        vec![
            Case {
                name: "an exact match",
                set: "/spec/rules/0/matches/0/path/type",
                to: json!("Exact"),
                refused: Some((RULE, MESSAGE)),
            },
            Case {
                name: "two matches",
                set: "/spec/rules/0/matches",
                to: json!([{"path": {"value": "/a"}}, {"path": {"value": "/b"}}]),
                refused: Some((RULE, MESSAGE)),
            },
            Case {
                name: "no match stands for the prefix /",
                set: "/spec/rules/0/matches",
                to: Value::Null,
                refused: None,
            },
            Case {
                name: "within a backendRef",
                set: RULE,
                to: json!({
                    "matches": [{"path": {"type": "Exact", "value": "/a"}}],
                    "backendRefs": [
                        {"name": "b", "port": 1, "filters": [rewrite(prefix("/"))]},
                    ],
                }),
                refused: Some((RULE, "Within backendRefs")),
            },
        ],
    );
}

#[test]
fn http_route_matches() {
    const PATH: &str = "/spec/rules/0/matches/0/path";
    const VALUE: &str = "/spec/rules/0/matches/0/path/value";
    let refused = |name, to: &str, part| Case {
        name,
        set: VALUE,
        to: json!(to),
        refused: Some((PATH, part)),
    };
    run(
        &route(),
        vec![
            refused("a path is absolute", "cart", "must be an absolute path"),
            refused("no empty element", "/a//b", "must not contain '//'"),
            refused("no dot element", "/a/./b", "must not contain '/./'"),
            refused("no double dot element", "/a/../b", "must not contain '/../'"),
            refused("no dot at the end", "/a/.", "must not end with '/.'"),
            refused("no double dot at the end", "/a/..", "must not end with '/..'"),
            refused("no encoded slash", "/a%2fb", "must not contain '%2f'"),
            refused("no fragment", "/a#b", "must not contain '#'"),
            refused("only characters of a path", "/a b", "must only contain valid characters"),
            Case {
                name: "a regular expression is another matter",
                set: PATH,
                to: json!({"type": "RegularExpression", "value": "a//.*"}),
                refused: None,
            },
            Case {
                name: "an unknown path type",
                set: "/spec/rules/0/matches/0/path/type",
                to: json!("Prefix"),
                refused: Some(("/spec/rules/0/matches/0/path/type", "`Prefix` is unknown")),
            },
            Case {
                name: "a method in lower case",
                set: "/spec/rules/0/matches/0/method",
                to: json!("get"),
                refused: Some(("/spec/rules/0/matches/0/method", "did you mean `GET`?")),
            },
            Case {
                name: "a header is matched once",
                set: "/spec/rules/0/matches/0/headers",
                to: json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]),
                refused: Some(("/spec/rules/0/matches/0/headers/1", "the same `name` as item 0")),
            },
            Case {
                name: "at most 64 matches in a rule",
                set: "/spec/rules/0/matches",
                to: Value::Array(vec![json!({"method": "GET"}); 65]),
                refused: Some(("/spec/rules/0/matches", "has 65 items, at most 64")),
            },
        ],
    );
}

#[test]
fn http_route_at_most_128_matches_in_all() {
    let rule = |matches: usize| json!({"matches": vec![json!({"method": "GET"}); matches]});
    let mut value = route();
    value["spec"]["rules"] = json!([rule(64), rule(64)]);
    assert_eq!(validate(&value), []);
    value["spec"]["rules"] = json!([rule(64), rule(64), rule(1)]);
    let found = validate(&value);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].pointer, "/spec/rules");
    assert!(found[0].message.contains("must be less than 128"), "{found:?}");
}

#[test]
fn http_route_backends_and_timeouts() {
    const BACKEND: &str = "/spec/rules/0/backendRefs/0";
    run(
        &route(),
        vec![
            Case {
                name: "a weight beyond a million",
                set: "/spec/rules/0/backendRefs/0/weight",
                to: json!(1_000_001),
                refused: Some((
                    "/spec/rules/0/backendRefs/0/weight",
                    "out of range: it must be from 0 to 1000000",
                )),
            },
            Case {
                name: "a weight of a million",
                set: "/spec/rules/0/backendRefs/0/weight",
                to: json!(1_000_000),
                refused: None,
            },
            Case {
                name: "a Service needs a port",
                set: BACKEND,
                to: json!({"name": "cart"}),
                refused: Some((BACKEND, "Must have port for Service reference")),
            },
            Case {
                name: "another kind needs none",
                set: BACKEND,
                to: json!({"group": "example.com", "kind": "Bucket", "name": "cart"}),
                refused: None,
            },
            Case {
                name: "a port beyond 65535",
                set: "/spec/rules/0/backendRefs/0/port",
                to: json!(65_536),
                refused: Some(("/spec/rules/0/backendRefs/0/port", "from 1 to 65535")),
            },
            Case {
                name: "a port in quotes",
                set: "/spec/rules/0/backendRefs/0/port",
                to: json!("8080"),
                refused: Some(("/spec/rules/0/backendRefs/0/port", "without quotes")),
            },
            Case {
                name: "a redirect has no backends",
                set: "/spec/rules/0/filters",
                to: json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]),
                refused: Some(("/spec/rules/0", "must not be used together with backendRefs")),
            },
            Case {
                name: "a try is not longer than the request",
                set: "/spec/rules/0/timeouts/backendRequest",
                to: json!("11s"),
                refused: Some(("/spec/rules/0/timeouts", "cannot be longer than request")),
            },
            Case {
                name: "0s switches the timeout off",
                set: "/spec/rules/0/timeouts/request",
                to: json!("0s"),
                refused: None,
            },
            Case {
                name: "a duration follows GEP-2257",
                set: "/spec/rules/0/timeouts/request",
                to: json!("1.5s"),
                refused: Some(("/spec/rules/0/timeouts/request", "`1.5s` is not a duration")),
            },
        ],
    );
}

#[test]
fn http_route_names_and_parents() {
    run(
        &route(),
        vec![
            Case {
                name: "a hostname has no port",
                set: "/spec/hostnames/0",
                to: json!("shop.example.com:80"),
                refused: Some(("/spec/hostnames/0", "without scheme or port")),
            },
            Case {
                name: "a wildcard stands at the beginning",
                set: "/spec/hostnames/0",
                to: json!("shop.*.com"),
                refused: Some(("/spec/hostnames/0", "`*.` only at the beginning")),
            },
            Case {
                name: "at most 16 hostnames",
                set: "/spec/hostnames",
                to: (0..17).map(|i| json!(format!("{i}.example.com"))).collect(),
                refused: Some(("/spec/hostnames", "has 17 items, at most 16")),
            },
            Case {
                name: "an unknown field is answered with the right name",
                set: "/spec/hostname",
                to: json!("shop.example.com"),
                refused: Some(("/spec/hostname", "did you mean `hostnames`?")),
            },
            Case {
                name: "experimental fields are not in the standard channel",
                set: "/spec/rules/0/retry",
                to: json!({"attempts": 1}),
                refused: Some(("/spec/rules/0/retry", "unknown field `retry`")),
            },
            Case {
                name: "two references to one parent need section names",
                set: "/spec/parentRefs",
                to: json!([{"name": "edge"}, {"name": "edge", "sectionName": "https"}]),
                refused: Some(("/spec/parentRefs", "sectionName must be specified")),
            },
            Case {
                name: "two references to one section",
                set: "/spec/parentRefs",
                to: json!([{"name": "edge"}, {"name": "edge"}]),
                refused: Some(("/spec/parentRefs", "sectionName must be unique")),
            },
            Case {
                name: "a list is a list",
                set: "/spec/parentRefs",
                to: json!({"name": "edge"}),
                refused: Some(("/spec/parentRefs", "expected a list")),
            },
            Case {
                name: "at least one rule",
                set: "/spec/rules",
                to: json!([]),
                refused: Some(("/spec/rules", "at least 1")),
            },
            Case {
                name: "spec is required",
                set: "/spec",
                to: Value::Null,
                refused: Some(("/spec", "`spec` is required")),
            },
            Case {
                name: "a name is required",
                set: "/metadata/name",
                to: Value::Null,
                refused: Some(("/metadata/name", "`name` is required")),
            },
            Case {
                name: "a name follows RFC 1123",
                set: "/metadata/name",
                to: json!("Shop"),
                refused: Some(("/metadata/name", "RFC 1123 subdomain")),
            },
            Case {
                name: "a label key has one slash",
                set: "/metadata/labels",
                to: json!({"a/b/c": "d"}),
                refused: Some(("/metadata/labels/a~1b~1c", "is not a key")),
            },
            Case {
                name: "a label value has no space",
                set: "/metadata/labels",
                to: json!({"a": "b c"}),
                refused: Some(("/metadata/labels/a", "is not the value of a label")),
            },
            Case {
                name: "what a cluster adds is accepted",
                set: "/metadata",
                to: json!({
                    "name": "shop", "namespace": "web", "creationTimestamp": null, "generation": 2,
                    "resourceVersion": "1", "uid": "u",
                    "managedFields": [{"fieldsV1": {"f:spec": {"f:rules": {}}}}],
                }),
                refused: None,
            },
        ],
    );
}

#[test]
fn kinds_and_versions_that_are_not_read() {
    for (api_version, kind, pointer, part) in [
        ("gateway.networking.k8s.io/v1", "TLSRoute", "/kind", "it reads GatewayClass"),
        ("gateway.networking.k8s.io/v1alpha2", "HTTPRoute", "/apiVersion", "write `apiVersion:"),
    ] {
        let mut value = route();
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind);
        let found = validate(&value);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].pointer, pointer);
        assert!(found[0].message.contains(part), "{found:?}");
    }
}

#[test]
fn rules_wait_until_the_structure_is_sound() {
    let mut value = route();
    value["spec"]["rules"][0]["backendRefs"] = json!([{"port": 80}]);
    value["spec"]["rules"][0]["matches"][0]["path"]["value"] = json!("cart");
    let pointers: Vec<_> = validate(&value).into_iter().map(|v| v.pointer).collect();
    assert_eq!(pointers, ["/spec/rules/0/backendRefs/0/name"]);
}
