//! Point 34 and decision 7: client certificates and TLS policies.

use crate::fixture::{Seen, World, anchor, filter, route, secret, steps};
use penstock_config::{Key, Kind, PolicyKind, ValidationMode};
use penstock_gateway::FilterReason;

/// A Gateway with an HTTPS listener for any name, one for `*.wild.example` and an HTTP listener.
fn gateway(tls: &str, more: &str) -> String {
    let cert = "tls: {certificateRefs: [{name: cert}]}";
    format!(
        "{}\n---\n{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, \
         metadata: {{name: gw, generation: 7}}, spec: {{gatewayClassName: penstock, tls: {tls}, listeners: [\
         {{name: https, port: 443, protocol: HTTPS, {cert}}}, \
         {{name: wild, port: 8443, protocol: HTTPS, hostname: '*.wild.example', {cert}}}, \
         {{name: http, port: 80, protocol: HTTP}}{more}]}}}}",
        secret("cert", &["cert.example"])
    )
}

fn mode(seen: &Seen, listener: &str) -> Option<ValidationMode> {
    let listener = seen.listener_resource(&format!("default/gw/{listener}"));
    listener.client_validation.as_ref().map(|v| v.mode())
}

#[test]
fn s7_34_frontend_validation_has_a_default_and_overrides_by_port() {
    let refs =
        |name: &str| format!("caCertificateRefs: [{{group: '', kind: ConfigMap, name: {name}}}]");
    let tls = format!(
        "{{frontend: {{default: {{validation: {{{}}}}}, perPort: [\
         {{port: 8443, tls: {{validation: {{{}, mode: AllowInsecureFallback}}}}}}]}}}}",
        refs("one"),
        refs("two")
    );
    let seen = World::new(&[&anchor("one"), &anchor("two"), &gateway(&tls, "")]).translate();
    assert_eq!(mode(&seen, "https"), Some(ValidationMode::AllowValidOnly));
    assert_eq!(mode(&seen, "wild"), Some(ValidationMode::AllowInsecureFallback));
    assert_eq!(mode(&seen, "http"), None, "HTTPS listeners only");
    let anchors =
        |l: &str| seen.listener_resource(l).client_validation.clone().map(|v| v.anchors_pem);
    assert_ne!(anchors("default/gw/https"), anchors("default/gw/wild"));
    let insecure = seen.gateway("gw", "InsecureFrontendValidationMode");
    assert_eq!(insecure, "True ConfigurationChanged");

    let off = tls.replace("{validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: two}], mode: AllowInsecureFallback}}", "{}");
    let seen = World::new(&[&anchor("one"), &gateway(&off, "")]).translate();
    assert_eq!(mode(&seen, "wild"), None, "an override replaces as a whole");
    assert_eq!(seen.gateway("gw", "InsecureFrontendValidationMode"), "");
}

#[test]
fn s7_34_bad_anchors_are_reported_on_every_affected_listener() {
    let one_bad = |reference: &str, more: &str| {
        let tls = format!(
            "{{frontend: {{default: {{validation: {{caCertificateRefs: [{reference}]}}}}}}}}"
        );
        let mut world = World::new(&[&anchor("good"), &gateway(&tls, "")]);
        if !more.is_empty() {
            world.add(more);
        }
        world.translate()
    };
    let garbage =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: bad}, data: {ca.crt: nothing}}";
    for (reference, more, reason) in [
        ("{group: '', kind: ConfigMap, name: absent}", "", "InvalidCACertificateRef"),
        ("{group: '', kind: ConfigMap, name: bad}", garbage, "InvalidCACertificateRef"),
        ("{group: '', kind: Secret, name: good}", "", "InvalidCACertificateKind"),
        ("{group: example.com, kind: ConfigMap, name: good}", "", "InvalidCACertificateKind"),
        ("{group: '', kind: ConfigMap, name: good, namespace: other}", "", "RefNotPermitted"),
    ] {
        let seen = one_bad(reference, more);
        for listener in ["https", "wild"] {
            let resolved = seen.listener("gw", listener, "ResolvedRefs");
            assert_eq!(resolved, format!("False {reason}"), "{reference}");
            assert_eq!(seen.listener("gw", listener, "Accepted"), "False NoValidCACertificate");
        }
        assert_eq!(seen.keys(Kind::Listener), ["default/gw/http"], "HTTP serves on");
        let seen =
            one_bad(&format!("{reference}, {{group: '', kind: ConfigMap, name: good}}"), more);
        assert_eq!(seen.listener("gw", "https", "Accepted"), "True Accepted", "one is good");
        assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), format!("False {reason}"));
        assert_eq!(mode(&seen, "https"), Some(ValidationMode::AllowValidOnly));
    }
}

#[test]
fn s7_34_anchors_can_be_there_for_policies_alone() {
    let frontend = "{frontend: {default: {validation: {caCertificateRefs: [\
                    {group: '', kind: ConfigMap, name: one}]}}}}";
    let listener = |value: &str| {
        format!(
            ", {{name: more, port: 9443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}], \
             options: {{penstock.dev/client-validation: {value}}}}}}}"
        )
    };
    let seen = World::new(&[&anchor("one"), &gateway(frontend, &listener("OnDemand"))]).translate();
    assert_eq!(mode(&seen, "more"), Some(ValidationMode::OnDemand));
    assert_eq!(mode(&seen, "https"), Some(ValidationMode::AllowValidOnly));
    let seen =
        World::new(&[&anchor("one"), &gateway(frontend, &listener("Sometimes"))]).translate();
    assert_eq!(seen.listener("gw", "more", "Accepted"), "False UnsupportedValue");
    let seen = World::new(&[&gateway("{}", &listener("OnDemand"))]).translate();
    assert_eq!(seen.listener("gw", "more", "Accepted"), "False UnsupportedValue", "no anchors");
}

#[test]
fn s7_35_a_client_certificate_towards_backends_is_refused() {
    let tls = "{backend: {clientCertificateRef: {name: cert}}}";
    let seen = World::new(&[&gateway(tls, "")]).translate();
    assert_eq!(seen.gateway("gw", "ResolvedRefs"), "False InvalidClientCertificateRef");
}

fn with_policies(year: &str, name: &str, section: &str, hosts: &str, filters: &[&str]) -> String {
    let filters: Vec<_> = filters
        .iter()
        .map(|f| {
            format!("{{type: ExtensionRef, extensionRef: {{group: penstock.dev, kind: WasmFilter, name: {f}}}}}")
        })
        .collect();
    route(
        name,
        &format!(
            "hostnames: [{hosts}], rules: [{{name: x, filters: [{}], backendRefs: [{{name: a, port: 80}}]}}]",
            filters.join(", ")
        ),
    )
    .replace("generation: 3", &format!("generation: 3, creationTimestamp: '{year}-01-01T00:00:00Z'"))
    .replace("[{name: gw}]", &format!("[{{name: gw, sectionName: {section}}}]"))
}

fn world(yaml: &[&str]) -> World {
    let filters = [filter("p", ""), filter("q", ""), filter("h", "")].join("\n---\n");
    let mut all = vec![filters.as_str()];
    all.extend(yaml);
    let gateway = gateway("{}", "");
    all.push(&gateway);
    World::new(&all)
        .ready("p", PolicyKind::Tls)
        .ready("q", PolicyKind::Tls)
        .ready("h", PolicyKind::Headers)
}

#[test]
fn decision_7_a_policy_acts_for_the_names_where_hostnames_meet() {
    let route = with_policies(
        "2026",
        "r",
        "wild",
        "a.wild.example, '*.example', b.example",
        &["p", "h", "q"],
    );
    let seen = world(&[&route]).translate();
    assert_eq!(
        seen.keys(Kind::TlsBinding),
        ["default/gw/wild|*.wild.example", "default/gw/wild|a.wild.example"]
    );
    let binding = seen.binding("default/gw/wild|a.wild.example");
    assert_eq!(binding.filters, ["default/p", "default/q"], "in listed order");
    let rule = seen.only_rule();
    assert_eq!(rule.tls_filters, ["default/p", "default/q"]);
    assert_eq!(steps(&rule.filters), ["policy default/h"], "no step at requests");
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.keys(Kind::Filter), ["default/h", "default/p", "default/q"]);
}

#[test]
fn decision_7_of_two_routes_that_disagree_the_older_wins() {
    let old = with_policies("2025", "old", "https", "both.example, old.example", &["p"]);
    let new = with_policies("2026", "new", "https", "both.example, new.example", &["q"]);
    let seen = world(&[&new, &old]).translate();
    let filters = |name: &str| seen.binding(&format!("default/gw/https|{name}")).filters.clone();
    assert_eq!(filters("both.example"), ["default/p"]);
    assert_eq!(filters("old.example"), ["default/p"]);
    assert_eq!(filters("new.example"), ["default/q"]);
    assert_eq!(seen.route("old", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.route("new", "ResolvedRefs"), "False Conflicted");
    let message = seen.route_message("new", "ResolvedRefs");
    assert!(message.contains("default/old") && message.contains("both.example"), "{message}");

    let rules = seen.rules_of("default/new");
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].id, "x");
    assert_eq!(rules[0].attachments[0].hostnames, ["new.example"]);
    assert_eq!(rules[0].tls_filters, ["default/q"]);
    assert_eq!(rules[1].attachments[0].hostnames, ["both.example"]);
    assert_eq!(steps(&rules[1].filters), ["500 Conflicted"], "exactly for the name that is lost");
    assert!(rules[1].tls_filters.is_empty(), "500 and not 421");
    assert!(rules[1].backends.is_empty());
    assert_eq!(rules[1].matches, rules[0].matches);
    assert_eq!(rules[1].position, rules[0].position);
}

#[test]
fn decision_7_equal_policies_on_one_name_are_no_disagreement() {
    let one = with_policies("2025", "one", "https", "a.example", &["p"]);
    let two = with_policies("2026", "two", "https", "a.example", &["p"]);
    let none = with_policies("2024", "none", "https", "a.example", &[]);
    let seen = world(&[&one, &two, &none]).translate();
    for route in ["one", "two", "none"] {
        assert_eq!(seen.route(route, "ResolvedRefs"), "True ResolvedRefs", "{route}");
    }
    assert_eq!(seen.rules().len(), 3);
    assert_eq!(seen.keys(Kind::TlsBinding), ["default/gw/https|a.example"]);
}

#[test]
fn decision_7_a_newer_route_cannot_take_a_name_out_of_a_wider_one() {
    let old = with_policies("2025", "old", "https", "'*.example'", &["p"]);
    let new = with_policies("2026", "new", "https", "a.example", &["q"]);
    let seen = world(&[&old, &new]).translate();
    assert_eq!(seen.keys(Kind::TlsBinding), ["default/gw/https|*.example"]);
    assert_eq!(steps(&seen.rules_of("default/new")[0].filters), ["500 Conflicted"]);

    let old = with_policies("2025", "old", "https", "a.example", &["p"]);
    let new = with_policies("2026", "new", "https", "'*.example'", &["q"]);
    let seen = world(&[&old, &new]).translate();
    let keys = seen.keys(Kind::TlsBinding);
    assert_eq!(keys, ["default/gw/https|*.example", "default/gw/https|a.example"]);
    assert_eq!(seen.route("new", "ResolvedRefs"), "False Conflicted");
    let message = seen.route_message("new", "ResolvedRefs");
    assert!(message.contains("it answers 421 there"), "{message}");
    assert_eq!(seen.rules_of("default/new").len(), 1);
}

#[test]
fn decision_7_a_listener_without_tls_cannot_have_a_policy() {
    let seen = world(&[&with_policies("2026", "r", "http", "a.example", &["p"])]).translate();
    assert_eq!(seen.route("r", "ResolvedRefs"), "False InvalidFilter");
    assert_eq!(seen.only_rule().tls_filters, ["default/p"], "the proxy answers 421");
    assert!(seen.keys(Kind::TlsBinding).is_empty());
    let message = seen.route_message("r", "ResolvedRefs");
    assert!(message.contains("default/gw/http") && message.contains("421"), "{message}");
}

#[test]
fn decision_7_a_policy_at_a_backend_ref_is_refused() {
    let spec = "rules: [{backendRefs: [{name: b, port: 80, weight: 2}, {name: a, port: 80, filters: [\
                {type: ExtensionRef, extensionRef: {group: penstock.dev, kind: WasmFilter, name: p}}]}]}]";
    let seen = world(&[&route("r", spec)]).translate();
    let backends = seen.only_rule().backends;
    assert!(backends[0].failure.is_none());
    let failure = backends[1].failure.as_ref().expect("its share answers 500");
    assert_eq!(failure.reason, "InvalidFilter");
    assert_eq!(backends[1].backend, "");
    assert_eq!(seen.keys(Kind::Backend), ["default/b:80"], "the other alone");
    assert_eq!(seen.route("r", "ResolvedRefs"), "False InvalidFilter");
    assert!(seen.keys(Kind::Filter).is_empty());
}

fn targeted(name: &str, target: &str) -> String {
    let mut reference = String::new();
    for (field, usual) in [("group", "gateway.networking.k8s.io"), ("kind", "Gateway")] {
        if !target.contains(field) {
            reference += &format!("{field}: {usual}, ");
        }
    }
    filter(name, &format!(", targetRefs: [{{{reference}{target}}}]"))
}

#[test]
fn decision_7_a_policy_on_a_listener_comes_before_those_of_routes() {
    let route = with_policies("2026", "r", "https", "a.example", &["p"]);
    let seen = world(&[&route, &targeted("own", "name: gw, sectionName: https")])
        .ready("own", PolicyKind::Tls)
        .translate();
    assert_eq!(seen.keys(Kind::TlsBinding), ["default/gw/https|", "default/gw/https|a.example"]);
    assert_eq!(seen.binding("default/gw/https|").filters, ["default/own"]);
    let filters = &seen.binding("default/gw/https|a.example").filters;
    assert_eq!(*filters, ["default/own", "default/p"], "a route can only tighten");
    assert_eq!(seen.wasm("own", "Accepted"), "True Accepted");
    assert_eq!(seen.confirm(&[]).wasm("own", "Programmed"), "True Programmed");

    let seen = world(&[&targeted("own", "name: gw")]).ready("own", PolicyKind::Tls).translate();
    let keys = seen.keys(Kind::TlsBinding);
    assert_eq!(keys, ["default/gw/https|", "default/gw/wild|*.wild.example"], "all that have TLS");
}

#[test]
fn decision_7_targets_that_cannot_be_are_reported() {
    for (target, kind, reason) in [
        ("name: absent", PolicyKind::Tls, "TargetNotFound"),
        ("name: gw, sectionName: absent", PolicyKind::Tls, "TargetNotFound"),
        ("name: gw, sectionName: http", PolicyKind::Tls, "UnsupportedValue"),
        ("name: gw, kind: Service", PolicyKind::Tls, "InvalidKind"),
        ("name: gw, group: example.com", PolicyKind::Tls, "InvalidKind"),
        ("name: gw, sectionName: https", PolicyKind::Headers, "InvalidKind"),
        ("name: gw, sectionName: https", PolicyKind::Paths, "InvalidKind"),
    ] {
        let seen = world(&[&targeted("own", target)]).ready("own", kind).translate();
        assert_eq!(seen.wasm("own", "Accepted"), format!("False {reason}"), "{target}");
        assert!(seen.keys(Kind::TlsBinding).is_empty(), "{target}");
        assert_eq!(seen.keys(Kind::Listener).len(), 3, "the listeners serve on");
    }
}

#[test]
fn decision_6_a_listener_with_an_unusable_policy_is_not_served() {
    let targeted = targeted("own", "name: gw, sectionName: https");
    let pending = world(&[&targeted]).translate();
    let failed = world(&[&targeted]).failed("own", FilterReason::ModuleNotFound).translate();
    for seen in [pending, failed] {
        assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), "False InvalidFilter");
        assert_eq!(seen.listener("gw", "https", "Programmed"), "False Invalid");
        assert_eq!(seen.keys(Kind::Listener), ["default/gw/http", "default/gw/wild"]);
    }
}

#[test]
fn decision_7_a_binding_that_nodes_refuse_is_said_by_whoever_asked_for_it() {
    let route = with_policies("2026", "r", "wild", "a.wild.example", &["p"]);
    let seen = world(&[&route, &targeted("own", "name: gw, sectionName: https")])
        .ready("own", PolicyKind::Tls)
        .translate();
    let refuse = |kind, name: &str| seen.confirm(&[(Key::new(kind, name), "Broken", "because")]);

    let of_listener = refuse(Kind::TlsBinding, "default/gw/https|");
    assert_eq!(of_listener.listener("gw", "https", "ResolvedRefs"), "False InvalidFilter");
    assert_eq!(of_listener.listener("gw", "wild", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(of_listener.route("r", "ResolvedRefs"), "True ResolvedRefs");

    let of_route = refuse(Kind::TlsBinding, "default/gw/wild|a.wild.example");
    assert_eq!(of_route.listener("gw", "wild", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(of_route.listener("gw", "wild", "Programmed"), "True Programmed");
    assert_eq!(of_route.route("r", "ResolvedRefs"), "False InvalidFilter");

    let filter = refuse(Kind::Filter, "default/own");
    assert_eq!(filter.listener("gw", "https", "ResolvedRefs"), "False InvalidFilter");
    assert_eq!(filter.listener("gw", "https", "Programmed"), "False Invalid");
    assert_eq!(filter.route("r", "ResolvedRefs"), "True ResolvedRefs");
}
