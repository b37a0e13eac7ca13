//! The interfaces of `penstock:host`.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use penstock_config::Filter;
use penstock_filter_host::{FilterFailure, PrepareError, SpanValue, UserValue, Verdict, Worker};

use crate::support::{Words, config, filter, host, prepare, set, shared};

fn capable(name: &str, config_json: &str) -> Filter {
    let grants = ["clock", "log", "metrics", "random", "trace"].map(str::to_owned).to_vec();
    Filter { grants, ..filter("capable", name, config_json) }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn log_lines_carry_filter_route_and_trace() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &capable("capabilities-a/a", "null"));
    let text = logged(|| {
        let outcome = worker.on_request(&policy, &Words::told("log"));
        assert_eq!(set(&outcome, "x-answer"), Some("true"));
    });
    for part in [
        "a line",
        "capabilities-a/a",
        "shop/route",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "WARN",
        r#"{\"key\":\"value \\\"1\\\"\"}"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn log_lines_beyond_the_rate_are_counted_instead() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &capable("shop/a", "null"));
    let text = logged(|| {
        worker.on_request(&policy, &Words::told("log-much"));
    });
    let kept = text.lines().count() as u64;
    assert!((100..=200).contains(&kept), "{kept}");
    assert_eq!(host.stats()[0].log_dropped, 500 - kept);
}

#[test]
fn metrics_are_summed_over_workers_and_survive_a_lost_instance() {
    let host = host(config());
    let mut workers = [Worker::new(&host), Worker::new(&host)];
    let filter = capable("shop/a", "null");
    for worker in &mut workers {
        let policy = prepare(worker, &filter);
        for order in ["gauge", "random-much", "clock"] {
            worker.on_request(&policy, &Words::told(order));
        }
    }
    let user = host.stats().remove(0).user;
    let calls = user.iter().find(|series| series.name == "calls").expect("the counter");
    assert_eq!(calls.value, UserValue::Counter(6));
    assert_eq!(calls.labels, [("filter_name".to_owned(), "shop/a".to_owned())]);
    let level = user.iter().find(|series| series.name == "level").expect("the gauge");
    assert_eq!(level.value, UserValue::Gauge(2.5));
}

#[test]
fn a_metric_that_is_made_while_a_request_runs_is_a_fault_and_not_exported() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &capable("shop/a", "null"));
    let outcome = worker.on_request(&policy, &Words::told("late-metric"));
    assert_eq!(outcome.verdict, Verdict::Failed { status: 500, failure: FilterFailure::Fault });
    assert!(host.stats()[0].user.iter().all(|series| series.name != "late"));
    let outcome = worker.on_request(&policy, &Words::told("clock"));
    assert!(set(&outcome, "x-answer").is_some(), "the next call is not affected");
}

#[test]
fn a_metric_with_an_impossible_name_is_a_problem_of_the_configuration() {
    let error =
        shared().check(&capable("capabilities-b/a", "\"no-metric\"")).expect_err("a problem");
    let PrepareError::InvalidConfig { problems } = &error else { panic!("{error}") };
    assert!(problems[0].message.contains("no-metric"), "{error}");
}

#[test]
fn a_trial_run_exports_no_metric() {
    let host = host(config());
    host.check(&capable("shop/a", "null")).expect("a plan");
    assert!(host.stats().is_empty());
}

#[test]
fn spans_get_notes_only_when_the_exchange_is_recorded() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &capable("capabilities-c/a", "null"));
    let outcome = worker.on_request(&policy, &Words::told("trace"));
    assert_eq!((set(&outcome, "x-answer"), outcome.span.is_none()), (Some("false"), true));
    let outcome = worker.on_request(&policy, &Words::told("trace").recorded());
    assert_eq!(set(&outcome, "x-answer"), Some("true"));
    let span = outcome.span.expect("notes");
    let expected = [
        ("tenant".to_owned(), SpanValue::Text("acme".to_owned())),
        ("n".to_owned(), SpanValue::Int(7)),
    ];
    assert_eq!(
        (&span.attributes[..], &span.events[..]),
        (&expected[..], &["decided".to_owned()][..])
    );
    let outcome = worker.on_request(&policy, &Words::told("clock").recorded());
    assert!(outcome.span.is_none(), "notes of an earlier exchange do not linger");
}

#[test]
fn clocks_and_random_numbers_are_the_hosts() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &capable("capabilities-d/a", "null"));
    let outcome = worker.on_request(&policy, &Words::told("clock"));
    let (millis, forward) =
        set(&outcome, "x-answer").and_then(|text| text.split_once(' ')).expect("two values");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let millis: u128 = millis.parse().expect("a number");
    assert!(now.as_millis().abs_diff(millis) < 10_000 && forward == "true");
    let first = worker.on_request(&policy, &Words::told("random"));
    let second = worker.on_request(&policy, &Words::told("random"));
    assert_ne!(set(&first, "x-answer"), set(&second, "x-answer"));
}

#[test]
fn more_random_bytes_than_allowed_are_a_trap() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &capable("capabilities-e/a", "null"));
    let outcome = worker.on_request(&policy, &Words::told("random-much"));
    assert_eq!(outcome.verdict, Verdict::Failed { status: 503, failure: FilterFailure::Trap });
}
