//! Point 19 and decision 6: WasmFilters in `ExtensionRef`s.

use crate::fixture::{Seen, World, filter, route, steps};
use penstock_config::{Kind, OnFailure, OpaqueValues, PolicyKind};
use penstock_gateway::FilterReason;

fn extension(name: &str) -> String {
    format!(
        "{{type: ExtensionRef, extensionRef: {{group: penstock.dev, kind: WasmFilter, name: {name}}}}}"
    )
}

fn at_rule(filters: &str) -> String {
    route(
        "r",
        &format!(
            "rules: [{{name: with, matches: [{{path: {{value: /w}}}}], filters: [{filters}], \
             backendRefs: [{{name: a, port: 80}}]}}, \
             {{name: without, backendRefs: [{{name: b, port: 80}}]}}]"
        ),
    )
}

fn at_backend(filters: &str) -> String {
    route(
        "r",
        &format!(
            "rules: [{{backendRefs: [{{name: a, port: 80, weight: 3}}, \
             {{name: b, port: 80, weight: 1, filters: [{filters}]}}]}}]"
        ),
    )
}

#[test]
fn s7_19_filters_keep_their_listed_order() {
    let modifier = "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}";
    let list =
        format!("{}, {modifier}, {}, {}", extension("one"), extension("two"), extension("one"));
    let world = World::new(&[&filter("one", ""), &filter("two", ""), &at_rule(&list)])
        .ready("one", PolicyKind::Headers)
        .ready("two", PolicyKind::Paths);
    let seen = world.translate();
    let rule = &seen.rules_of("default/r")[0];
    assert_eq!(
        steps(&rule.filters),
        ["policy default/one", "request-headers", "policy default/two", "policy default/one"]
    );
    assert_eq!(seen.keys(Kind::Filter), ["default/one", "default/two"]);
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");

    let seen = World::new(&[&filter("one", ""), &at_backend(&extension("one"))])
        .ready("one", PolicyKind::Headers)
        .translate();
    assert_eq!(steps(&seen.only_rule().backends[1].filters), ["policy default/one"]);
}

#[test]
fn s7_19_an_unresolvable_filter_answers_500_on_exactly_its_rule_or_share() {
    let kind = "{type: ExtensionRef, extensionRef: {group: penstock.dev, kind: Other, name: x}}";
    let group =
        "{type: ExtensionRef, extensionRef: {group: example.com, kind: WasmFilter, name: x}}";
    let cases = [
        (extension("absent"), "InvalidFilter"),
        (kind.to_owned(), "InvalidKind"),
        (group.to_owned(), "InvalidKind"),
        (extension("pending"), "Pending"),
        (extension("failed"), "InvalidFilter"),
        (extension("limits"), "InvalidFilter"),
    ];
    for (filters, reason) in cases {
        let world = |spec: &str| {
            World::new(&[
                &filter("pending", ""),
                &filter("failed", ""),
                &filter("limits", ", limits: {memory: lots}"),
                spec,
            ])
            .failed("failed", FilterReason::InvalidConfig)
            .ready("limits", PolicyKind::Headers)
            .translate()
        };
        let seen = world(&at_rule(&filters));
        let rules = seen.rules_of("default/r");
        assert_eq!(steps(&rules[0].filters), [format!("500 {reason}")], "{filters}");
        assert!(rules[1].filters.is_empty(), "the other rule is untouched");
        assert_eq!(seen.route("r", "Accepted"), "True Accepted");
        assert_eq!(seen.route("r", "ResolvedRefs"), format!("False {reason}"), "{filters}");
        assert_eq!(seen.route("r", "PartiallyInvalid"), "");

        let seen = world(&at_backend(&filters));
        let backends = seen.only_rule().backends;
        assert!(backends[0].failure.is_none() && backends[0].weight == 3, "{filters}");
        assert_eq!(backends[1].failure.as_ref().map(|f| f.reason.as_str()), Some(reason));
        assert_eq!(backends[1].weight, 1);
        assert_eq!(seen.route("r", "ResolvedRefs"), format!("False {reason}"), "{filters}");
    }
}

#[test]
fn s7_19_a_filter_of_another_namespace_is_out_of_reach() {
    let elsewhere = filter("one", "").replace("{name: one,", "{name: one, namespace: other,");
    let seen = World::new(&[&elsewhere, &at_rule(&extension("one"))]).translate();
    assert_eq!(seen.route("r", "ResolvedRefs"), "False InvalidFilter");
}

#[test]
fn what_users_write_reaches_the_nodes() {
    let spec = ", config: {b: 1, a: {d: [2, {z: 1, y: 2}], c: x}}, grants: [trace, log], \
                limits: {memory: 1Mi, deadline: 20ms, maxInvocations: 9}, onFailure: Open, \
                opaqueValues: Lossy";
    let seen = World::new(&[&filter("one", spec), &at_rule(&extension("one"))])
        .ready("one", PolicyKind::Headers)
        .translate();
    let one = seen.filter("default/one");
    assert_eq!(one.config_json, r#"{"a":{"c":"x","d":[2,{"y":2,"z":1}]},"b":1}"#);
    assert_eq!(one.grants, ["log", "trace"]);
    assert_eq!((one.memory_bytes, one.deadline_us, one.max_invocations), (1 << 20, 20_000, 9));
    assert_eq!((one.on_failure(), one.opaque_values()), (OnFailure::Open, OpaqueValues::Lossy));
    assert_eq!((one.module.as_str(), one.generation), ("sha256:one", 4));

    let seen = World::new(&[&filter("one", ""), &at_rule(&extension("one"))])
        .ready("one", PolicyKind::Headers)
        .translate();
    let one = seen.filter("default/one");
    assert_eq!(
        (one.config_json.as_str(), one.memory_bytes, one.deadline_us),
        ("null", 16 << 20, 5_000)
    );
    assert_eq!((one.on_failure(), one.opaque_values()), (OnFailure::Closed, OpaqueValues::Reject));
}

fn programmed_message(seen: &Seen) -> String {
    let status = seen.statuses.wasm_filters.values().next().expect("a status");
    let programmed = status.conditions.iter().find(|c| c.type_ == "Programmed");
    programmed.expect("Programmed").message.clone()
}

#[test]
fn the_status_of_a_filter_says_what_was_found_out() {
    let world = |used: bool| {
        let spec = at_rule(&if used { extension("one") } else { String::new() });
        World::new(&[&filter("one", ""), &spec])
    };
    let seen = world(true).ready("one", PolicyKind::Headers).translate();
    assert_eq!(seen.wasm("one", "Accepted"), "True Accepted");
    assert_eq!(seen.wasm("one", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.wasm("one", "Programmed"), "False Pending");
    assert_eq!(seen.confirm(&[]).wasm("one", "Programmed"), "True Programmed");
    assert!(programmed_message(&seen).contains("waiting for the proxies"));
    let status = seen.statuses.wasm_filters.values().next().expect("a status");
    assert_eq!(status.digest.as_deref(), Some("sha256:one"));
    assert_eq!(status.kind.as_deref(), Some("headers"));
    let plan = status.plan.as_ref().expect("a plan");
    assert_eq!((plan.reads[0].as_str(), plan.tier.as_deref()), ("path", Some("memo")));

    let unused = world(false).ready("one", PolicyKind::Headers).translate();
    assert!(unused.keys(Kind::Filter).is_empty(), "nodes do not load what nothing uses");
    assert_eq!(unused.confirm(&[]).wasm("one", "Programmed"), "False Pending");
    assert!(programmed_message(&unused).contains("no route or listener"));

    let pending = world(true).translate();
    assert_eq!(pending.wasm("one", "Accepted"), "Unknown Pending");
    assert_eq!(pending.wasm("one", "ResolvedRefs"), "Unknown Pending");

    for (reason, accepted, resolved) in [
        (FilterReason::ModuleNotFound, "Unknown Pending", "False ModuleNotFound"),
        (FilterReason::FetchFailed, "Unknown Pending", "False FetchFailed"),
        (FilterReason::AccessDenied, "Unknown Pending", "False AccessDenied"),
        (FilterReason::DigestMismatch, "Unknown Pending", "False DigestMismatch"),
        (FilterReason::UnsupportedSource, "Unknown Pending", "False UnsupportedSource"),
        (FilterReason::ModuleInvalid, "False ModuleInvalid", "True ResolvedRefs"),
        (FilterReason::WrongWorld, "False WrongWorld", "True ResolvedRefs"),
        (FilterReason::TooLarge, "False TooLarge", "True ResolvedRefs"),
        (FilterReason::CapabilityDenied, "False CapabilityDenied", "True ResolvedRefs"),
        (FilterReason::InvalidConfig, "False InvalidConfig", "True ResolvedRefs"),
    ] {
        let seen = world(true).failed("one", reason).translate();
        assert_eq!(seen.wasm("one", "Accepted"), accepted, "{reason:?}");
        assert_eq!(seen.wasm("one", "ResolvedRefs"), resolved, "{reason:?}");
        assert_eq!(seen.confirm(&[]).wasm("one", "Programmed"), "False Invalid", "{reason:?}");
        let message = seen.route_message("r", "ResolvedRefs");
        assert!(message.contains(&format!("{reason:?} it is")), "{message}");
    }
}

#[test]
fn a_changed_filter_loses_its_facts_and_an_equal_one_keeps_them() {
    let mut world = World::new(&[&filter("one", ""), &at_rule(&extension("one"))])
        .ready("one", PolicyKind::Headers);
    world.add(&filter("one", ""));
    assert_eq!(world.translate().route("r", "ResolvedRefs"), "True ResolvedRefs");
    world.add(&filter("one", ", config: {a: 1}"));
    assert_eq!(world.translate().route("r", "ResolvedRefs"), "False Pending");
}
