//! Instances are replaced by age and size, and spares are built again.

use penstock_filter_host::{FilterFailure, Tier, Worker};

use crate::support::{Words, config, count, host, mode, prepare};

#[test]
fn an_instance_is_replaced_after_its_invocations_and_its_state_is_gone() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let mut filter = mode("shop/a", "obey");
    filter.max_invocations = 5;
    let policy = prepare(&mut worker, &filter);
    let counts: Vec<u32> =
        (0..12).map(|_| count(&worker.on_request(&policy, &Words::default()))).collect();
    // The plan was asked in the spare, which counts as a call of the host but not of the guest.
    assert_eq!(counts, [1, 2, 3, 4, 5, 1, 2, 3, 4, 1, 2, 3], "live, spare, built");
    assert_eq!(host.stats()[0].recycles, 2);
}

#[test]
fn one_invocation_makes_every_call_a_first_one() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let mut filter = mode("shop/a", "obey");
    filter.max_invocations = 1;
    let policy = prepare(&mut worker, &filter);
    for i in 0..20 {
        if i % 3 == 0 {
            worker.maintain();
        }
        assert_eq!(count(&worker.on_request(&policy, &Words::default())), 1);
    }
}

#[test]
fn workers_do_not_replace_their_instances_all_at_once() {
    let host = host(config());
    let mut filter = mode("shop/a", "obey");
    filter.max_invocations = 80;
    let mut ages = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut worker = Worker::new(&host);
        let policy = prepare(&mut worker, &filter);
        let counts = (0..200).map(|_| count(&worker.on_request(&policy, &Words::default())));
        let counts: Vec<u32> = counts.collect();
        let ends = counts.windows(2).filter(|pair| pair[1] == 1).map(|pair| pair[0]);
        // The first instance of a worker, and those that a jittered age ended.
        ages.extend(ends);
    }
    assert!(ages.len() > 1 && ages.iter().all(|age| (69..=80).contains(age)), "{ages:?}");
}

#[test]
fn an_instance_that_grows_is_replaced_before_its_memory_is_gone() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let mut filter = mode("shop/a", "obey");
    filter.memory_bytes = 4 << 20;
    let policy = prepare(&mut worker, &filter);
    for _ in 0..100 {
        assert!(count(&worker.on_request(&policy, &Words::told("leak"))) <= 16);
        let memory = host.stats()[0].memory_bytes;
        assert!(memory <= 8 << 20, "live and spare: {memory}");
    }
    let stats = &host.stats()[0];
    assert!(stats.recycles >= 5, "{}", stats.recycles);
    assert_eq!(stats.failures, [0; 8]);
}

#[test]
fn an_instance_that_is_large_from_the_start_is_not_replaced_over_and_over() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let mut filter = mode("shop/a", "starts-large");
    filter.memory_bytes = 6 << 20;
    let policy = prepare(&mut worker, &filter);
    for i in 1..20 {
        assert_eq!(count(&worker.on_request(&policy, &Words::default())), i);
    }
    assert_eq!(host.stats()[0].recycles, 0);
}

#[test]
fn upkeep_builds_the_spare_that_a_trap_used_up() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("shop/a", "obey"));
    let instances = || host.stats()[0].instances;
    assert_eq!(instances(), 2, "live and spare");
    worker.on_request(&policy, &Words::told("trap"));
    assert_eq!(instances(), 1);
    assert_eq!(worker.maintain(), 1);
    assert_eq!(instances(), 2);
    assert_eq!(worker.maintain(), 0);
}

#[test]
fn every_step_and_failure_is_counted_once() {
    let host = host(config());
    let mut workers = [Worker::new(&host), Worker::new(&host)];
    let memo = mode("shop/memo", "memo");
    for worker in &mut workers {
        let policy = prepare(worker, &memo);
        for order in ["a", "a", "a", "fault", "trap"] {
            worker.on_request(&policy, &Words::told(order));
        }
    }
    let stats = host.stats().remove(0);
    assert_eq!(stats.filter, "shop/memo");
    assert_eq!((stats.steps(Tier::Call), stats.steps(Tier::Memo)), (6, 4));
    assert_eq!(stats.failures(FilterFailure::Fault), 2);
    assert_eq!(stats.failures(FilterFailure::Trap), 2);
    assert_eq!(stats.call_times.iter().sum::<u64>(), 6);
    assert!(stats.call_time_sum.as_nanos() > 0);
    drop(workers);
    assert!(host.stats().is_empty());
}
