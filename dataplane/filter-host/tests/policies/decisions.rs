//! Decisions of header and path policies, and which of them need a call.

use penstock_filter_host::{Edit, HeaderDecision, PathChange, PathDecision, Tier, Verdict, Worker};

use crate::support::{Words, count, filter, mode, prepare, set, shared};

fn worker() -> Worker {
    Worker::new(shared())
}

#[test]
fn a_call_passes_edits_or_answers() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &mode("decisions-a/a", "obey"));
    let outcome = worker.on_request(&policy, &Words::told("pass"));
    assert_eq!(
        (outcome.verdict, outcome.tier),
        (Verdict::Decided(HeaderDecision::Next), Tier::Call)
    );
    let outcome = worker.on_request(&policy, &Words::told("grüß"));
    let Verdict::Decided(HeaderDecision::Edit(edits)) = &outcome.verdict else { panic!() };
    let Edit::Set(name, value) = &edits[2] else { panic!("{edits:?}") };
    assert_eq!((name.as_str(), value.as_bytes()), ("x-echo", "grüß".as_bytes()));
    let outcome = worker.on_request(&policy, &Words::told("respond"));
    let Verdict::Decided(HeaderDecision::Respond(response)) = &outcome.verdict else { panic!() };
    assert_eq!((response.status.as_u16(), &response.body[..]), (403, &b"no"[..]));
    assert_eq!(response.headers[0].0, "x-why");
}

#[test]
fn inputs_arrive_in_the_declared_order_and_absent_ones_as_none() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &mode("decisions-b/a", "inputs"));
    let outcome = worker.on_request(&policy, &Words::told("1").with("path", "/p"));
    assert_eq!(set(&outcome, "x-echo"), Some(r#"[Some("/p"), Some("1"), None]"#));
    let outcome = worker.on_request(&policy, &Words::default().with("cookie/c", ""));
    assert_eq!(set(&outcome, "x-echo"), Some(r#"[None, None, Some("")]"#));
}

#[test]
fn the_response_stage_sees_the_response() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &mode("decisions-c/a", "response"));
    let words = Words::default().with("status", "204").with("response-header/x-do", "r");
    let outcome = worker.on_response(&policy, &words);
    assert_eq!(set(&outcome, "x-echo"), Some(r#"[Some("204"), Some("r")]"#));
    assert_eq!(worker.on_request(&policy, &words).tier, Tier::GuardMiss, "no request stage");
}

#[test]
fn constant_edits_need_no_call() {
    let mut worker = worker();
    let constant = prepare(&mut worker, &mode("decisions-d/a", "constant"));
    let counter = prepare(&mut worker, &mode("decisions-d/b", "obey"));
    for _ in 0..3 {
        let outcome = worker.on_request(&constant, &Words::told("trap"));
        assert_eq!((outcome.tier, set(&outcome, "x-mode")), (Tier::Constant, Some("constant")));
    }
    assert_eq!(count(&worker.on_request(&counter, &Words::default())), 1, "the instance was idle");
}

#[test]
fn a_call_happens_only_where_every_guard_holds() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &mode("decisions-e/a", "guard"));
    let all =
        || Words::default().with("header/x-guard", "a").with("method", "GET").with("path", "/in/x");
    let misses = [
        Words::default().with("method", "GET").with("path", "/in"),
        all().with("method", "POST"),
        all().with("method", "GETS"),
        all().with("header/x-guard", "c"),
        all().with("path", "/i"),
        all().with("header/x-off", ""),
    ];
    for (i, words) in misses.iter().enumerate() {
        let outcome = worker.on_request(&policy, words);
        assert_eq!(outcome.tier, Tier::GuardMiss, "case {i}");
        assert_eq!(outcome.verdict, Verdict::Decided(HeaderDecision::Next));
    }
    let outcome = worker.on_request(&policy, &all());
    assert_eq!((outcome.tier, count(&outcome)), (Tier::Call, 1));
}

#[test]
fn path_decisions_mirror_the_interface() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &filter("paths", "decisions-f/a", "null"));
    let mut decide = |order: &str| {
        let outcome = worker.decide_path(&policy, &Words::told(order).with("path", "/a"));
        match outcome.verdict {
            Verdict::Decided(decision) => decision,
            other => panic!("{order}: {other:?}"),
        }
    };
    assert_eq!(decide(""), PathDecision::Next);
    let PathDecision::Rewrite(rewrite) = decide("rewrite") else { panic!() };
    assert_eq!(rewrite.host.as_ref().map(|h| h.as_bytes()), Some(&b"inner.example:8080"[..]));
    assert_eq!(rewrite.path, Some(PathChange::Full("/v2/a".into())));
    assert_eq!(rewrite.query.as_deref(), Some("calls=2"));
    let PathDecision::Redirect(redirect) = decide("redirect") else { panic!() };
    assert_eq!((redirect.status.as_u16(), redirect.port), (308, Some(8443)));
    assert_eq!(decide("backend"), PathDecision::Backend("shop/web:80".into()));
    let PathDecision::Respond(response) = decide("respond") else { panic!() };
    assert_eq!(response.status.as_u16(), 410);
}

#[test]
fn what_the_proxy_cannot_carry_out_counts_as_a_fault_of_the_policy() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &filter("paths", "decisions-g/a", "null"));
    let outcome = worker.fault::<PathDecision>(&policy, "the rule matched no prefix");
    assert!(matches!(outcome.verdict, Verdict::Failed { status: 500, .. }));
    assert_eq!(outcome.message.as_deref(), Some("the rule matched no prefix"));
}

#[test]
fn a_path_decision_is_remembered_where_the_plan_allows_it() {
    let mut worker = worker();
    let policy = prepare(&mut worker, &filter("paths", "decisions-h/a", "\"memo\""));
    let words = Words::told("rewrite").with("path", "/a");
    let first = worker.decide_path(&policy, &words);
    let again = worker.decide_path(&policy, &words);
    assert_eq!((first.tier, again.tier), (Tier::Call, Tier::Memo));
    assert_eq!(first.verdict, again.verdict);
}
