//! What telemetry costs a request in allocations when nobody listens: nothing.
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

use penstock_proxy::telemetry::{
    AccessLog, AccessLogFormat, ConnectionInfo, Metrics, MetricsOptions, RequestEnd,
    WorkerTelemetry,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Allocations of one exchange.
fn exchange(telemetry: &WorkerTelemetry, status: u16) -> u64 {
    let connection = Arc::new(ConnectionInfo {
        peer: "10.0.0.1:1".parse().expect("an address"),
        port: 80,
        scheme: "http",
        tls: None,
    });
    let request = http::Request::get("/a").header("host", "x").body(()).expect("a request");
    let route = telemetry.metrics().routes.get("n/r");
    allocations(|| {
        let mut record = telemetry.begin(&request, &connection);
        record.note(|detail| detail.route = Some("n/r".into()));
        let end = RequestEnd { status, request_bytes: 1, response_bytes: 2, error: None };
        telemetry.finish(record, Some(&route), end);
    })
}

#[test]
fn a_request_that_nobody_listens_to_allocates_nothing() {
    let metrics = Arc::new(Metrics::new(MetricsOptions::new(1)));
    let silent = WorkerTelemetry::new(0, metrics.clone(), None, None);
    assert_eq!(exchange(&silent, 200), 0);
    assert_eq!(exchange(&silent, 503), 0);
    let log = AccessLog::start(AccessLogFormat::Json, std::io::sink()).expect("a log");
    let logged = WorkerTelemetry::new(0, metrics, None, Some(Arc::new(log)));
    assert!(exchange(&logged, 200) > 0, "the count works");
}
