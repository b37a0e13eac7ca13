//! What the operator wrote about Gateways, routes, filters and pools.

use super::fixtures::{conditions, expect, gateway, object, report, route, well};
use penstock_resources::Kind;
use serde_json::{Value, json};

const GATEWAY: &str = "Gateway shop/web";
const ROUTE: &str = "HTTPRoute shop/app";

#[test]
fn a_gateway_that_is_not_in_service_says_why() {
    let cases: [(Value, &str, &[&str]); 5] = [
        (json!([]), "NotJudged", &["has not judged it yet", "--wait"]),
        (
            conditions(&[("Accepted", "True", "Accepted"), ("Programmed", "False", "Pending")]),
            "Pending",
            &["Programmed is False (Pending): about Pending", "proxies' logs"],
        ),
        (
            conditions(&[("Accepted", "Unknown", "Pending"), ("Programmed", "False", "Pending")]),
            "Pending",
            &["Accepted is Unknown"],
        ),
        (
            conditions(&[
                ("Accepted", "True", "Accepted"),
                ("Programmed", "False", "AddressNotAssigned"),
            ]),
            "AddressNotAssigned",
            &["LoadBalancerPool"],
        ),
        (
            conditions(&[
                ("Accepted", "False", "InvalidParameters"),
                ("Programmed", "False", "Invalid"),
            ]),
            "InvalidParameters",
            &["GatewayConfig"],
        ),
    ];
    for (list, reason, words) in cases {
        let mut seen = well();
        seen.gateways[0].status.as_mut().expect("a status").conditions = Some(object(list));
        expect(&seen, GATEWAY, reason, words);
    }
}

#[test]
fn a_change_that_nobody_judged_yet_is_not_well() {
    let mut seen = well();
    seen.gateways[0].metadata.generation = Some(2);
    let report = report(&seen);
    assert!(report.problems.iter().all(|p| p.reason == "NotJudged"), "{:?}", report.problems);
    assert!(report.problems[0].cause.contains("it was changed"), "{}", report.problems[0]);
}

#[test]
fn a_listener_is_named_and_said_once() {
    let mut seen = well();
    let status = seen.gateways[0].status.as_mut().expect("a status");
    status.conditions = Some(object(conditions(&[
        ("Accepted", "False", "ListenersNotValid"),
        ("Programmed", "False", "Invalid"),
    ])));
    status.listeners.as_mut().expect("listeners")[0].conditions = object(conditions(&[
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "False", "InvalidCertificateRef"),
        ("Programmed", "False", "Invalid"),
    ]));
    let words = ["listener http: ResolvedRefs is False", "kubernetes.io/tls"];
    expect(&seen, GATEWAY, "InvalidCertificateRef", &words);
    let line = &report(&seen).gateways[0];
    assert!(!line.accepted && !line.programmed && !line.listeners[0].programmed);
    assert_eq!(line.listeners[0].attached_routes, 1);
}

#[test]
fn a_listener_that_waits_while_the_gateway_serves_is_named() {
    let mut seen = well();
    let status = seen.gateways[0].status.as_mut().expect("a status");
    status.listeners.as_mut().expect("listeners")[0].conditions =
        object(conditions(&[("Accepted", "True", "Accepted"), ("Programmed", "False", "Pending")]));
    expect(&seen, GATEWAY, "Pending", &["listener http: Programmed is False"]);
}

#[test]
fn a_route_that_is_not_served_as_written_says_why() {
    for (list, reason, words) in [
        (
            vec![("Accepted", "False", "NotAllowedByListeners")],
            "NotAllowedByListeners",
            "allowedRoutes",
        ),
        (
            vec![("Accepted", "True", "Accepted"), ("ResolvedRefs", "False", "BackendNotFound")],
            "BackendNotFound",
            "create the Service",
        ),
        (
            vec![("Accepted", "True", "Accepted"), ("ResolvedRefs", "False", "InvalidFilter")],
            "InvalidFilter",
            "answer 500",
        ),
        (
            vec![
                ("Accepted", "True", "Accepted"),
                ("PartiallyInvalid", "True", "UnsupportedValue"),
            ],
            "UnsupportedValue",
            "parent shop/web: PartiallyInvalid is True",
        ),
    ] {
        let mut seen = well();
        let parents = &mut seen.routes[0].status.as_mut().expect("a status").parents;
        parents[0].conditions = object(conditions(&list));
        expect(&seen, ROUTE, reason, &[words]);
        assert_eq!(report(&seen).routes.not_well, ["shop/app"]);
    }
    let mut seen = well();
    seen.routes[0].status = None;
    expect(&seen, ROUTE, "NotJudged", &["has not judged it yet"]);
}

#[test]
fn what_other_controllers_serve_is_left_alone() {
    let mut seen = well();
    seen.classes.push(object(json!({
        "metadata": {"name": "other", "generation": 1}, "spec": {"controllerName": "x/y"},
    })));
    let mut theirs = gateway();
    theirs.metadata.name = Some("theirs".into());
    theirs.spec.gateway_class_name = "other".into();
    theirs.status = None;
    seen.gateways.push(theirs);
    let mut route = route("theirs");
    route.spec = object(json!({"parentRefs": [{"name": "theirs"}]}));
    route.status = Some(object(json!({"parents": [{
        "controllerName": "x/y", "parentRef": {"name": "theirs"},
        "conditions": conditions(&[("Accepted", "False", "NoMatchingParent")]),
    }]})));
    seen.routes.push(route);
    let report = report(&seen);
    assert!(report.well, "{:?}", report.problems);
    assert_eq!((report.gateways.len(), report.routes.total), (1, 1));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn what_names_something_that_does_not_exist_is_noted() {
    let mut seen = well();
    let mut astray = gateway();
    astray.metadata.name = Some("typo".into());
    astray.spec.gateway_class_name = "penstok".into();
    seen.gateways.push(astray);
    let mut lost = route("lost");
    lost.spec = object(json!({"parentRefs": [{"name": "nowhere"}]}));
    lost.status = None;
    seen.routes.push(lost);
    let report = report(&seen);
    assert!(report.well);
    assert_eq!(
        report.notes,
        [
            "Gateway shop/typo asks for GatewayClass penstok, which does not exist: nobody serves it",
            "HTTPRoute shop/lost names Gateway shop/nowhere, which does not exist: nobody serves it",
        ]
    );
}

#[test]
fn a_class_that_is_not_accepted_or_gone_is_a_problem() {
    let class = "GatewayClass penstock";
    let mut seen = well();
    let status = seen.classes[0].status.as_mut().expect("a status");
    status.conditions = Some(object(conditions(&[
        ("Accepted", "True", "Accepted"),
        ("SupportedVersion", "False", "UnsupportedVersion"),
    ])));
    expect(&seen, class, "UnsupportedVersion", &["v1.5 or v1.6"]);
    let mut seen = well();
    (seen.classes, seen.gateways, seen.routes) = (Vec::new(), Vec::new(), Vec::new());
    expect(&seen, class, "Missing", &["helm upgrade"]);
    let operator = seen.operator.as_mut().expect("a Deployment");
    operator.metadata.annotations = None;
    let report = report(&seen);
    assert!(report.well && report.notes[0].contains("no Gateway is served"), "{:?}", report.notes);
}

#[test]
fn filters_and_pools_that_are_not_accepted_say_why() {
    for (list, reason, words) in [
        (vec![("Accepted", "False", "InvalidConfig")], "InvalidConfig", "correct spec.config"),
        (vec![("ResolvedRefs", "False", "FetchFailed")], "FetchFailed", "spec.module"),
        (vec![("Accepted", "Unknown", "Pending")], "Pending", "fetched and compiled"),
    ] {
        let mut seen = well();
        seen.filters[0].status.as_mut().expect("a status").conditions = object(conditions(&list));
        expect(&seen, "WasmFilter shop/f", reason, &[words]);
        assert_eq!(report(&seen).wasm_filters.not_well, ["shop/f"]);
    }
    let mut seen = well();
    seen.pools[0].status = None;
    expect(&seen, "LoadBalancerPool edge", "NotJudged", &["has not judged it yet"]);
    seen.pools[0].status =
        Some(object(json!({"conditions": conditions(&[("Accepted", "False", "Invalid")])})));
    expect(&seen, "LoadBalancerPool edge", "Invalid", &["about Invalid"]);
}

#[test]
fn definitions_that_are_missing_are_named_with_where_they_come_from() {
    for (kind, object, words) in [
        (
            Kind::ReferenceGrant,
            "CustomResourceDefinition ReferenceGrant (gateway.networking.k8s.io)",
            "release v1.6.1",
        ),
        (
            Kind::GatewayConfig,
            "CustomResourceDefinition GatewayConfig (penstock.dev)",
            "crds.install=true",
        ),
    ] {
        let mut seen = well();
        seen.missing = vec![kind];
        expect(&seen, object, "DefinitionMissing", &[words]);
    }
    let mut seen = well();
    seen.missing = vec![Kind::GatewayClass];
    (seen.classes, seen.gateways, seen.routes) = (Vec::new(), Vec::new(), Vec::new());
    let object = "CustomResourceDefinition GatewayClass (gateway.networking.k8s.io)";
    expect(&seen, object, "DefinitionMissing", &["standard-install.yaml"]);
}
