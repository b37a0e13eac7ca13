//! A filter that keeps losing its instances rests, on all workers, and recovers.

use std::time::{Duration, Instant};

use penstock_config::OnFailure;
use penstock_filter_host::{
    FilterFailure, HeaderDecision, Host, HostConfig, Outcome, QuarantineConfig, Tier, Verdict,
    Worker,
};

use crate::support::{Words, config, count, host, mode, prepare};

const PAUSE: Duration = Duration::from_millis(300);

fn quarantined() -> Verdict<HeaderDecision> {
    Verdict::Failed { status: 503, failure: FilterFailure::Quarantined }
}

fn strict() -> Host {
    let quarantine = QuarantineConfig {
        failures: 3,
        window: Duration::from_secs(10),
        backoff: PAUSE,
        max_backoff: Duration::from_secs(60),
    };
    host(HostConfig { quarantine, ..config() })
}

/// Asks until it is no longer refused.
fn first_admitted(mut ask: impl FnMut() -> Outcome<HeaderDecision>) -> Outcome<HeaderDecision> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let outcome = ask();
        if outcome.verdict != quarantined() {
            return outcome;
        }
        assert!(Instant::now() < end, "it never recovers");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn lost_instances_on_any_worker_quarantine_the_filter_on_all_until_a_probe_succeeds() {
    let host = strict();
    let (mut one, mut two) = (Worker::new(&host), Worker::new(&host));
    let filter = mode("shop/a", "obey");
    let (on_one, on_two) = (prepare(&mut one, &filter), prepare(&mut two, &filter));
    one.on_request(&on_one, &Words::told("trap"));
    one.on_request(&on_one, &Words::told("fault"));
    two.on_request(&on_two, &Words::told("trap"));
    assert_eq!(count(&one.on_request(&on_one, &Words::default())), 2, "faults do not count");
    let begun = Instant::now();
    one.on_request(&on_one, &Words::told("loop"));
    for (worker, policy) in [(&mut one, &on_one), (&mut two, &on_two)] {
        let outcome = worker.on_request(policy, &Words::default());
        assert_eq!(outcome.verdict, quarantined());
    }
    assert!(host.stats()[0].quarantined);
    let probe = first_admitted(|| two.on_request(&on_two, &Words::default()));
    assert!(begun.elapsed() >= PAUSE, "{:?}", begun.elapsed());
    assert_eq!(count(&probe), 1);
    assert!(!host.stats()[0].quarantined);
    assert_eq!(count(&one.on_request(&on_one, &Words::default())), 1, "on all workers");
}

#[test]
fn a_failed_probe_means_a_longer_rest() {
    let host = strict();
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("shop/a", "obey"));
    for _ in 0..3 {
        worker.on_request(&policy, &Words::told("trap"));
    }
    let probe = first_admitted(|| worker.on_request(&policy, &Words::told("trap")));
    let failed_at = Instant::now();
    assert_eq!(probe.verdict, Verdict::Failed { status: 503, failure: FilterFailure::Trap });
    assert_eq!(worker.on_request(&policy, &Words::default()).verdict, quarantined());
    assert_eq!(count(&first_admitted(|| worker.on_request(&policy, &Words::default()))), 1);
    assert!(failed_at.elapsed() >= 2 * PAUSE - Duration::from_millis(10));
}

#[test]
fn neighbours_and_new_versions_of_a_quarantined_filter_serve_on() {
    let host = strict();
    let mut worker = Worker::new(&host);
    let filter = mode("shop/a", "obey");
    let policy = prepare(&mut worker, &filter);
    let neighbour = prepare(&mut worker, &mode("shop/b", "obey"));
    for _ in 0..3 {
        worker.on_request(&policy, &Words::told("trap"));
    }
    assert_eq!(worker.on_request(&policy, &Words::default()).verdict, quarantined());
    assert!(count(&worker.on_request(&neighbour, &Words::default())) > 0);
    let mut mended = filter;
    mended.generation = 2;
    let mended = prepare(&mut worker, &mended);
    assert!(count(&worker.on_request(&mended, &Words::default())) > 0);
}

#[test]
fn a_quarantined_filter_that_may_be_skipped_is_skipped() {
    let host = strict();
    let mut worker = Worker::new(&host);
    let mut filter = mode("shop/a", "memo");
    filter.on_failure = OnFailure::Open as i32;
    let policy = prepare(&mut worker, &filter);
    worker.on_request(&policy, &Words::told("known"));
    for _ in 0..3 {
        worker.on_request(&policy, &Words::told("trap"));
    }
    let outcome = worker.on_request(&policy, &Words::default());
    assert_eq!(outcome.verdict, Verdict::Skipped(FilterFailure::Quarantined));
    assert_eq!(worker.on_request(&policy, &Words::told("known")).tier, Tier::Memo, "needs no call");
}
