//! What `Host::check` says of a filter.

use std::time::{Duration, Instant};

use penstock_config::PolicyKind;
use penstock_filter_host::{PrepareError, Selector, Tier};

use crate::support::{filter, mode, shared};

fn error(filter: &penstock_config::Filter) -> PrepareError {
    shared().check(filter).expect_err("a refusal")
}

/// Pointers and messages of a refused configuration.
fn problems(filter: &penstock_config::Filter) -> Vec<(String, String)> {
    let PrepareError::InvalidConfig { problems } = error(filter) else { panic!("no problems") };
    problems.into_iter().map(|p| (p.pointer, p.message)).collect()
}

#[test]
fn a_plan_comes_from_the_configured_policy() {
    let plan = shared().check(&mode("shop/a", "memo")).expect("a plan");
    assert_eq!((plan.kind, &*plan.filter), (PolicyKind::Headers, "shop/a"));
    assert!(plan.has_request() && !plan.has_response());
    let stage = plan.request.as_ref().expect("a stage");
    assert_eq!(stage.inputs[1], Selector::Path);
    assert_eq!(
        stage.writes.patterns().collect::<Vec<_>>(),
        ["x-count", "x-own", "x-echo", "x-mode"]
    );
    assert_eq!(plan.tier(), Tier::Memo);
    assert_eq!(shared().check(&mode("shop/a", "constant")).expect("a plan").tier(), Tier::Constant);
}

#[test]
fn a_module_that_is_not_loaded_or_of_another_kind_is_refused() {
    let mut unknown = mode("shop/a", "obey");
    unknown.module = "sha256:00".to_owned();
    assert_eq!(error(&unknown), PrepareError::ModuleNotFound("sha256:00".to_owned()));
    let mut other = mode("shop/a", "obey");
    other.kind = PolicyKind::Tls as i32;
    assert_eq!(error(&other), PrepareError::WrongWorld { wanted: "tls", actual: "headers" });
}

#[test]
fn imports_that_are_not_granted_are_refused_by_name() {
    let mut capable = filter("capable", "shop/a", "null");
    capable.grants = vec!["clock".to_owned(), "metrics".to_owned(), "trace".to_owned()];
    let missing = ["log", "random"].map(str::to_owned).to_vec();
    assert_eq!(error(&capable), PrepareError::CapabilityDenied(missing));
    capable.grants = ["clock", "log", "metrics", "random", "trace"].map(str::to_owned).to_vec();
    assert!(shared().check(&capable).is_ok());
    capable.grants.push("kv".to_owned());
    assert!(matches!(error(&capable), PrepareError::CapabilityDenied(_)));
}

#[test]
fn the_schema_judges_a_configuration_before_the_policy_does() {
    for (config, word) in [("5", "string"), ("\"ab\"", "3"), ("null", "string")] {
        let problems = problems(&filter("headers", "shop/a", config));
        assert!(problems[0].1.contains(word), "{config}: {problems:?}");
    }
    assert!(problems(&filter("headers", "shop/a", "{"))[0].1.contains("JSON"));
}

#[test]
fn problems_of_the_policy_keep_their_pointers() {
    let expected = [("/a/0", "a first"), ("/b", "a second")];
    let found = problems(&mode("shop/a", "problems"));
    assert!(found.iter().map(|(p, m)| (p.as_str(), m.as_str())).eq(expected), "{found:?}");
}

#[test]
fn a_policy_that_traps_loops_or_eats_while_it_is_configured_is_refused_in_bounded_time() {
    for (name, word) in [
        ("configure-traps", "filter-trap"),
        ("configure-loops", "filter-deadline"),
        ("configure-eats", "filter-memory"),
    ] {
        let begun = Instant::now();
        let error = error(&mode("shop/a", name));
        let PrepareError::Failed { step: "configure", message } = &error else { panic!("{error}") };
        assert!(message.starts_with(word), "{name}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}");
    }
    let error = error(&mode("shop/a", "plan-traps"));
    assert!(matches!(error, PrepareError::Failed { step: "plan", .. }), "{error}");
}

#[test]
fn a_plan_that_asks_for_what_no_policy_may_have_is_refused() {
    let error = error(&mode("shop/a", "forbidden-write"));
    let PrepareError::InvalidPlan(sentences) = &error else { panic!("{error}") };
    assert_eq!(sentences, &["writes: no policy may change `host`"]);
}

#[test]
fn limits_out_of_range_are_refused() {
    let mut large = mode("shop/a", "obey");
    large.memory_bytes = 1 << 40;
    let mut none = mode("shop/a", "obey");
    none.memory_bytes = 0;
    let mut long = mode("shop/a", "obey");
    long.deadline_us = 60_000_000;
    for filter in [large, none, long] {
        assert!(matches!(error(&filter), PrepareError::Limits(_)));
    }
    let mut tiny = mode("shop/a", "obey");
    tiny.memory_bytes = 64 << 10;
    let error = error(&tiny);
    assert!(matches!(error, PrepareError::Failed { step: "instantiate", .. }), "{error}");
}
