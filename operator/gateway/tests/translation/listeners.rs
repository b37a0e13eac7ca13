//! Points 20 to 26 and 31: listeners, conflicts, certificates, kinds, counts, addresses.

use crate::fixture::{World, route, secret, secret_of};
use penstock_config::Kind;

fn gateway(listeners: &str) -> String {
    named("gw", listeners)
}

fn named(name: &str, listeners: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, \
         metadata: {{name: {name}, generation: 7}}, \
         spec: {{gatewayClassName: penstock, listeners: [{listeners}]}}}}"
    )
}

const CERT: &str = "tls: {certificateRefs: [{name: cert}]}";

#[test]
fn s7_20_listeners_are_distinct_by_port_protocol_and_hostname() {
    let ok = "";
    for (listeners, expected) in [
        ("{name: a, port: 80, protocol: HTTP}, {name: b, port: 81, protocol: HTTP}", [ok, ok]),
        (
            "{name: a, port: 80, protocol: HTTP, hostname: a.example}, {name: b, port: 80, protocol: HTTP}",
            [ok, ok],
        ),
        (
            "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}",
            ["True HostnameConflict"; 2],
        ),
        (
            "{name: a, port: 80, protocol: HTTP, hostname: A.example}, {name: b, port: 80, protocol: HTTP, hostname: a.example}",
            ["True HostnameConflict"; 2],
        ),
        (
            "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}",
            ["True ProtocolConflict"; 2],
        ),
        (
            "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: TCP}",
            ["True ProtocolConflict"; 2],
        ),
        ("{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: UDP}", [ok, ok]),
    ] {
        let third = ", {name: c, port: 9000, protocol: HTTP}";
        let cert = secret("cert", &["a.example"]);
        let seen = World::new(&[&cert, &gateway(&format!("{listeners}{third}"))]).translate();
        for (name, expected) in ["a", "b"].into_iter().zip(expected) {
            assert_eq!(seen.listener("gw", name, "Conflicted"), expected, "{name} of {listeners}");
            if !expected.is_empty() {
                assert!(seen.listener("gw", name, "Accepted").starts_with("False"));
                assert!(seen.listener("gw", name, "Programmed").starts_with("False Invalid"));
            }
        }
        let conflict = expected[0] != ok;
        let accepted = seen.gateway("gw", "Accepted");
        if conflict {
            assert_eq!(accepted, "True ListenersNotValid");
            assert_eq!(seen.keys(Kind::Listener), ["default/gw/c"], "the third serves on");
        }
    }
}

#[test]
fn s7_20_in_standalone_mode_the_older_gateway_has_the_port() {
    let with_age = |name: &str, year: u32, listener: &str| {
        named(name, listener)
            .replace("generation: 7", &format!("creationTimestamp: '{year}-01-01T00:00:00Z'"))
    };
    let http = "{name: http, port: 9080, protocol: HTTP}";
    let other = "{name: http, port: 9080, protocol: HTTP, hostname: a.example}";
    let world = World::new(&[
        &with_age("new", 2026, http),
        &with_age("old", 2025, http),
        &with_age("third", 2027, other),
    ]);
    let seen = world.translate();
    assert_eq!(seen.listener("old", "http", "Accepted"), "True Accepted");
    assert_eq!(seen.listener("new", "http", "Accepted"), "False PortUnavailable");
    let message = seen.listener_message("new", "http", "Accepted");
    assert!(message.contains("default/old") && message.contains("with this hostname"), "{message}");
    assert_eq!(seen.listener("third", "http", "Accepted"), "True Accepted", "another hostname");
    let tls = format!("{{name: https, port: 9080, protocol: HTTPS, {CERT}}}");
    let mut world = world;
    world.add(&format!("{}\n---\n{}", with_age("tls", 2027, &tls), secret("cert", &["a"])));
    let message = world.translate().listener_message("tls", "https", "Accepted");
    assert!(message.contains("uses port 9080 otherwise"), "{message}");
    let seen = world.cluster().translate();
    assert_eq!(seen.listener("new", "http", "Accepted"), "True Accepted", "an address of its own");
}

#[test]
fn s7_22_overlapping_tls_names_are_reported() {
    let https = |name: &str, port: u32, host: &str, cert: &str| {
        format!(
            "{{name: {name}, port: {port}, protocol: HTTPS, hostname: '{host}', \
             tls: {{certificateRefs: [{{name: {cert}}}]}}}}"
        )
    };
    let list = [
        https("a", 443, "foo.example.com", "one"),
        https("b", 443, "foo.example.org", "two"),
        https("c", 443, "*.example.com", "three"),
        https("d", 8443, "*.example.com", "one"),
    ];
    let secrets =
        [secret("one", &["foo.one"]), secret("two", &["foo.two"]), secret("three", &["x"])];
    let seen = World::new(&[&secrets.join("\n---\n"), &gateway(&list.join(", "))]).translate();
    let condition = |name: &str| seen.listener("gw", name, "OverlappingTLSConfig");
    assert_eq!(condition("a"), "True OverlappingHostnames");
    assert_eq!(condition("b"), "");
    assert_eq!(condition("c"), "True OverlappingHostnames");
    assert_eq!(condition("d"), "", "another port");

    let list = [https("a", 443, "a.example", "wild"), https("b", 443, "b.example", "one")];
    let secrets = [secret("wild", &["*.example"]), secret("one", &["b.example"])];
    let seen = World::new(&[&secrets.join("\n---\n"), &gateway(&list.join(", "))]).translate();
    let condition = seen.listener("gw", "a", "OverlappingTLSConfig");
    assert_eq!(condition, "True OverlappingCertificates");
}

fn with_certificate(reference: &str, more: &str) -> crate::fixture::Seen {
    let listeners = format!(
        "{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{reference}]}}}}, \
         {{name: http, port: 80, protocol: HTTP}}"
    );
    let mut world = World::new(&[&gateway(&listeners), &route("r", "rules: [{}]")]);
    if !more.is_empty() {
        world.add(more);
    }
    world.index.settings_mut().now = Some(1_790_000_000);
    world.translate()
}

#[test]
fn s7_23_an_unusable_certificate_takes_its_listener_and_no_other() {
    let issued =
        |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("issued");
    let (one, two) = (issued("a"), issued("b"));
    let key = one.signing_key.serialize_pem();
    for (reference, more, reason) in [
        ("{name: absent}", String::new(), "InvalidCertificateRef"),
        ("{name: s, namespace: other}", String::new(), "RefNotPermitted"),
        ("{name: s}", secret_of("s", "no PEM", &key), "InvalidCertificateRef"),
        ("{name: s}", secret_of("s", &one.cert.pem(), "no PEM"), "InvalidCertificateRef"),
        ("{name: s}", secret_of("s", &two.cert.pem(), &key), "InvalidCertificateRef"),
        ("{name: s, group: example.com}", secret("s", &["a"]), "InvalidCertificateRef"),
        ("{name: s, kind: ConfigMap}", secret("s", &["a"]), "InvalidCertificateRef"),
        (
            "{name: s}",
            "{apiVersion: v1, kind: Secret, metadata: {name: s}}".into(),
            "InvalidCertificateRef",
        ),
    ] {
        let seen = with_certificate(reference, &more);
        assert_eq!(
            seen.listener("gw", "https", "ResolvedRefs"),
            format!("False {reason}"),
            "{reference} {more}"
        );
        assert_eq!(seen.listener("gw", "https", "Programmed"), "False Invalid", "{reference}");
        assert_eq!(seen.listener("gw", "https", "Accepted"), "True Accepted");
        assert_eq!(seen.keys(Kind::Listener), ["default/gw/http"], "the other serves on");
        assert_eq!(seen.attached("gw", "https"), 1, "counted all the same");
    }
}

#[test]
fn s7_23_a_good_certificate_is_served() {
    let seen = with_certificate("{name: s}, {name: s}", &secret("s", &["a.example"]));
    assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.listener_resource("default/gw/https").certificates, ["default/s"]);
    assert!(seen.certificate("default/s").chain_pem.starts_with(b"-----BEGIN CERTIFICATE"));
}

#[test]
fn s7_23_one_bad_certificate_of_two_leaves_the_good_one() {
    let seen = with_certificate("{name: s}, {name: absent}", &secret("s", &["a.example"]));
    assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), "False InvalidCertificateRef");
    assert_eq!(seen.listener_resource("default/gw/https").certificates, ["default/s"]);
}

#[test]
fn s7_23_a_certificate_out_of_its_time_is_served_and_reported() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("params");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let expired = secret_of("s", &certificate.pem(), &key.serialize_pem());
    let seen = with_certificate("{name: s}", &expired);
    assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), "False InvalidCertificateRef");
    let message = seen.listener_message("gw", "https", "ResolvedRefs");
    assert!(message.contains("expired at 2021-01-01"), "{message}");
    assert_eq!(seen.listener_resource("default/gw/https").certificates, ["default/s"]);
}

#[test]
fn s7_23_rfc5280_4_1_2_5_both_ends_of_a_validity_period_are_in_it() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("params");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (from, to) = (params.not_before.unix_timestamp(), params.not_after.unix_timestamp());
    let certificate = params.self_signed(&key).expect("a certificate");
    let secret = secret_of("cert", &certificate.pem(), &key.serialize_pem());
    let listener = format!("{{name: https, port: 443, protocol: HTTPS, {CERT}}}");
    let mut world = World::new(&[&gateway(&listener), &secret]);
    for (now, expected) in [
        (from - 1, "is not valid before 2020-01-01"),
        (from, ""),
        (to, ""),
        (to + 1, "expired at 2021-01-01"),
    ] {
        world.index.settings_mut().now = Some(now);
        let seen = world.translate();
        let resolved = seen.listener("gw", "https", "ResolvedRefs");
        let message = seen.listener_message("gw", "https", "ResolvedRefs");
        assert_eq!(resolved == "True ResolvedRefs", expected.is_empty(), "{now}: {message}");
        assert!(message.contains(expected), "{now}: {message}");
    }
}

#[test]
fn s7_23_a_grant_permits_a_secret_of_another_namespace() {
    let grant = "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, \
                 metadata: {name: g, namespace: other}, spec: {\
                 from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}], \
                 to: [{group: '', kind: Secret, name: s}]}}";
    let secret = secret("s", &["a"]).replace("{name: s}", "{name: s, namespace: other}");
    let seen = with_certificate("{name: s, namespace: other}", &format!("{grant}\n---\n{secret}"));
    assert_eq!(seen.listener("gw", "https", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.listener_resource("default/gw/https").certificates, ["other/s"]);
}

#[test]
fn s7_24_what_is_not_served_is_refused_with_its_reason() {
    for (listener, reason) in [
        ("port: 53, protocol: UDP", "UnsupportedProtocol"),
        ("port: 53, protocol: TCP", "UnsupportedProtocol"),
        ("port: 53, protocol: TLS, tls: {mode: Passthrough}", "UnsupportedProtocol"),
        ("port: 53, protocol: example.com/x", "UnsupportedProtocol"),
        ("port: 443, protocol: HTTPS, tls: {mode: Passthrough}", "UnsupportedValue"),
        ("port: 8081, protocol: HTTP, tls: {certificateRefs: [{name: s}]}", "UnsupportedValue"),
        ("port: 8081, protocol: HTTP, hostname: '*.*.example'", "UnsupportedValue"),
        ("port: 8081, protocol: HTTP, hostname: 10.0.0.1", "UnsupportedValue"),
        ("port: 70000, protocol: HTTP", "UnsupportedValue"),
        (
            "port: 8081, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}",
            "UnsupportedValue",
        ),
        (
            "port: 8081, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: Like}]}}}",
            "UnsupportedValue",
        ),
        (
            "port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}], options: {example.com/x: z}}",
            "UnsupportedValue",
        ),
    ] {
        let list = format!("{{name: bad, {listener}}}, {{name: good, port: 80, protocol: HTTP}}");
        let seen = World::new(&[&secret("s", &["a"]), &gateway(&list)]).translate();
        assert_eq!(seen.listener("gw", "bad", "Accepted"), format!("False {reason}"), "{listener}");
        assert_eq!(seen.listener("gw", "bad", "Programmed"), "False Invalid", "{listener}");
        assert_eq!(seen.keys(Kind::Listener), ["default/gw/good"], "{listener}");
        assert_eq!(seen.gateway("gw", "Accepted"), "True ListenersNotValid");
        if reason == "UnsupportedProtocol" {
            assert!(seen.supported_kinds("gw", "bad").is_empty(), "{listener}");
        }
    }
    let seen = World::new(&[&gateway("{name: bad, port: 53, protocol: UDP}")]).translate();
    assert_eq!(seen.gateway("gw", "Accepted"), "False ListenersNotValid", "none is valid");
    assert_eq!(seen.gateway("gw", "Programmed"), "False Invalid");
    assert!(seen.keys(Kind::Gateway).is_empty());
}

#[test]
fn s7_25_supported_kinds_are_the_valid_ones_of_those_asked_for() {
    for (kinds, supported, resolved) in [
        ("", vec!["HTTPRoute"], "True ResolvedRefs"),
        ("{kind: HTTPRoute}", vec!["HTTPRoute"], "True ResolvedRefs"),
        ("{kind: HTTPRoute}, {kind: Nothing}", vec!["HTTPRoute"], "False InvalidRouteKinds"),
        ("{kind: HTTPRoute, group: example.com}", vec![], "False InvalidRouteKinds"),
        ("{kind: GRPCRoute}", vec![], "False InvalidRouteKinds"),
    ] {
        let list = format!(
            "{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{kinds: [{kinds}]}}}}"
        );
        let seen = World::new(&[&gateway(&list)]).translate();
        assert_eq!(seen.supported_kinds("gw", "http"), supported, "{kinds}");
        assert_eq!(seen.listener("gw", "http", "ResolvedRefs"), resolved, "{kinds}");
    }
}

#[test]
fn s7_26_attached_routes_are_those_accepted() {
    let list = format!(
        "{{name: one, port: 80, protocol: HTTP}}, {{name: two, port: 80, protocol: HTTP}}, \
         {{name: https, port: 443, protocol: HTTPS, hostname: a.example, {CERT}}}"
    );
    let routes = [
        route("all", "rules: [{}]"),
        route("host", "hostnames: [b.example], rules: [{}]"),
        route("bad-ref", "rules: [{backendRefs: [{name: absent, port: 80}]}]"),
        route("bad-filter", "rules: [{filters: [{type: CORS, cors: {}}]}]"),
        route("wrong", "rules: [{}]").replace("{name: gw}", "{name: gw, sectionName: zero}"),
    ];
    let seen = World::new(&[&gateway(&list), &routes.join("\n---\n")]).translate();
    assert_eq!(seen.attached("gw", "one"), 3, "also where the listener is not accepted");
    assert_eq!(seen.attached("gw", "two"), 3);
    assert_eq!(seen.attached("gw", "https"), 2);
    let twice = route("twice", "rules: [{}]")
        .replace("[{name: gw}]", "[{name: gw}, {name: gw, sectionName: one}]");
    let seen = World::new(&[&gateway("{name: one, port: 80, protocol: HTTP}"), &twice]).translate();
    assert_eq!(seen.attached("gw", "one"), 1, "a route counts once");
    assert_eq!(seen.only_rule().attachments.len(), 1);
}

#[test]
fn s7_31_addresses_are_honoured_or_refused() {
    let seen = |addresses: &str, available: &[&str]| {
        let gateway = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw}}, \
             spec: {{gatewayClassName: penstock, addresses: [{addresses}], \
             listeners: [{{name: http, port: 80, protocol: HTTP}}]}}}}"
        );
        let mut world = World::new(&[&gateway]);
        let available = available.iter().map(|a| a.parse().expect("an address"));
        world.index.settings_mut().addresses = available.collect();
        world.translate()
    };
    let both = |addresses: &str, available: &[&str]| {
        let seen = seen(addresses, available);
        (seen.gateway("gw", "Accepted"), seen.confirm(&[]).gateway("gw", "Programmed"))
    };
    let accepted = || "True Accepted".to_owned();
    let programmed = "True Programmed".to_owned();
    assert_eq!(both("", &["192.0.2.1"]), (accepted(), programmed.clone()));
    assert_eq!(both("{value: 192.0.2.1}", &["192.0.2.1"]), (accepted(), programmed.clone()));
    assert_eq!(both("{type: IPAddress}", &["192.0.2.1"]), (accepted(), programmed.clone()));
    assert_eq!(both("{value: 127.0.0.1}", &["0.0.0.0"]), (accepted(), programmed));
    let missing = (accepted(), "False AddressNotAssigned".into());
    assert_eq!(both("{type: IPAddress}", &[]), missing);
    assert_eq!(
        both("{value: 192.0.2.9}", &["192.0.2.1"]),
        (accepted(), "False AddressNotUsable".into())
    );
    let hostname = both("{type: Hostname, value: a.example}", &["192.0.2.1"]);
    assert_eq!(hostname, ("False UnsupportedAddress".into(), "False Invalid".into()));
    let status = seen("", &["192.0.2.1"]).statuses;
    let addresses = status.gateways.values().next().and_then(|s| s.addresses.clone());
    assert_eq!(addresses.expect("addresses")[0].value, "192.0.2.1");
}

#[test]
fn s7_22_a_listener_that_is_not_valid_overlaps_with_none() {
    let https = |name: &str, host: &str| {
        format!("{{name: {name}, port: 443, protocol: HTTPS, hostname: '{host}', {CERT}}}")
    };
    let list = [https("a", "a.example"), https("b", "a.example"), https("c", "*.example")];
    let seen = World::new(&[&secret("cert", &["x"]), &gateway(&list.join(", "))]).translate();
    assert_eq!(seen.listener("gw", "a", "Conflicted"), "True HostnameConflict");
    for name in ["a", "b", "c"] {
        assert_eq!(seen.listener("gw", name, "OverlappingTLSConfig"), "", "{name}");
    }
}
