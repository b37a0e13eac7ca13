//! Points 7 to 11: backends.

use crate::fixture::{World, route};
use penstock_config::{BackendProtocol, Kind, ResourceKind};
use penstock_resources::Kind as ObjectKind;

fn backends(refs: &str) -> String {
    route("r", &format!("rules: [{{backendRefs: [{refs}]}}]"))
}

#[test]
fn s7_07_no_backend_refs_is_no_unresolved_reference() {
    let seen = World::new(&[&route("r", "rules: [{matches: [{path: {value: /x}}]}]")]).translate();
    assert!(seen.only_rule().backends.is_empty(), "the proxy answers 500");
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(seen.route("r", "Accepted"), "True Accepted");
}

#[test]
fn s7_08_invalid_ref_answers_500_only_for_its_weight_share() {
    let services = "{apiVersion: v1, kind: Service, metadata: {name: udp}, \
                    spec: {ports: [{port: 53, protocol: UDP}]}}\n---\n\
                    {apiVersion: v1, kind: Service, metadata: {name: portless}, spec: {}}";
    let refs = [
        ("{name: a, kind: Bucket, port: 80, weight: 3}", "InvalidKind"),
        ("{name: a, group: example.com, port: 80, weight: 3}", "InvalidKind"),
        ("{name: missing, port: 80, weight: 3}", "BackendNotFound"),
        ("{name: a, port: 81, weight: 3}", "BackendNotFound"),
        ("{name: a, weight: 3}", "BackendNotFound"),
        ("{name: portless, port: 80, weight: 3}", "BackendNotFound"),
        ("{name: c, namespace: other, port: 80, weight: 3}", "RefNotPermitted"),
        ("{name: udp, port: 53, weight: 3}", "UnsupportedProtocol"),
    ];
    for (bad, reason) in refs {
        let spec = backends(&format!("{{name: a, port: 80, weight: 7}}, {bad}"));
        let seen = World::new(&[services, &spec]).translate();
        let rule = seen.only_rule();
        let shares: Vec<_> =
            rule.backends.iter().map(|b| (b.weight, b.failure.is_some())).collect();
        assert_eq!(shares, [(7, false), (3, true)], "{bad}");
        assert_eq!(rule.backends[1].failure.as_ref().map(|f| f.reason.as_str()), Some(reason));
        assert_eq!(rule.backends[1].backend, "");
        assert_eq!(seen.route("r", "ResolvedRefs"), format!("False {reason}"), "{bad}");
        assert_eq!(seen.route("r", "Accepted"), "True Accepted", "{bad}");
        assert_eq!(seen.attached("gw", "http"), 1);
    }
}

#[test]
fn s7_08_a_service_without_ready_endpoints_has_none() {
    let mut world = World::new(&[&backends("{name: a, port: 80}")]);
    world.remove(ObjectKind::EndpointSlice, "default", "a-1");
    let seen = world.translate();
    assert!(seen.endpoints("default/a:80").is_empty(), "the proxy answers 503");
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");
}

#[test]
fn s7_09_weights_default_to_one_and_zero_stays_zero() {
    let refs = "{name: a, port: 80}, {name: b, port: 80, weight: 0}, \
                {name: a, port: 80, weight: 5, filters: [{type: RequestHeaderModifier, \
                 requestHeaderModifier: {set: [{name: X, value: v}]}}]}";
    let rule = World::new(&[&backends(refs)]).translate().only_rule();
    let weights: Vec<_> = rule.backends.iter().map(|b| b.weight).collect();
    assert_eq!(weights, [1, 0, 5]);
    assert_eq!(rule.backends[2].filters.len(), 1);
    assert_eq!(rule.backends[2].reference, "default/a:80");
}

#[test]
fn s7_10_app_protocol_says_what_endpoints_speak() {
    for (protocol, expected) in [
        ("http", Ok(BackendProtocol::Http1)),
        ("kubernetes.io/ws", Ok(BackendProtocol::Http1)),
        ("kubernetes.io/h2c", Ok(BackendProtocol::H2c)),
        ("kubernetes.io/wss", Err("UnsupportedProtocol")),
        ("https", Err("UnsupportedProtocol")),
    ] {
        let service = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: p}}, \
             spec: {{ports: [{{port: 80, appProtocol: {protocol}}}]}}}}"
        );
        let seen = World::new(&[&service, &backends("{name: p, port: 80}")]).translate();
        let backend = seen.state.iter().find_map(|r| match &*r.content {
            ResourceKind::Backend(backend) => Some(backend.protocol()),
            _ => None,
        });
        assert_eq!(backend, expected.ok(), "{protocol}");
        let condition =
            expected.map_or_else(|r| format!("False {r}"), |_| "True ResolvedRefs".into());
        assert_eq!(seen.route("r", "ResolvedRefs"), condition, "{protocol}");
    }
}

#[test]
fn s7_11_removing_a_reference_grant_revokes_at_once() {
    let grant = |to: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, \
             metadata: {{name: g, namespace: other}}, spec: {{\
             from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}}], \
             to: [{to}]}}}}"
        )
    };
    let spec = backends("{name: c, namespace: other, port: 80}");
    for (to, permitted) in [
        ("{group: '', kind: Service}", true),
        ("{group: '', kind: Service, name: c}", true),
        ("{group: '', kind: Service, name: d}", false),
        ("{group: '', kind: Secret}", false),
        ("{group: example.com, kind: Service}", false),
    ] {
        let mut world = World::new(&[&spec, &grant(to)]);
        let expected = if permitted { "True ResolvedRefs" } else { "False RefNotPermitted" };
        assert_eq!(world.translate().route("r", "ResolvedRefs"), expected, "{to}");
        world.remove(ObjectKind::ReferenceGrant, "other", "g");
        let seen = world.translate();
        assert_eq!(seen.route("r", "ResolvedRefs"), "False RefNotPermitted");
        assert!(seen.keys(Kind::Backend).is_empty(), "nothing of the other namespace is left");
    }
}

#[test]
fn s7_11_a_grant_for_another_namespace_or_kind_does_not_count() {
    let spec = backends("{name: c, namespace: other, port: 80}");
    for from in [
        "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: elsewhere}",
        "{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}",
        "{group: example.com, kind: HTTPRoute, namespace: default}",
    ] {
        let grant = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, \
             metadata: {{name: g, namespace: other}}, \
             spec: {{from: [{from}], to: [{{group: '', kind: Service}}]}}}}"
        );
        let seen = World::new(&[&spec, &grant]).translate();
        assert_eq!(seen.route("r", "ResolvedRefs"), "False RefNotPermitted", "{from}");
    }
}

fn endpoints(service: &str, slices: &[&str]) -> Vec<String> {
    let service =
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{service}}}}}");
    let mut world = World::new(&[&service, &backends("{name: s, port: 80}")]);
    for (at, slice) in slices.iter().enumerate() {
        world.add(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
             metadata: {{name: s-{at}, labels: {{kubernetes.io/service-name: s}}}}, {slice}}}"
        ));
    }
    let seen = world.translate();
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");
    seen.endpoints("default/s:80")
}

#[test]
fn endpoints_are_those_that_are_ready_or_else_those_that_still_serve() {
    let slice = |conditions: &str| {
        format!(
            "addressType: IPv4, ports: [{{port: 8080}}], endpoints: [\
             {{addresses: [10.0.0.9], conditions: {conditions}}}]"
        )
    };
    let ready = "addressType: IPv4, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]";
    let ports = "ports: [{port: 80}]";
    for (conditions, alone, beside) in [
        ("{ready: true}", true, true),
        ("{ready: false}", false, false),
        ("{ready: false, serving: false, terminating: true}", false, false),
        ("{ready: false, serving: true, terminating: true}", true, false),
        ("{}", true, true),
    ] {
        let it = "10.0.0.9:8080".to_owned();
        assert_eq!(endpoints(ports, &[&slice(conditions)]).contains(&it), alone, "{conditions}");
        let both = endpoints(ports, &[&slice(conditions), ready]);
        assert_eq!(both.contains(&it), beside, "{conditions}");
        assert!(both.contains(&"10.0.0.1:8080".to_owned()), "{conditions}");
    }
}

#[test]
fn endpoint_ports_are_found_by_name() {
    let slice = "addressType: IPv4, ports: [{name: web, port: 8080}, {name: admin, port: 9090}], \
                 endpoints: [{addresses: [10.0.0.1]}]";
    assert_eq!(endpoints("ports: [{name: web, port: 80}]", &[slice]), ["10.0.0.1:8080"]);
    assert_eq!(
        endpoints("ports: [{name: x, port: 81}, {name: admin, port: 80}]", &[slice]),
        ["10.0.0.1:9090"]
    );
    assert!(endpoints("ports: [{name: other, port: 80}]", &[slice]).is_empty());
}

#[test]
fn a_port_of_a_slice_without_a_number_is_the_one_that_the_service_says() {
    let slice = "addressType: IPv4, ports: [{name: ''}], endpoints: [{addresses: [10.0.0.1]}]";
    for (port, expected) in [
        ("{port: 80}", "10.0.0.1:80"),
        ("{port: 80, targetPort: 9000}", "10.0.0.1:9000"),
        ("{port: 80, targetPort: web}", "10.0.0.1:80"),
    ] {
        assert_eq!(endpoints(&format!("ports: [{port}]"), &[slice]), [expected], "{port}");
    }
}

#[test]
fn endpoints_of_several_slices_are_sorted_and_unique() {
    let one = "addressType: IPv4, ports: [{port: 8080}], endpoints: [\
               {addresses: [10.0.0.2]}, {addresses: [10.0.0.1]}]";
    let two = "addressType: IPv4, ports: [{port: 8080}], endpoints: [\
               {addresses: [10.0.0.1]}, {addresses: [10.0.0.3]}]";
    let expected = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
    // A headless Service with slices that somebody wrote is no different.
    assert_eq!(endpoints("clusterIP: None, ports: [{port: 80}]", &[one, two]), expected);
}

#[test]
fn of_two_address_families_the_first_that_has_endpoints_is_used() {
    let v4 = "addressType: IPv4, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]";
    let v6 = "addressType: IPv6, ports: [{port: 8080}], endpoints: [{addresses: ['fd00::1']}]";
    let service = |families: &str| format!("ports: [{{port: 80}}]{families}");
    let first6 = service(", ipFamilies: [IPv6, IPv4]");
    assert_eq!(endpoints(&first6, &[v4, v6]), ["fd00::1:8080"]);
    assert_eq!(endpoints(&first6, &[v4]), ["10.0.0.1:8080"]);
    assert_eq!(endpoints(&service(", ipFamilies: [IPv4, IPv6]"), &[v4, v6]), ["10.0.0.1:8080"]);
    assert_eq!(endpoints(&service(""), &[v4, v6]).len(), 2);
}

#[test]
fn an_external_name_is_an_endpoint_in_standalone_mode_alone() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: x}, \
                   spec: {type: ExternalName, externalName: Www.Example.COM}}";
    let world = World::new(&[service, &backends("{name: x, port: 8080}")]);
    assert_eq!(world.translate().endpoints("default/x:8080"), ["www.example.com:8080"]);
    let seen = world.cluster().translate();
    assert_eq!(seen.route("r", "ResolvedRefs"), "False InvalidKind");
}

#[test]
fn an_external_name_is_one_host_and_has_the_ports_that_it_lists() {
    for (host, ports, expected) in [
        ("www.example.com", "", "True ResolvedRefs"),
        ("192.0.2.7", "", "True ResolvedRefs"),
        ("'*.example.com'", "", "False BackendNotFound"),
        ("a_b", "", "False BackendNotFound"),
        ("www.example.com", ", ports: [{port: 8080}]", "True ResolvedRefs"),
        ("www.example.com", ", ports: [{port: 8081}]", "False BackendNotFound"),
    ] {
        let service = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: x}}, \
             spec: {{type: ExternalName, externalName: {host}{ports}}}}}"
        );
        let seen = World::new(&[&service, &backends("{name: x, port: 8080}")]).translate();
        assert_eq!(seen.route("r", "ResolvedRefs"), expected, "{host}{ports}");
    }
}

#[test]
fn an_endpoint_slice_counts_for_the_service_of_its_label_as_long_as_it_says_so() {
    let slice = |service: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
             metadata: {{name: moving, labels: {{kubernetes.io/service-name: {service}}}}}, \
             ports: [{{port: 8080}}], endpoints: [{{addresses: [10.0.0.9]}}]}}"
        )
    };
    let mut world = World::new(&[&backends("{name: a, port: 80}, {name: b, port: 80}")]);
    let has = |world: &World, backend: &str| {
        world.translate().endpoints(backend).contains(&"10.0.0.9:8080".to_owned())
    };
    world.add(&slice("a"));
    assert!(has(&world, "default/a:80") && !has(&world, "default/b:80"));
    world.add(&slice("b"));
    assert!(!has(&world, "default/a:80") && has(&world, "default/b:80"));
    world.remove(ObjectKind::EndpointSlice, "default", "moving");
    assert!(!has(&world, "default/a:80") && !has(&world, "default/b:80"));
}
