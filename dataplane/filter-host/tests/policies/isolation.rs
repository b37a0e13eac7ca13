//! Who shares an instance, and what one policy's end means for the others.

use penstock_config::Filter;
use penstock_filter_host::{PrepareError, Verdict, Worker};

use crate::support::{Words, config, count, filter, host, mode, prepare, set, shared, version};

fn calls(worker: &mut Worker, filters: &[&Filter]) -> Vec<u32> {
    let policies: Vec<_> = filters.iter().map(|filter| prepare(worker, filter)).collect();
    policies.iter().map(|policy| count(&worker.on_request(policy, &Words::default()))).collect()
}

#[test]
fn policies_of_one_namespace_share_an_instance_and_keep_their_own_state() {
    let mut worker = Worker::new(shared());
    let policies =
        ["isolation-a/a", "isolation-a/b"].map(|name| prepare(&mut worker, &mode(name, "obey")));
    let outcomes = [0, 1, 0].map(|i: usize| worker.on_request(&policies[i], &Words::default()));
    assert_eq!([0, 1, 2].map(|i: usize| count(&outcomes[i])), [1, 2, 3]);
    assert_eq!(
        [0, 1, 2].map(|i: usize| set(&outcomes[i], "x-own")),
        [Some("1"), Some("1"), Some("2")]
    );
}

#[test]
fn namespaces_never_share_an_instance() {
    let (a, b) = (mode("isolation-b/a", "obey"), mode("isolation-c/a", "obey"));
    assert_eq!(calls(&mut Worker::new(shared()), &[&a, &b]), [1, 1]);
}

#[test]
fn other_grants_or_limits_are_other_instances() {
    let base = mode("isolation-d/a", "obey");
    let of = |name: &str, change: fn(&mut Filter)| {
        let mut filter = Filter { name: format!("isolation-d/{name}"), ..base.clone() };
        change(&mut filter);
        filter
    };
    let filters = [
        of("grants", |f| f.grants = vec!["log".to_owned()]),
        of("memory", |f| f.memory_bytes += 1 << 16),
        of("deadline", |f| f.deadline_us += 1),
        of("invocations", |f| f.max_invocations = 7),
        of("config", |f| f.config_json = "\"other\"".to_owned()),
    ];
    let mut all = vec![&base];
    all.extend(&filters);
    assert_eq!(calls(&mut Worker::new(shared()), &all), [1, 1, 1, 1, 1, 2], "only the last shares");
}

#[test]
fn workers_share_no_instance() {
    let filter = mode("isolation-e/a", "obey");
    assert_eq!(calls(&mut Worker::new(shared()), &[&filter]), [1]);
    assert_eq!(calls(&mut Worker::new(shared()), &[&filter]), [1]);
}

#[test]
fn a_policy_that_traps_costs_its_neighbours_nothing() {
    let mut worker = Worker::new(shared());
    let evil = prepare(&mut worker, &mode("isolation-f/evil", "obey"));
    let good = prepare(&mut worker, &mode("isolation-f/good", "other"));
    for _ in 0..3 {
        let lost = worker.on_request(&evil, &Words::told("trap"));
        assert!(matches!(lost.verdict, Verdict::Failed { status: 503, .. }));
        assert_eq!(count(&worker.on_request(&good, &Words::default())), 1);
    }
}

#[test]
fn a_policy_that_cannot_be_prepared_leaves_the_live_ones_alone() {
    let mut worker = Worker::new(shared());
    let good = prepare(&mut worker, &mode("isolation-g/good", "obey"));
    assert_eq!(count(&worker.on_request(&good, &Words::default())), 1);
    for (i, bad) in
        ["problems", "configure-traps", "configure-eats", "plan-traps", "forbidden-write"]
            .into_iter()
            .enumerate()
    {
        let filter = mode("isolation-g/bad", bad);
        let error = worker.prepare(&filter, version(&filter)).expect_err("a refusal");
        let expected = match bad {
            "problems" => matches!(error, PrepareError::InvalidConfig { .. }),
            "forbidden-write" => matches!(error, PrepareError::InvalidPlan(_)),
            _ => matches!(error, PrepareError::Failed { .. }),
        };
        assert!(expected, "{bad}: {error}");
        let calls = count(&worker.on_request(&good, &Words::default()));
        assert_eq!(calls, i as u32 + 2, "{bad}: the same instance goes on");
    }
}

#[test]
fn the_same_version_twice_is_the_same_policy_until_both_are_released() {
    let mut worker = Worker::new(shared());
    let filter = mode("isolation-h/a", "obey");
    let (first, second) = (prepare(&mut worker, &filter), prepare(&mut worker, &filter));
    worker.on_request(&first, &Words::default());
    worker.release(first);
    let outcome = worker.on_request(&second, &Words::default());
    assert_eq!(set(&outcome, "x-own"), Some("2"));
    worker.release(second);
    let third = prepare(&mut worker, &filter);
    assert_eq!(set(&worker.on_request(&third, &Words::default()), "x-own"), Some("1"));
}

#[test]
fn a_new_version_lives_beside_the_old_one() {
    let mut worker = Worker::new(shared());
    let old = mode("isolation-i/a", "obey");
    let new = Filter { generation: 2, ..mode("isolation-i/a", "inputs") };
    let (before, after) = (prepare(&mut worker, &old), prepare(&mut worker, &new));
    assert_eq!(count(&worker.on_request(&before, &Words::default())), 1);
    assert!(set(&worker.on_request(&after, &Words::default()), "x-echo").is_some());
    worker.release(before);
    assert!(set(&worker.on_request(&after, &Words::default()), "x-echo").is_some());
}

#[test]
fn a_policy_that_traps_when_it_ends_takes_nobody_along() {
    let mut worker = Worker::new(shared());
    let good = prepare(&mut worker, &mode("isolation-j/good", "obey"));
    let bad = prepare(&mut worker, &mode("isolation-j/bad", "drop-traps"));
    worker.release(bad);
    assert_eq!(count(&worker.on_request(&good, &Words::default())), 1);
}

#[test]
fn released_policies_leave_nothing_behind() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    for i in 0..200 {
        let filter = filter("headers", &format!("ns-{i}/a"), "\"obey\"");
        let policy = prepare(&mut worker, &filter);
        assert_eq!(count(&worker.on_request(&policy, &Words::default())), 1);
        worker.release(policy);
    }
    assert!(host.stats().is_empty(), "64 instances suffice for 200 namespaces in turn");
}
