//! Points 1, 2, 3, 5, 12 to 14, 27, 29 and 30: attachment, matches and native filters of HTTPRoutes. What
//! requests meet (4, 6, 21) is tested beside the tables of the proxy.

use crate::fixture::{World, route, steps};
use penstock_config::{HttpMatch, Key, Kind, PathEdit, PathMatch, Redirect, StepAction, ValueTest};

const A: &str = "backendRefs: [{name: a, port: 80}]";

fn rule(spec: &str) -> penstock_config::Rule {
    World::new(&[&route("r", &format!("rules: [{{{spec}}}]"))]).translate().only_rule()
}

fn matches(spec: &str) -> Vec<HttpMatch> {
    rule(&format!("matches: [{spec}], {A}")).matches
}

#[test]
fn s7_01_rules_carry_what_decides_on_ties() {
    let old = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, \
               metadata: {name: r, creationTimestamp: '2026-01-02T03:04:05Z'}, \
               spec: {parentRefs: [{name: gw}], rules: [\
               {name: x, backendRefs: [{name: a, port: 80}]}, {name: w}]}}";
    let rules = World::new(&[old]).translate().rules_of("default/r");
    let order: Vec<_> = rules.iter().map(|r| (r.name.as_str(), r.position, r.created)).collect();
    assert_eq!(order, [("x", 0, 1_767_323_045), ("w", 1, 1_767_323_045)]);
}

#[test]
fn s7_02_path_matches_keep_their_type_and_case() {
    for (spec, expected) in [
        ("{}", PathMatch::Prefix("/".into())),
        ("{path: {value: /Abc}}", PathMatch::Prefix("/Abc".into())),
        ("{path: {type: PathPrefix, value: /abc/}}", PathMatch::Prefix("/abc/".into())),
        ("{path: {type: Exact, value: /abc}}", PathMatch::Exact("/abc".into())),
        (
            "{path: {type: RegularExpression, value: '/a[0-9]+'}}",
            PathMatch::Regex("/a[0-9]+".into()),
        ),
    ] {
        assert_eq!(matches(spec)[0].path, Some(expected), "{spec}");
    }
    assert_eq!(rule(A).matches[0].path, Some(PathMatch::Prefix("/".into())), "without matches");
}

#[test]
fn s7_03_of_equal_names_the_first_counts() {
    let headers = "{headers: [{name: X-One, value: a}, {name: x-one, value: b}, \
                   {name: w, type: RegularExpression, value: 'c.*'}]}";
    let found = &matches(headers)[0].headers;
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].name.as_str(), &found[0].test),
        ("x-one", &Some(ValueTest::Exact("a".into())))
    );
    assert_eq!(found[1].test, Some(ValueTest::Regex("c.*".into())));
    let query = "{queryParams: [{name: P, value: a}, {name: p, type: RegularExpression, value: b}, \
                 {name: P, value: c}]}";
    let found: Vec<_> =
        matches(query)[0].query.iter().map(|q| (q.name.clone(), q.test.clone())).collect();
    let exact = ("P".to_owned(), Some(ValueTest::Exact("a".into())));
    let regex = ("p".to_owned(), Some(ValueTest::Regex("b".into())));
    assert_eq!(found, [exact, regex], "names of query parameters are exact");
    assert_eq!(matches("{method: POST}")[0].method, "POST");
}

#[test]
fn s7_05_hostnames_meet_or_the_route_is_refused() {
    for (listener, route_names, expected) in [
        ("", "", Some(vec![""])),
        ("*.Example.com", "", Some(vec!["*.example.com"])),
        ("", "B.example.com, a.example.com", Some(vec!["a.example.com", "b.example.com"])),
        (
            "*.example.com",
            "a.example.com, a.b.example.com, other.org",
            Some(vec!["a.b.example.com", "a.example.com"]),
        ),
        ("a.example.com", "'*.example.com'", Some(vec!["a.example.com"])),
        ("*.example.com", "example.com", None),
        ("a.example.com", "b.example.com", None),
    ] {
        let gateway = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw}}, \
             spec: {{gatewayClassName: penstock, listeners: [\
             {{name: http, port: 80, protocol: HTTP, hostname: '{listener}'}}]}}}}"
        );
        let gateway = gateway.replace(", hostname: ''", "");
        let spec = route("r", &format!("hostnames: [{route_names}], rules: [{{{A}}}]"));
        let seen = World::new(&[&gateway, &spec]).translate();
        match expected {
            Some(names) => {
                assert_eq!(
                    seen.only_rule().attachments[0].hostnames,
                    names,
                    "{listener} {route_names}"
                );
                assert_eq!(seen.route("r", "Accepted"), "True Accepted");
                assert_eq!(seen.attached("gw", "http"), 1);
            }
            None => {
                assert!(seen.rules().is_empty(), "{listener} {route_names}");
                let accepted = seen.route("r", "Accepted");
                assert_eq!(accepted, "False NoMatchingListenerHostname");
                assert_eq!(seen.attached("gw", "http"), 0);
            }
        }
    }
}

#[test]
fn s7_12_header_modifiers_are_lower_case_and_one_for_each_name() {
    let spec = "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {\
                set: [{name: X-A, value: one}, {name: x-a, value: two}], \
                add: [{name: X-B, value: ' b '}], remove: [X-C, x-c]}}, \
                {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [Server]}}], ";
    let rule = rule(&format!("{spec}{A}"));
    assert_eq!(steps(&rule.filters), ["request-headers", "response-headers"]);
    let Some(StepAction::RequestHeaders(edit)) = &rule.filters[0].action else { panic!() };
    let set: Vec<_> = edit.set.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
    assert_eq!(set, [("x-a", "one")]);
    assert_eq!(edit.add[0].value, "b");
    assert_eq!(edit.remove, ["x-c"]);
}

#[test]
fn s7_12_names_and_values_that_would_break_a_message_are_refused() {
    for header in
        ["{name: 'x y', value: a}", "{name: '', value: a}", "{name: x, value: \"a\\r\\nb: c\"}"]
    {
        let spec = format!(
            "rules: [{{filters: [{{type: RequestHeaderModifier, \
             requestHeaderModifier: {{set: [{header}]}}}}], {A}}}]"
        );
        let seen = World::new(&[&route("r", &spec)]).translate();
        assert_eq!(seen.route("r", "Accepted"), "False UnsupportedValue", "{header}");
        assert!(seen.rules().is_empty());
    }
}

#[test]
fn s7_13_redirects_default_to_302_and_need_no_backend() {
    let redirect = |body: &str| {
        let rule = rule(&format!(
            "matches: [{{path: {{value: /a}}}}], \
             filters: [{{type: RequestRedirect, requestRedirect: {{{body}}}}}]"
        ));
        match rule.filters[0].action.clone() {
            Some(StepAction::Redirect(redirect)) => redirect,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(redirect(""), Redirect { status: 302, ..Redirect::default() });
    let full = redirect(
        "scheme: https, hostname: Example.org, port: 8443, statusCode: 308, \
                         path: {type: ReplaceFullPath, replaceFullPath: /b}",
    );
    assert_eq!(
        full,
        Redirect {
            scheme: "https".into(),
            hostname: "example.org".into(),
            port: 8443,
            status: 308,
            path: Some(PathEdit::Full("/b".into())),
        }
    );
    let prefix = redirect("path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}");
    assert_eq!(prefix.path, Some(PathEdit::Prefix(String::new())));
}

#[test]
fn s7_14_replacing_a_prefix_needs_prefix_matches() {
    let spec = |matches: &str| {
        route(
            "r",
            &format!(
                "rules: [{{matches: [{matches}], filters: [{{type: URLRewrite, urlRewrite: \
                 {{hostname: b.example, path: {{type: ReplacePrefixMatch, replacePrefixMatch: /x}}}}}}], {A}}}]"
            ),
        )
    };
    let good = World::new(&[&spec("{path: {value: /foo}}")]).translate();
    let Some(StepAction::Rewrite(rewrite)) = &good.only_rule().filters[0].action else { panic!() };
    assert_eq!(rewrite.path, Some(PathEdit::Prefix("/x".into())));
    assert_eq!(rewrite.hostname, "b.example");
    let bad = spec("{path: {value: /bar}}, {path: {type: Exact, value: /foo}}");
    let redirect =
        bad.replace("URLRewrite", "RequestRedirect").replace("urlRewrite", "requestRedirect");
    for bad in [bad, redirect] {
        let seen = World::new(&[&bad]).translate();
        assert_eq!(seen.route("r", "Accepted"), "False UnsupportedValue", "{bad}");
    }
}

#[test]
fn filters_that_are_not_served_are_refused_and_never_ignored() {
    let bodies = [
        (
            "{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}}}",
            "UnsupportedValue",
        ),
        ("{type: CORS, cors: {allowOrigins: ['https://a.example']}}", "UnsupportedValue"),
        ("{type: URLRewrite}", "UnsupportedValue"),
        ("{type: URLRewrite, urlRewrite: {hostname: '*.example'}}", "UnsupportedValue"),
        ("{type: URLRewrite, urlRewrite: {hostname: 192.0.2.1}}", "UnsupportedValue"),
        (
            "{type: URLRewrite, urlRewrite: {hostname: a.example}}, \
             {type: RequestRedirect, requestRedirect: {hostname: a.example}}",
            "IncompatibleFilters",
        ),
        (
            "{type: URLRewrite, urlRewrite: {hostname: a.example}}, \
             {type: URLRewrite, urlRewrite: {hostname: b.example}}",
            "IncompatibleFilters",
        ),
    ];
    for (filters, reason) in bodies {
        let all = route("r", &format!("rules: [{{filters: [{filters}], {A}}}]"));
        let seen = World::new(&[&all]).translate();
        assert_eq!(seen.route("r", "Accepted"), format!("False {reason}"), "{filters}");
        assert!(seen.rules().is_empty(), "{filters}");
        assert_eq!(seen.attached("gw", "http"), 0, "only accepted routes count");

        let backend =
            format!("rules: [{{backendRefs: [{{name: a, port: 80, filters: [{filters}]}}]}}]");
        let seen = World::new(&[&route("r", &backend)]).translate();
        assert_eq!(seen.route("r", "Accepted"), format!("False {reason}"), "{filters}");
    }
}

#[test]
fn s7_29_a_route_with_one_bad_rule_serves_the_others() {
    let spec = format!(
        "rules: [{{name: good, {A}}}, \
         {{name: cors, matches: [{{path: {{value: /c}}}}], filters: [{{type: CORS, cors: {{}}}}], {A}}}, \
         {{name: regex, matches: [{{path: {{type: RegularExpression, value: '('}}}}], {A}}}]"
    );
    let seen = World::new(&[&route("r", &spec)]).translate();
    assert_eq!(seen.keys(Kind::Rule), ["default/r/cors", "default/r/good"]);
    let rules = seen.rules_of("default/r");
    assert_eq!(
        steps(&rules[1].filters),
        ["500 UnsupportedValue"],
        "never served without its filter"
    );
    assert!(rules[1].backends.is_empty());
    assert_eq!(seen.route("r", "Accepted"), "True Accepted");
    assert_eq!(seen.route("r", "PartiallyInvalid"), "True UnsupportedValue");
    let message = seen.route_message("r", "PartiallyInvalid");
    assert!(message.starts_with("Dropped Rule"), "{message}");
    assert!(message.contains("rule cors") && message.contains("rule regex"), "{message}");
    let fine = World::new(&[&route("r", &format!("rules: [{{{A}}}]"))]).translate();
    assert_eq!(fine.route("r", "PartiallyInvalid"), "", "never False");
}

#[test]
fn timeouts_are_read_and_checked() {
    let timeouts = |body: &str| rule(&format!("timeouts: {{{body}}}, {A}"));
    let rule = timeouts("request: 1m30s, backendRequest: 500ms");
    assert_eq!((rule.request_timeout_ms, rule.backend_timeout_ms), (90_000, 500));
    let rule = timeouts("request: 0s, backendRequest: 5s");
    assert_eq!((rule.request_timeout_ms, rule.backend_timeout_ms), (0, 5_000), "0s is none");
    let rule = timeouts("request: 5s, backendRequest: 5s");
    assert_eq!((rule.request_timeout_ms, rule.backend_timeout_ms), (5_000, 5_000));
    for bad in ["request: 1d", "request: 1s, backendRequest: 2s"] {
        let spec = route("r", &format!("rules: [{{timeouts: {{{bad}}}, {A}}}]"));
        let seen = World::new(&[&spec]).translate();
        assert_eq!(seen.route("r", "Accepted"), "False UnsupportedValue", "{bad}");
    }
}

const TWO_LISTENERS: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw}, \
    spec: {gatewayClassName: penstock, listeners: [\
    {name: one, port: 80, protocol: HTTP}, {name: two, port: 8080, protocol: HTTP}]}}";

#[test]
fn s7_30_section_name_and_port_must_both_match() {
    for (parent, expected) in [
        ("{name: gw}", Ok(vec!["default/gw/one", "default/gw/two"])),
        ("{name: gw, sectionName: one}", Ok(vec!["default/gw/one"])),
        ("{name: gw, port: 8080}", Ok(vec!["default/gw/two"])),
        ("{name: gw, sectionName: two, port: 8080}", Ok(vec!["default/gw/two"])),
        ("{name: gw, sectionName: one, port: 8080}", Err("NoMatchingParent")),
        ("{name: gw, sectionName: three}", Err("NoMatchingParent")),
        ("{name: gw, port: 81}", Err("NoMatchingParent")),
        ("{name: absent}", Err("NoMatchingParent")),
        ("{name: gw, namespace: other}", Err("NoMatchingParent")),
        ("{name: a, group: '', kind: Service}", Err("NoMatchingParent")),
        ("{name: gw, kind: Service}", Err("NoMatchingParent")),
        ("{name: gw, group: example.com}", Err("NoMatchingParent")),
    ] {
        let spec = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r}}, \
             spec: {{parentRefs: [{parent}], rules: [{{{A}}}]}}}}"
        );
        let seen = World::new(&[TWO_LISTENERS, &spec]).translate();
        match expected {
            Ok(listeners) => {
                let rule = seen.only_rule();
                let found: Vec<_> = rule.attachments.iter().map(|a| a.listener.as_str()).collect();
                assert_eq!(found, listeners, "{parent}");
                assert_eq!(seen.route("r", "Accepted"), "True Accepted");
            }
            Err(reason) => {
                assert_eq!(seen.route("r", "Accepted"), format!("False {reason}"), "{parent}");
                assert!(seen.rules().is_empty(), "{parent}");
            }
        }
    }
}

#[test]
fn s7_30_the_message_says_what_was_asked_for_and_what_there_is() {
    for (parent, asked) in [
        ("{name: gw, sectionName: three}", "no listener with the name three;"),
        ("{name: gw, port: 81}", "no listener on port 81;"),
        ("{name: gw, sectionName: one, port: 81}", "no listener with the name one on port 81;"),
    ] {
        let spec = route("r", "rules: [{}]").replace("{name: gw}", parent);
        let message =
            World::new(&[TWO_LISTENERS, &spec]).translate().route_message("r", "Accepted");
        assert_eq!(message, format!("Gateway default/gw has {asked} it has one, two"));
    }
}

#[test]
fn s7_30_each_parent_has_its_entry_and_one_that_stands_there_twice_has_one() {
    let (one, two) = ("{name: gw, sectionName: one}", "{name: gw, sectionName: two}");
    for parents in [vec![one, two], vec![one, two, one]] {
        let spec = route("r", "rules: [{name: x}]").replace("{name: gw}", &parents.join(", "));
        let seen = World::new(&[TWO_LISTENERS, &spec]).translate();
        let entries = &seen.statuses.http_routes.values().next().expect("a status").parents;
        let sections: Vec<_> =
            entries.iter().filter_map(|p| p.parent_ref.section_name.as_deref()).collect();
        assert_eq!(sections, ["one", "two"], "{parents:?}");
        let refused = (Key::new(Kind::Rule, "default/r/x"), "InvalidMatch", "because");
        let after = seen.confirm(&[refused]);
        for (at, section) in sections.into_iter().enumerate() {
            let invalid = after.route_parent("r", at, "PartiallyInvalid");
            assert_eq!(invalid, "True UnsupportedValue", "{section} of {parents:?}");
        }
    }
}

/// ListenerSets are not served: a reference to one attaches nothing, and is nobody else's affair.
#[test]
fn s7_27_a_parent_ref_to_a_listener_set_is_judged_by_itself() {
    let spec = route("r", "rules: [{}]")
        .replace("{name: gw}", "{name: gw}, {name: set, kind: ListenerSet}");
    let seen = World::new(&[&spec]).translate();
    assert_eq!(seen.route("r", "Accepted"), "True Accepted");
    assert_eq!(seen.route_parent("r", 1, "Accepted"), "False NoMatchingParent");
    let attached: Vec<_> =
        seen.only_rule().attachments.iter().map(|a| a.listener.clone()).collect();
    assert_eq!(attached, ["default/gw/http"]);
    let seen = World::new(&[&spec]).cluster().translate();
    let parents = &seen.statuses.http_routes.values().next().expect("a status").parents;
    assert_eq!(parents.len(), 1, "in a cluster another controller may serve it and says so");
}

#[test]
fn s7_30_allowed_routes_govern_other_namespaces() {
    let namespaces =
        "{apiVersion: v1, kind: Namespace, metadata: {name: red, labels: {team: red}}}";
    for (allowed, from, accepted) in [
        ("{}", "default", true),
        ("{}", "red", false),
        ("{namespaces: {from: Same}}", "red", false),
        ("{namespaces: {from: All}}", "red", true),
        ("{namespaces: {from: Selector, selector: {matchLabels: {team: red}}}}", "red", true),
        ("{namespaces: {from: Selector, selector: {matchLabels: {team: blue}}}}", "red", false),
        (
            "{namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: blue}}}}",
            "blue",
            true,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: In, values: [red, x]}]}}}",
            "red",
            true,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}}",
            "blue",
            true,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}}",
            "red",
            false,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: Exists}]}}}",
            "red",
            true,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: Exists}]}}}",
            "blue",
            false,
        ),
        (
            "{namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}}",
            "blue",
            true,
        ),
        ("{kinds: [{kind: GRPCRoute}]}", "default", false),
    ] {
        let gateway = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw}}, \
             spec: {{gatewayClassName: penstock, listeners: [\
             {{name: http, port: 80, protocol: HTTP, allowedRoutes: {allowed}}}]}}}}"
        );
        let spec = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, \
             metadata: {{name: r, namespace: {from}}}, \
             spec: {{parentRefs: [{{name: gw, namespace: default}}], rules: [{{}}]}}}}"
        );
        let seen = World::new(&[namespaces, &gateway, &spec]).translate();
        let expected = if accepted { "True Accepted" } else { "False NotAllowedByListeners" };
        assert_eq!(seen.route(&format!("{from}/r"), "Accepted"), expected, "{allowed} from {from}");
        assert_eq!(seen.attached("gw", "http"), i32::from(accepted), "{allowed} from {from}");
    }
}

#[test]
fn in_a_cluster_a_parent_that_is_not_ours_has_no_status() {
    let others = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: x}, \
                  spec: {controllerName: example.com/x}}\n---\n\
                  {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: theirs}, \
                  spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}}";
    let spec = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, \
                spec: {parentRefs: [{name: theirs}, {name: absent}, {name: gw}], rules: [{}]}}";
    let seen = World::new(&[others, spec]).cluster().translate();
    let parents = &seen.statuses.http_routes.values().next().expect("a status").parents;
    let names: Vec<_> = parents.iter().map(|p| p.parent_ref.name.as_str()).collect();
    assert_eq!(names, ["gw"]);
    assert_eq!(seen.statuses.gateways.len(), 1, "the other Gateway is not ours");
}

#[test]
fn decision_3_a_rule_is_its_name_or_what_it_matches() {
    let keys = |rules: &[&str]| {
        let spec = route("r", &format!("rules: [{}]", rules.join(", ")));
        World::new(&[&spec]).translate().keys(Kind::Rule)
    };
    let (one, two) = ("{matches: [{path: {value: /1}}, {method: GET}]}", "{name: named}");
    let three = "{matches: [{path: {value: /3}}]}";
    let forward = keys(&[one, two, three]);
    assert_eq!(forward.len(), 3);
    assert_eq!(forward, keys(&[three, one, two]), "reordering rules renames nothing");
    let swapped = "{matches: [{method: GET}, {path: {value: /1}}]}";
    assert_eq!(forward, keys(&[swapped, two, three]), "nor does reordering matches");
    let named = keys(&["{name: x}", "{name: x}", "{name: x}"]);
    assert_eq!(named, ["default/r/x", "default/r/x~2", "default/r/x~3"], "equal ones are counted");
}
