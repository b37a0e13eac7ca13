//! What rules do, seen through the stage that the host gets.

use penstock_filter::plan::{equals, header, path, query_param};
use penstock_filter::prelude::*;
use proptest::prelude::*;

use super::*;

fn policy(json: &str) -> HeaderRules {
    HeaderRules::configure(from_json(json).unwrap(), &About::default()).unwrap()
}

fn problems(json: &str) -> Vec<(String, String)> {
    let problems = HeaderRules::configure(from_json(json).unwrap(), &About::default()).unwrap_err();
    problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
}

fn request(policy: &HeaderRules, values: &[Option<&str>]) -> Decision {
    let values: Vec<_> = values.iter().map(|value| value.map(str::to_owned)).collect();
    policy.on_request(&Inputs::new(&values)).unwrap()
}

#[test]
fn constant_rules_need_no_call() {
    let policy = policy(r#"{"request": [{"set": {"X-A": "1"}, "remove": ["x-b"]}]}"#);
    let expected = Stage::new().writes("x-b").writes("x-a").constant(remove("x-b").set("x-a", "1"));
    assert_eq!(policy.request_stage(), Some(expected));
    assert_eq!(policy.response_stage(), None);
}

#[test]
fn a_lone_rules_conditions_are_tested_by_the_host() {
    let policy = policy(
        r#"{"request": [{
            "when": [{"input": "header.x-debug", "equals": "1"}],
            "set": {"x-a": "1"}
        }]}"#,
    );
    let stage = policy.request_stage().unwrap();
    assert_eq!(stage.guards(), [equals(header("x-debug"), "1")]);
    assert_eq!(stage.inputs(), []);
    assert!(stage.constant_edits().is_some());
}

#[test]
fn what_rules_share_is_tested_by_the_host_and_the_rest_here() {
    let policy = policy(
        r#"{"request": [
            {"when": [{"input": "path", "prefix": "/a"}, {"input": "header.x", "present": true}],
             "set": {"x-one": "1"}},
            {"when": [{"input": "path", "prefix": "/a"}, {"input": "header.x", "present": false}],
             "set": {"x-two": "2"}}
        ]}"#,
    );
    let stage = policy.request_stage().unwrap();
    assert_eq!(stage.guards().len(), 1);
    assert_eq!(stage.inputs(), [header("x")]);
    assert!(stage.constant_edits().is_none());
    assert_eq!(request(&policy, &[Some("")]), set("x-one", "1").into());
    assert_eq!(request(&policy, &[None]), set("x-two", "2").into());
}

#[test]
fn values_are_templates_over_what_is_declared() {
    let policy = policy(
        r#"{"request": [{
            "set": {"x-who": "{header.X-User|anonymous}@{client-address}"},
            "append": {"x-trail": "{path}"}
        }]}"#,
    );
    let stage = policy.request_stage().unwrap();
    assert_eq!(stage.inputs().len(), 3);
    let decision = request(&policy, &[None, Some("192.0.2.1"), Some("/x")]);
    let expected = set("x-who", "anonymous@192.0.2.1").append("x-trail", "/x");
    assert_eq!(decision, expected.into());
}

#[test]
fn a_set_without_a_value_removes_what_a_client_sent() {
    let policy = policy(
        r#"{"request": [{"set": {"x-id": "{cookie.id}"}, "append": {"x-ids": "{cookie.id}"}}]}"#,
    );
    assert_eq!(request(&policy, &[None]), remove("x-id").into());
}

#[test]
fn a_value_with_line_breaks_counts_as_absent() {
    let policy = policy(r#"{"request": [{"set": {"x-q": "{query-param.q|none}"}}]}"#);
    assert_eq!(policy.request_stage().unwrap().inputs(), [query_param("q")]);
    assert_eq!(request(&policy, &[Some("a\r\nx-evil: 1")]), set("x-q", "none").into());
}

#[test]
fn responses_can_read_the_request_and_the_response() {
    let policy = policy(
        r#"{"response": [{
            "when": [{"input": "status", "oneOf": ["500", "503"]}],
            "set": {"x-path": "{path}", "x-was": "{response-header.server}"}
        }]}"#,
    );
    let inputs = policy.response_stage().unwrap();
    assert_eq!(inputs.inputs()[0], path());
    let values = [Some("/a".to_owned()), Some("nginx".to_owned())];
    let decision = policy.on_response(&Inputs::new(&values)).unwrap();
    assert_eq!(decision, set("x-path", "/a").set("x-was", "nginx").into());
}

#[test]
fn remembering_is_asked_of_the_host() {
    let policy = policy(r#"{"request": [{"set": {"x-a": "{path}"}}], "remember": 64}"#);
    let mut expected = Stage::new();
    expected.input(path());
    assert_eq!(policy.request_stage(), Some(expected.writes("x-a").memo(64)));
}

#[test]
fn without_rules_the_policy_takes_no_part() {
    let policy = policy("null");
    assert_eq!((policy.request_stage(), policy.response_stage()), (None, None));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let problems = problems(
        r#"{"request": [
            {"set": {"host": "a", "x-a": "{statu}", "x/b": "{"}},
            {"when": [{"input": "status", "equals": "200"}], "remove": ["a b"]},
            {}
        ]}"#,
    );
    let pointers: Vec<_> = problems.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let expected = [
        "/request/1/when/0/input",
        "/request/0/set/host",
        "/request/0/set/x-a",
        "/request/0/set/x~1b",
        "/request/0/set/x~1b",
        "/request/1/remove/0",
        "/request/2",
    ];
    assert_eq!(pointers, expected, "{problems:?}");
}

proptest! {
    /// RFC 9110, section 5.5, and the interface: no value with CR, LF or NUL ever leaves.
    #[test]
    fn no_input_makes_a_value_that_a_field_cannot_carry(value in proptest::option::of(any::<String>())) {
        let policy = policy(r#"{"request": [{"set": {"x-a": "a{header.x}b"}}]}"#);
        match request(&policy, &[value.as_deref()]) {
            Decision::Edit(edits) => for edit in edits {
                if let penstock_filter::Edit::Set(field) = edit {
                    prop_assert!(!field.value.contains(['\r', '\n', '\0']));
                }
            },
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
