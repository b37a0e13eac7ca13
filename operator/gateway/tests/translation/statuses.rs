//! Point 28, GatewayClass and GatewayConfig, what nodes answer, and statuses that others write to.

use crate::fixture::{World, filter, objects, route, secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use penstock_config::{Key, Kind, PolicyKind, ResourceKind, TlsVersion};
use penstock_gateway::{FilterFacts, FilterReason, Name, merge};
use penstock_resources::gateway_api::gatewayclasses::GatewayClassStatus;
use penstock_resources::gateway_api::gateways::GatewayStatus;
use penstock_resources::gateway_api::httproutes::HttpRouteStatus;

fn time(seconds: i64) -> Time {
    Time(Timestamp::from_second(seconds).expect("a time"))
}

fn route_status(world: &World) -> HttpRouteStatus {
    world.translate().statuses.http_routes[&Name::new("default", "r")].clone()
}

#[test]
fn s7_28_observed_generation_is_that_of_the_object() {
    let world = World::new(&[&filter("f", ""), &route("r", "rules: [{}]")]);
    let statuses = world.translate().statuses;
    let class = &statuses.gateway_classes["penstock"].conditions;
    let gateway = &statuses.gateways[&Name::new("default", "gw")];
    let listener = &gateway.listeners.as_ref().expect("listeners")[0].conditions;
    let route = &statuses.http_routes[&Name::new("default", "r")].parents[0].conditions;
    let filter = &statuses.wasm_filters[&Name::new("default", "f")].conditions;
    for (conditions, generation) in [
        (class.as_deref().expect("conditions"), 1),
        (gateway.conditions.as_deref().expect("conditions"), 2),
        (listener, 2),
        (route, 3),
        (filter, 4),
    ] {
        assert!(!conditions.is_empty());
        assert!(conditions.iter().all(|c| c.observed_generation == Some(generation)));
    }
}

#[test]
fn s7_28_entries_and_conditions_of_others_stay_and_nothing_is_written_twice() {
    let world = World::new(&[&route("r", "rules: [{}]")]);
    let wanted = route_status(&world);
    let mut foreign = wanted.parents[0].clone();
    foreign.controller_name = "example.com/other".into();
    let mut old = wanted.parents[0].clone();
    old.parent_ref.section_name = Some("gone".into());
    let existing = HttpRouteStatus { parents: vec![old, foreign.clone()] };

    let first = merge::http_route(Some(&existing), &wanted, &time(10)).expect("a change");
    let names: Vec<_> = first.parents.iter().map(|p| p.controller_name.as_str()).collect();
    assert_eq!(names, ["example.com/other", "penstock.dev/gateway-controller"]);
    assert_eq!(first.parents[0], foreign);
    assert!(first.parents[1].conditions.iter().all(|c| c.last_transition_time == time(10)));
    assert_eq!(merge::http_route(Some(&first), &wanted, &time(20)), None, "no write if equal");

    let mut theirs = first.clone();
    theirs.parents[1].conditions.insert(
        0,
        Condition { type_: "example.com/Checked".into(), ..first.parents[1].conditions[0].clone() },
    );
    assert_eq!(merge::http_route(Some(&theirs), &wanted, &time(20)), None, "their condition stays");

    let none = HttpRouteStatus { parents: Vec::new() };
    let removed = merge::http_route(Some(&first), &none, &time(30)).expect("a change");
    assert_eq!(removed.parents, [foreign], "our entry goes with its parentRef");
    assert_eq!(merge::http_route(None, &none, &time(30)), None);
}

#[test]
fn s7_28_a_transition_time_changes_with_the_status_alone() {
    let condition = |status: &str, message: &str, generation: i64| Condition {
        last_transition_time: time(0),
        message: message.into(),
        observed_generation: Some(generation),
        reason: "R".into(),
        status: status.into(),
        type_: "Accepted".into(),
    };
    let first = merge::conditions(&[], &[condition("True", "a", 1)], &time(10));
    let second = merge::conditions(&first, &[condition("True", "b", 2)], &time(20));
    assert_eq!(second[0].last_transition_time, time(10));
    assert_eq!((second[0].message.as_str(), second[0].observed_generation), ("b", Some(2)));
    let third = merge::conditions(&second, &[condition("False", "c", 1)], &time(30));
    assert_eq!(third[0].last_transition_time, time(30));
    assert_eq!(third[0].observed_generation, Some(2), "never lowered");
    assert!(merge::conditions(&third, &[], &time(40)).is_empty(), "ours and no longer wanted");

    let of = |type_: &str| Condition { type_: type_.into(), ..condition("True", "a", 1) };
    let existing = [of("example.com/Checked"), of("Accepted")];
    let merged = merge::conditions(&existing, &[of("Accepted"), of("Programmed")], &time(50));
    let types: Vec<_> = merged.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types, ["example.com/Checked", "Accepted", "Programmed"], "each once");
}

#[test]
fn s7_28_statuses_of_gateways_classes_and_filters_merge_alike() {
    let world = World::new(&[&filter("f", "")]);
    let statuses = world.translate().statuses;
    let timed = |conditions: &[Condition]| -> Vec<_> {
        let timed = |c: &Condition| Condition { last_transition_time: time(5), ..c.clone() };
        conditions.iter().map(timed).collect()
    };
    let gateway = &statuses.gateways[&Name::new("default", "gw")];
    let written = merge::gateway(None, gateway, &time(5)).expect("new");
    assert_eq!(written.conditions, gateway.conditions.as_deref().map(timed));
    let listener =
        |status: &GatewayStatus| status.listeners.as_ref().expect("listeners")[0].clone();
    assert_eq!(listener(&written).conditions, timed(&listener(gateway).conditions));
    assert_eq!(merge::gateway(Some(&written), gateway, &time(6)), None);
    let class = &statuses.gateway_classes["penstock"];
    let written = merge::gateway_class(None, class, &time(5)).expect("new");
    assert_eq!(written.conditions, class.conditions.as_deref().map(timed));
    assert_eq!(merge::gateway_class(Some(&written), class, &time(6)), None);
    let filter = &statuses.wasm_filters[&Name::new("default", "f")];
    let written = merge::wasm_filter(None, filter, &time(5)).expect("new");
    assert_eq!(written.conditions, timed(&filter.conditions));
    assert_eq!(merge::wasm_filter(Some(&written), filter, &time(6)), None);

    let nothing = GatewayClassStatus::default();
    assert_eq!(merge::gateway_class(None, &nothing, &time(5)), Some(nothing), "no empty list");
}

#[test]
fn programmed_rises_when_the_nodes_confirm() {
    let seen = World::new(&[&route("r", "rules: [{}]")]).translate();
    assert_eq!(seen.gateway("gw", "Programmed"), "False Pending");
    assert_eq!(seen.listener("gw", "http", "Programmed"), "False Pending");
    let after = seen.confirm(&[]);
    assert_eq!(after.gateway("gw", "Programmed"), "True Programmed");
    assert_eq!(after.listener("gw", "http", "Programmed"), "True Programmed");
    let silent = seen.statuses.confirm(&penstock_gateway::Confirmation::default());
    assert_eq!(silent, seen.statuses, "silence changes nothing");
}

#[test]
fn what_nodes_refuse_is_said_where_it_matters() {
    let extension =
        "{type: ExtensionRef, extensionRef: {group: penstock.dev, kind: WasmFilter, name: f}}";
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw}, \
        spec: {gatewayClassName: penstock, listeners: [{name: http, port: 80, protocol: HTTP}, \
        {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]}}";
    let world = World::new(&[
        gateway,
        &secret("cert", &["a.example"]),
        &filter("f", ""),
        &route("r", &format!("rules: [{{name: x, filters: [{extension}]}}]")),
        &route("s", "rules: [{}]"),
    ])
    .ready("f", PolicyKind::Headers);
    let seen = world.translate();
    let refuse =
        |kind, name: &str, reason: &str| seen.confirm(&[(Key::new(kind, name), reason, "because")]);

    let after = refuse(Kind::Listener, "default/gw/http", "PortUnavailable");
    assert_eq!(after.listener("gw", "http", "Accepted"), "False PortUnavailable");
    assert_eq!(after.listener("gw", "http", "Programmed"), "False Invalid");
    assert_eq!(after.listener("gw", "https", "Programmed"), "True Programmed");
    assert_eq!(after.gateway("gw", "Programmed"), "True Programmed", "one listener is enough");

    let both = ["default/gw/http", "default/gw/https"]
        .map(|name| (Key::new(Kind::Listener, name), "PortUnavailable", "because"));
    assert_eq!(seen.confirm(&both).gateway("gw", "Programmed"), "False Invalid", "none is left");

    let after = refuse(Kind::Certificate, "default/cert", "InvalidCertificate");
    assert_eq!(after.listener("gw", "https", "ResolvedRefs"), "False InvalidCertificateRef");
    assert_eq!(after.listener("gw", "https", "Programmed"), "False Invalid");
    assert_eq!(after.listener("gw", "http", "Programmed"), "True Programmed");

    let after = refuse(Kind::Filter, "default/f", "InvalidConfig");
    assert_eq!(after.wasm("f", "Programmed"), "False Invalid");
    assert_eq!(after.wasm("f", "Accepted"), "False InvalidConfig");
    assert_eq!(after.route("r", "ResolvedRefs"), "False InvalidFilter");
    assert_eq!(after.route("s", "ResolvedRefs"), "True ResolvedRefs");

    let after = refuse(Kind::Rule, "default/r/x", "InvalidMatch");
    assert_eq!(after.route("r", "PartiallyInvalid"), "True UnsupportedValue");
    assert!(after.route_message("r", "PartiallyInvalid").starts_with("Dropped Rule"));
    assert_eq!(after.route("s", "PartiallyInvalid"), "");

    let after = refuse(Kind::Gateway, "default/gw", "Invalid");
    assert_eq!(after.gateway("gw", "Programmed"), "False Invalid");
    assert_eq!(after.listener("gw", "http", "Programmed"), "False Invalid");
}

#[test]
fn a_gateway_class_is_ours_by_its_controller_and_says_what_it_can() {
    let other = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: x}, \
                 spec: {controllerName: example.com/x}}";
    let theirs = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: theirs}, \
                  spec: {gatewayClassName: x, listeners: [{name: http, port: 81, protocol: HTTP}]}}";
    let statuses = World::new(&[other, theirs]).translate().statuses;
    assert_eq!(statuses.gateway_classes.len(), 1);
    assert_eq!(statuses.gateways.len(), 1, "their Gateway is their business");
    let class = &statuses.gateway_classes["penstock"];
    let features = class.supported_features.as_ref().expect("features");
    let names: Vec<_> = features.iter().map(|f| f.name.as_str()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    assert!(names.contains(&"HTTPRouteQueryParamMatching"));
    assert!(!names.contains(&"HTTPRouteCORS"), "refused is not supported");
}

#[test]
fn supported_version_follows_the_installed_bundle() {
    let condition = |version: Option<&str>| {
        let mut world = World::new(&[]);
        world.index.settings_mut().bundle_version = version.map(str::to_owned);
        let conditions = world.translate().statuses.gateway_classes["penstock"].conditions.clone();
        let found = conditions.into_iter().flatten().find(|c| c.type_ == "SupportedVersion");
        found.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
    };
    assert_eq!(condition(Some("v1.6.1")), "True SupportedVersion");
    assert_eq!(condition(Some("v1.5.0")), "True SupportedVersion");
    for unknown in ["v1.4.0", "v1.7.0", "v2.6.0", "nonsense"] {
        assert_eq!(condition(Some(unknown)), "False UnsupportedVersion", "{unknown}");
    }
    assert_eq!(condition(None), "");
}

#[test]
fn parameters_that_cannot_be_used_refuse_the_gateway() {
    let gateway = |parameters: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw}}, \
             spec: {{gatewayClassName: penstock, infrastructure: {{parametersRef: {parameters}}}, \
             listeners: [{{name: http, port: 80, protocol: HTTP}}]}}}}"
        )
    };
    let config = |spec: &str| {
        format!(
            "{{apiVersion: penstock.dev/v1alpha1, kind: GatewayConfig, metadata: {{name: c}}, spec: {{{spec}}}}}"
        )
    };
    let good = "{group: penstock.dev, kind: GatewayConfig, name: c}";
    for (parameters, spec) in [
        ("{group: penstock.dev, kind: GatewayConfig, name: absent}", ""),
        ("{group: penstock.dev, kind: Other, name: c}", ""),
        ("{group: example.com, kind: GatewayConfig, name: c}", ""),
        (good, "limits: {idleTimeout: soon}"),
        (good, "tls: {defaultProfile: absent}"),
    ] {
        let seen = World::new(&[&gateway(parameters), &config(spec)]).translate();
        assert_eq!(
            seen.gateway("gw", "Accepted"),
            "False InvalidParameters",
            "{parameters} {spec}"
        );
        assert_eq!(seen.gateway("gw", "Programmed"), "False Invalid");
        assert_eq!(seen.listener("gw", "http", "Programmed"), "False Invalid");
        assert!(seen.state.is_empty(), "{parameters} {spec}");
    }
}

#[test]
fn a_gateways_own_settings_beat_those_of_its_class() {
    let yaml = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: penstock}, \
        spec: {controllerName: penstock.dev/gateway-controller, parametersRef: \
        {group: penstock.dev, kind: GatewayConfig, name: class, namespace: other}}}\n---\n\
        {apiVersion: penstock.dev/v1alpha1, kind: GatewayConfig, metadata: {name: class, namespace: other}, \
        spec: {clientAddress: {trustedHops: 2}, limits: {maxHeaders: 50, idleTimeout: 10s, maxBodyBytes: 7}, \
        tls: {profiles: [{name: strict, minVersion: '1.3'}]}}}\n---\n\
        {apiVersion: penstock.dev/v1alpha1, kind: GatewayConfig, metadata: {name: own}, \
        spec: {limits: {maxHeaders: 99, headerTimeout: 3s}}}\n---\n\
        {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw}, \
        spec: {gatewayClassName: penstock, infrastructure: {parametersRef: \
        {group: penstock.dev, kind: GatewayConfig, name: own}}, \
        listeners: [{name: http, port: 80, protocol: HTTP}]}}";
    let seen = World::new(&[yaml]).translate();
    let content = &seen.state.get(&Key::new(Kind::Gateway, "default/gw")).expect("served").content;
    let ResourceKind::Gateway(gateway) = &**content else { panic!() };
    assert_eq!(gateway.trusted_hops, 2);
    let limits = gateway.limits.expect("limits");
    assert_eq!((limits.max_headers, limits.header_timeout_ms), (99, 3_000));
    assert_eq!((limits.idle_timeout_ms, limits.max_body_bytes), (10_000, 7));
    assert_eq!(limits.max_connections, 0, "the proxy's default");
    assert_eq!(gateway.default_tls_profile, "strict");
    assert_eq!(gateway.tls_profiles[0].min_version(), TlsVersion::Tls13);

    let seen = World::new(&[]).translate();
    let content = &seen.state.get(&Key::new(Kind::Gateway, "default/gw")).expect("served").content;
    let ResourceKind::Gateway(gateway) = &**content else { panic!() };
    let profiles: Vec<_> = gateway.tls_profiles.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(profiles, ["compatible", "modern"]);
    assert_eq!(gateway.default_tls_profile, "compatible");
}

#[test]
fn a_class_with_bad_parameters_takes_its_gateways_along() {
    let config = "{apiVersion: penstock.dev/v1alpha1, kind: GatewayConfig, \
                  metadata: {name: c, namespace: other}, spec: {}}";
    for parameters in [
        "{group: penstock.dev, kind: GatewayConfig, name: absent, namespace: other}",
        "{group: penstock.dev, kind: Other, name: c, namespace: other}",
        "{group: example.com, kind: GatewayConfig, name: c, namespace: other}",
        "{group: penstock.dev, kind: GatewayConfig, name: c}",
    ] {
        let class = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, \
             metadata: {{name: penstock}}, spec: {{controllerName: penstock.dev/gateway-controller, \
             parametersRef: {parameters}}}}}"
        );
        let seen = World::new(&[config, &class]).translate();
        let conditions = seen.statuses.gateway_classes["penstock"].conditions.clone();
        let accepted =
            conditions.into_iter().flatten().find(|c| c.type_ == "Accepted").expect("Accepted");
        assert_eq!(
            (accepted.status.as_str(), accepted.reason.as_str()),
            ("False", "InvalidParameters"),
            "{parameters}"
        );
        assert_eq!(seen.gateway("gw", "Accepted"), "False InvalidParameters");
        assert!(seen.state.is_empty());
    }
}

#[test]
fn a_gateway_without_its_class_is_reported_where_nobody_else_would() {
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: lost}, \
        spec: {gatewayClassName: absent, listeners: [{name: http, port: 80, protocol: HTTP}]}}";
    let world = World::new(&[gateway]);
    assert_eq!(world.translate().gateway("lost", "Accepted"), "False Pending");
    let statuses = world.cluster().translate().statuses;
    assert!(!statuses.gateways.contains_key(&Name::new("default", "lost")));
}

#[test]
fn a_second_listener_of_a_name_and_allowed_listeners_are_reported() {
    let gateway = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw}, \
        spec: {gatewayClassName: penstock, allowedListeners: {namespaces: {from: All}}, listeners: [\
        {name: http, port: 80, protocol: HTTP}, {name: http, port: 81, protocol: HTTP}]}}";
    let seen = World::new(&[gateway]).translate();
    let status = &seen.statuses.gateways[&Name::new("default", "gw")];
    assert_eq!(status.listeners.as_ref().map(Vec::len), Some(1));
    let conditions = status.conditions.as_ref().expect("conditions");
    let message = &conditions[0].message;
    assert!(message.contains("second listener") && message.contains("ListenerSets"), "{message}");
    assert_eq!(seen.listener_resource("default/gw/http").port, 80);
}

#[test]
fn an_index_shows_no_secret() {
    let world = World::new(&[&secret("cert", &["a.example"])]);
    let shown = format!("{:?} {:?}", world.index, world.translate().state);
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    assert!(shown.contains("gateways: 1") && shown.contains("services: 3"), "{shown}");
}

#[test]
fn an_index_says_whether_anything_changed_and_hands_out_what_it_holds() {
    let mut world = World::new(&[&filter("f", "")]);
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {k: v}}";
    let apply = |world: &mut World, yaml: &str| world.index.apply(objects(yaml).remove(0));
    assert!(apply(&mut world, map), "new");
    assert!(!apply(&mut world, map), "equal");
    assert!(apply(&mut world, &map.replace("k: v", "k: w")), "changed");
    let held = world.index.config_map("default", "m").and_then(|m| m.data.clone());
    assert_eq!(held, Some([("k".to_owned(), "w".to_owned())].into()));
    assert_eq!(world.index.config_map("other", "m"), None);

    let facts = || FilterFacts::Failed { reason: FilterReason::TooLarge, message: "m".into() };
    assert!(world.index.set_filter_facts("default/f", facts()), "new");
    assert!(!world.index.set_filter_facts("default/f", facts()), "equal");
    assert!(!world.index.set_filter_facts("default/absent", facts()), "nobody's");
}
