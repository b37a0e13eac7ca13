//! What rules decide.

use penstock_filter::IntoPathDecision;
use penstock_filter::plan::{equals, header, one_of, starts_with};
use penstock_filter::prelude::*;
use proptest::prelude::*;

use super::*;

fn policy(rules: &str) -> PathRewrite {
    let config = from_json(&format!(r#"{{"rules": {rules}}}"#)).unwrap();
    PathRewrite::configure(config, &About::default()).unwrap()
}

fn problems(rules: &str) -> Vec<String> {
    let config = from_json(&format!(r#"{{"rules": {rules}}}"#)).unwrap();
    let problems = PathRewrite::configure(config, &About::default()).unwrap_err();
    problems.into_iter().map(|problem| problem.pointer).collect()
}

fn decide(policy: &PathRewrite, values: &[Option<&str>]) -> Result<PathDecision, Fault> {
    let values: Vec<_> = values.iter().map(|value| value.map(str::to_owned)).collect();
    policy.decide(&Inputs::new(&values))
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = policy(
        r#"[
            {"match": {"exact": "/a"}, "backend": "one"},
            {"match": {"prefix": "/a"}, "backend": "two"},
            {"backend": "three"}
        ]"#,
    );
    for (path, name) in [("/a", "one"), ("/a/b", "two"), ("/ab", "three")] {
        assert_eq!(decide(&policy, &[Some(path)]), Ok(backend(name)), "{path}");
    }
}

#[test]
fn no_match_leaves_the_request_alone() {
    let policy = policy(r#"[{"match": {"exact": "/a"}, "backend": "one"}]"#);
    assert_eq!(decide(&policy, &[Some("/b")]), Ok(PathDecision::Next));
}

#[test]
fn groups_and_inputs_make_the_new_target() {
    let policy = policy(
        r#"[{
            "match": {"regex": "^/users/(?<id>[0-9]+)/(.*)$"},
            "rewrite": {"path": "/u/{match.id}/{match.2}", "host": "{header.x-region|eu}.internal",
                        "query": "user={match.1}"}
        }]"#,
    );
    assert_eq!(policy.stage().inputs(), [path(), header("x-region")]);
    let expected = rewrite().path("/u/7/a/b").host("eu.internal").query("user=7");
    let decision = decide(&policy, &[Some("/users/7/a/b"), None]);
    assert_eq!(decision, expected.into_path_decision());
}

#[test]
fn a_prefix_is_replaced_with_its_rest_kept() {
    let policy = policy(
        r#"[{"match": {"prefix": "/old"}, "redirect": {"status": 308, "path": "/new{match.rest}"}}]"#,
    );
    let expected = redirect(308).path("/new/a").into_path_decision();
    assert_eq!(decide(&policy, &[Some("/old/a")]), expected);
}

#[test]
fn a_path_that_would_be_empty_is_the_root() {
    let policy = policy(r#"[{"match": {"prefix": "/app"}, "rewrite": {"path": "{match.rest}"}}]"#);
    assert_eq!(decide(&policy, &[Some("/app")]), rewrite().path("/").into_path_decision());
}

#[test]
fn what_rules_share_is_tested_by_the_host() {
    let guards = |rules: &str| policy(rules).stage().guards().to_vec();
    let beta = r#""when": [{"input": "header.x-beta", "equals": "1"}], "backend": "b""#;
    assert_eq!(guards(&format!("[{{{beta}}}]")), [equals(header("x-beta"), "1")]);
    assert_eq!(guards(&format!(r#"[{{{beta}}}, {{"backend": "c"}}]"#)), []);
    let exact = r#"[{"match": {"exact": "/a"}, "backend": "b"},
                    {"match": {"exact": "/b"}, "backend": "c"}]"#;
    assert_eq!(guards(exact), [one_of(path(), ["/a", "/b"])]);
    let prefixes = r#"[{"match": {"prefix": "/old/x"}, "backend": "b"},
                       {"match": {"exact": "/old/y"}, "backend": "c"}]"#;
    assert_eq!(guards(prefixes), [starts_with(path(), "/old/")]);
    let apart = r#"[{"match": {"prefix": "/a"}, "backend": "b"},
                    {"match": {"prefix": "/b"}, "backend": "c"}]"#;
    assert_eq!(guards(apart), []);
    let regex = r#"[{"match": {"exact": "/a"}, "backend": "b"},
                    {"match": {"regex": "a"}, "backend": "c"}]"#;
    assert_eq!(guards(regex), []);
}

#[test]
fn conditions_of_one_rule_are_tested_with_the_path() {
    let policy = policy(
        r#"[{"when": [{"input": "cookie.beta", "equals": "1"}], "backend": "beta"},
            {"match": {"exact": "/never"}, "backend": "never"}]"#,
    );
    assert_eq!(decide(&policy, &[Some("/"), Some("1")]), Ok(backend("beta")));
    assert_eq!(decide(&policy, &[Some("/"), None]), Ok(PathDecision::Next));
}

#[test]
fn an_absent_input_without_fallback_is_a_fault() {
    let policy = policy(r#"[{"backend": "{header.x-to}"}]"#);
    assert_eq!(decide(&policy, &[Some("/"), Some("blue")]), Ok(backend("blue")));
    assert!(decide(&policy, &[Some("/"), None]).is_err());
}

#[test]
fn redirects_are_302_unless_told() {
    let policy = policy(r#"[{"redirect": {"scheme": "https", "port": 8443}}]"#);
    let expected = redirect(302).scheme("https").port(8443).into_path_decision();
    assert_eq!(decide(&policy, &[Some("/")]), expected);
}

#[test]
fn decisions_are_remembered_unless_told() {
    let config = |json| PathRewrite::configure(from_json(json).unwrap(), &About::default());
    let told = config(r#"{"rules": [{"backend": "a"}], "remember": 0}"#).unwrap();
    let mut plain = Stage::new();
    plain.input(path());
    assert_eq!(told.stage(), plain);
    assert_eq!(policy(r#"[{"backend": "a"}]"#).stage(), plain.memo(1024));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let pointers = problems(
        r#"[
            {"match": {"regex": "("}, "backend": "a"},
            {"match": {"prefix": "a"}, "backend": "a"},
            {"backend": "{match.1}"},
            {"match": {"regex": "^/(.)"}, "rewrite": {"path": "/{match.2}", "query": "{status}"}},
            {"backend": "a", "redirect": {}},
            {"redirect": {"status": 200, "path": "/", "prefix": "/"}},
            {"rewrite": {}}
        ]"#,
    );
    let expected = [
        "/rules/0/match/regex",
        "/rules/1/match/prefix",
        "/rules/2/backend",
        "/rules/3/rewrite/path",
        "/rules/3/rewrite/query",
        "/rules/4",
        "/rules/5/redirect/status",
        "/rules/5/redirect",
        "/rules/6/rewrite",
    ];
    assert_eq!(pointers, expected);
}

proptest! {
    /// Against the naive reading: a prefix matches when the path's segments begin with its own.
    #[test]
    fn a_prefix_rule_matches_by_segments(
        prefix in "(/[ab]{0,2}){1,3}",
        path in "(/[ab]{0,2}){1,4}",
    ) {
        let policy = policy(&format!(
            r#"[{{"match": {{"prefix": "{prefix}"}}, "backend": "hit"}}]"#
        ));
        let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let naive = segments(&path).starts_with(&segments(prefix.trim_end_matches('/')));
        let hit = decide(&policy, &[Some(&path)]) == Ok(backend("hit"));
        prop_assert_eq!(hit, naive, "{} {}", prefix, path);
    }

    #[test]
    fn replacing_a_prefix_keeps_every_byte_after_it(rest in "(/[a-z%]{0,5}){0,4}") {
        let policy = policy(
            r#"[{"match": {"prefix": "/from"}, "rewrite": {"path": "/to{match.rest}"}}]"#,
        );
        let decision = decide(&policy, &[Some(&format!("/from{rest}"))]);
        prop_assert_eq!(decision, rewrite().path(format!("/to{rest}")).into_path_decision());
    }
}
