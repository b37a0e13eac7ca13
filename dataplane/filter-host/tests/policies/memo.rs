//! Remembered decisions.

use std::time::Duration;

use penstock_filter_host::{Tier, Verdict, Worker};

use crate::support::{Words, count, mode, prepare, set, shared};

#[test]
fn a_decision_is_remembered_by_all_its_inputs() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("memo-a/a", "memo"));
    let mut ask = |x_do: &str, path: &str| {
        let words = Words::told(x_do).with("path", path);
        let outcome = worker.on_request(&policy, &words);
        (outcome.tier, count(&outcome), set(&outcome, "x-echo").map(str::to_owned))
    };
    let echo = |text: &str| Some(text.to_owned());
    assert_eq!(ask("a", "/1"), (Tier::Call, 1, echo("a")));
    assert_eq!(ask("a", "/1"), (Tier::Memo, 1, echo("a")));
    assert_eq!(ask("a", "/2"), (Tier::Call, 2, echo("a")), "the last input is part of the key");
    assert_eq!(ask("b", "/1"), (Tier::Call, 3, echo("b")), "the first input is part of the key");
    assert_eq!(ask("a", "/2"), (Tier::Memo, 2, echo("a")));
}

#[test]
fn an_absent_input_is_not_an_empty_one() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("memo-b/a", "memo"));
    let absent = Words::told("a");
    let empty = Words::told("a").with("path", "");
    assert_eq!(worker.on_request(&policy, &absent).tier, Tier::Call);
    assert_eq!(worker.on_request(&policy, &empty).tier, Tier::Call);
    assert_eq!(worker.on_request(&policy, &absent).tier, Tier::Memo);
}

#[test]
fn a_decision_is_forgotten_after_its_time_and_when_newer_ones_need_the_room() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("memo-c/a", "memo-ttl"));
    let words = Words::told("a");
    assert_eq!(worker.on_request(&policy, &words).tier, Tier::Call);
    std::thread::sleep(Duration::from_millis(35));
    assert_eq!(worker.on_request(&policy, &words).tier, Tier::Call);
    for i in 0..8 {
        assert_eq!(worker.on_request(&policy, &Words::told(&i.to_string())).tier, Tier::Call);
    }
    assert_eq!(
        worker.on_request(&policy, &words).tier,
        Tier::Call,
        "8 entries are the plan's limit"
    );
}

#[test]
fn policies_and_versions_remember_for_themselves() {
    let mut worker = Worker::new(shared());
    let words = Words::told("a");
    for name in ["memo-d/a", "memo-d/b"] {
        let policy = prepare(&mut worker, &mode(name, "memo"));
        assert_eq!(worker.on_request(&policy, &words).tier, Tier::Call, "{name}");
    }
    let mut newer = mode("memo-d/a", "memo");
    newer.generation = 2;
    let policy = prepare(&mut worker, &newer);
    assert_eq!(worker.on_request(&policy, &words).tier, Tier::Call);
}

#[test]
fn only_decisions_are_remembered() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("memo-e/a", "memo"));
    for order in ["fault", "undeclared", "crlf", "trap"] {
        for _ in 0..2 {
            let outcome = worker.on_request(&policy, &Words::told(order));
            assert_eq!(outcome.tier, Tier::Call, "{order}");
            assert!(matches!(outcome.verdict, Verdict::Failed { .. }), "{order}");
        }
    }
}

#[test]
fn a_memo_outlives_the_instance_that_filled_it() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("memo-f/a", "memo"));
    assert_eq!(worker.on_request(&policy, &Words::told("a")).tier, Tier::Call);
    worker.on_request(&policy, &Words::told("trap"));
    assert_eq!(worker.on_request(&policy, &Words::told("a")).tier, Tier::Memo);
}
