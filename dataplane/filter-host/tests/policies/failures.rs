//! Run-time failures: what they do to the request, and to the instance.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use penstock_config::{Filter, OnFailure, OpaqueValues};
use penstock_filter_host::{
    FilterFailure, HeaderDecision, HostConfig, Outcome, QuarantineConfig, Verdict, Worker,
};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::support::{Words, config, count, filter, host, mode, prepare, set, shared};

/// Failures that say nothing of the instance's fate, and those that cost it.
const KEEPS: [(&str, FilterFailure); 5] = [
    ("fault", FilterFailure::Fault),
    ("undeclared", FilterFailure::WriteDenied),
    ("host", FilterFailure::WriteDenied),
    ("crlf", FilterFailure::BadValue),
    ("respond-bad", FilterFailure::BadValue),
];
const LOSES: [(&str, FilterFailure); 4] = [
    ("trap", FilterFailure::Trap),
    ("recurse", FilterFailure::Trap),
    ("loop", FilterFailure::Deadline),
    ("eat", FilterFailure::Memory),
];

fn open(mut filter: Filter) -> Filter {
    filter.on_failure = OnFailure::Open as i32;
    filter
}

fn failure(outcome: &Outcome<HeaderDecision>) -> (u16, FilterFailure) {
    match outcome.verdict {
        Verdict::Failed { status, failure } => (status, failure),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn faults_and_refused_decisions_answer_500_and_keep_the_instance() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("failures-a/a", "obey"));
    for (calls, (order, expected)) in KEEPS.into_iter().enumerate() {
        let outcome = worker.on_request(&policy, &Words::told(order));
        assert_eq!(failure(&outcome), (500, expected), "{order}");
        assert!(outcome.message.is_some(), "{order}");
        assert_eq!(count(&worker.on_request(&policy, &Words::default())), 2 * calls as u32 + 2);
    }
}

#[test]
fn a_lost_instance_answers_503_and_the_spare_takes_over() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("failures-b/a", "obey"));
    for (order, expected) in LOSES {
        worker.maintain();
        assert!(count(&worker.on_request(&policy, &Words::default())) > 0);
        let outcome = worker.on_request(&policy, &Words::told(order));
        assert_eq!(failure(&outcome), (503, expected), "{order}: {:?}", outcome.message);
        assert_eq!(count(&worker.on_request(&policy, &Words::default())), 1, "{order}");
    }
}

#[test]
fn without_a_spare_a_new_instance_takes_over() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &mode("failures-c/a", "obey"));
    for _ in 0..4 {
        let outcome = worker.on_request(&policy, &Words::told("trap"));
        assert_eq!(failure(&outcome), (503, FilterFailure::Trap));
    }
    assert_eq!(count(&worker.on_request(&policy, &Words::default())), 1);
}

#[test]
fn open_skips_every_failure_of_the_policy() {
    let quarantine = QuarantineConfig { failures: 1000, ..QuarantineConfig::default() };
    let host = host(HostConfig { quarantine, ..config() });
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &open(mode("failures-d/a", "obey")));
    for (order, expected) in KEEPS.into_iter().chain(LOSES) {
        let outcome = worker.on_request(&policy, &Words::told(order));
        assert_eq!(outcome.verdict, Verdict::Skipped(expected), "{order}");
    }
    let policy = prepare(&mut worker, &open(filter("paths", "failures-d/b", "null")));
    for (order, expected) in [
        ("fault", FilterFailure::Fault),
        ("bad-path", FilterFailure::BadValue),
        ("trap", FilterFailure::Trap),
    ] {
        let outcome = worker.decide_path(&policy, &Words::told(order));
        assert_eq!(outcome.verdict, Verdict::Skipped(expected), "{order}");
    }
}

#[test]
fn an_input_that_is_not_text_is_answered_400_or_arrives_replaced() {
    let mut worker = Worker::new(shared());
    let words = Words::default().with("header/x-do", b"a\xffb");
    let reject = mode("failures-e/a", "obey");
    for filter in [reject.clone(), open(reject.clone())] {
        let policy = prepare(&mut worker, &filter);
        let outcome = worker.on_request(&policy, &words);
        assert_eq!(failure(&outcome), (400, FilterFailure::Opaque));
        worker.release(policy);
    }
    let lossy =
        Filter { opaque_values: OpaqueValues::Lossy as i32, ..mode("failures-e/b", "inputs") };
    let policy = prepare(&mut worker, &lossy);
    let outcome = worker.on_request(&policy, &words);
    let Verdict::Decided(HeaderDecision::Edit(edits)) = &outcome.verdict else { panic!() };
    assert!(format!("{edits:?}").contains(r"a\xef\xbf\xbdb"), "U+FFFD: {edits:?}");
    assert_eq!(set(&outcome, "x-count"), None);
}

#[test]
fn a_call_gets_its_deadline_and_hardly_more() {
    let mut worker = Worker::new(shared());
    let deadline = Duration::from_millis(5);
    let mut filter = mode("failures-f/a", "obey");
    filter.deadline_us = 5000;
    let policy = prepare(&mut worker, &filter);
    let times: Vec<Duration> = (0..8)
        .map(|_| {
            worker.maintain();
            let begun = Instant::now();
            let outcome = worker.on_request(&policy, &Words::told("loop"));
            let time = begun.elapsed();
            assert_eq!(failure(&outcome).1, FilterFailure::Deadline);
            time
        })
        .collect();
    let best = times.iter().min().expect("times");
    assert!(times.iter().all(|time| *time >= deadline), "{times:?}");
    // The others may have waited for a processor: this machine runs many tests at once.
    assert!(*best < deadline + Duration::from_millis(3), "{times:?}");
}

/// A thread that waits for a processor does not use up its policy's time.
#[test]
fn a_call_that_has_to_wait_for_a_processor_is_not_at_fault() {
    let mut processor = CpuSet::new();
    processor.set(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let crowd = || {
            sched_setaffinity(None, &processor).expect("a processor");
            while !stop.load(Relaxed) {
                std::hint::spin_loop();
            }
        };
        (0..8).for_each(|_| _ = scope.spawn(crowd));
        let work = scope.spawn(|| {
            sched_setaffinity(None, &processor).expect("a processor");
            let mut worker = Worker::new(shared());
            let mut filter = mode("failures-h/a", "obey");
            filter.deadline_us = 10_000;
            let policy = prepare(&mut worker, &filter);
            let call = |_| {
                let begun = Instant::now();
                let outcome = worker.on_request(&policy, &Words::told("work"));
                assert!(matches!(outcome.verdict, Verdict::Decided(_)), "{outcome:?}");
                begun.elapsed()
            };
            (0..40).map(call).max()
        });
        let longest = work.join();
        stop.store(true, Relaxed);
        let longest = longest.expect("no call failed").expect("calls");
        println!("the longest call was on its way for {longest:?}");
    });
}

#[test]
fn the_first_call_after_a_pause_has_a_deadline_too() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("failures-g/a", "obey"));
    let asleep = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        host.is_idle()
    });
    assert!(asleep, "the deadline thread sleeps while nothing runs");
    let outcome = worker.on_request(&policy, &Words::told("loop"));
    assert_eq!(failure(&outcome).1, FilterFailure::Deadline);
}
