//! Metrics, traces and the access log of the request path.
//!
//! The request path holds a [`WorkerTelemetry`]. It calls [`WorkerTelemetry::begin`] with a
//! request's head, fills the [`RequestRecord`] while it goes on, and hands it back with
//! [`WorkerTelemetry::finish`]. Metrics are always counted; everything else is one branch when it is
//! off.
//!
//! How traces go out, and the process's own log, is the same for every process: `penstock_telemetry`.

mod access_log;
#[cfg(test)]
mod fixture;
pub mod metrics;
mod record;
mod trace;

pub use access_log::{AccessLog, AccessLogFormat};
pub use metrics::{
    BackendCells, Counter, FilterCells, FilterSource, Gauge, Histogram, ListenerCells, Metrics,
    MetricsOptions, MetricsPage, Reasons, RouteCells, Series, WorkerMetrics, status_class,
};
pub use record::{
    ConnectionInfo, FilterRun, FilterStage, FilterVerdict, RequestDetail, RequestRecord, TlsInfo,
    UpstreamTry,
};
pub use trace::{
    Tracer,
    context::{RequestTrace, SpanId, TRACEPARENT, TRACESTATE, TraceId},
    finished::Finished,
};

use std::{sync::Arc, time::Instant};

/// What one worker reports with. Cheap to clone; each worker has its own.
#[derive(Clone, Debug)]
pub struct WorkerTelemetry {
    worker: usize,
    metrics: Arc<Metrics>,
    tracer: Option<Arc<Tracer>>,
    log: Option<Arc<AccessLog>>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd {
    /// Status sent to the client; 0 where it left before one was sent.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Bounded reason where the gateway itself made the answer because something went wrong, or
    /// where the exchange broke off.
    pub error: Option<&'static str>,
}

impl WorkerTelemetry {
    /// Telemetry of the worker with this number.
    pub fn new(
        worker: usize,
        metrics: Arc<Metrics>,
        tracer: Option<Arc<Tracer>>,
        log: Option<Arc<AccessLog>>,
    ) -> Self {
        Self { worker, metrics, tracer, log }
    }

    /// The worker's number, by which it finds its cells in a [`Series`].
    #[inline]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The worker's own cells.
    #[inline]
    pub fn cells(&self) -> &WorkerMetrics {
        self.metrics.workers.at(self.worker)
    }

    /// All metrics, to make handles from.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The tracer, when tracing is on.
    #[inline]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_deref()
    }

    /// Opens the record of a request whose head has arrived.
    #[inline]
    pub fn begin<B>(
        &self,
        request: &http::Request<B>,
        connection: &Arc<ConnectionInfo>,
    ) -> RequestRecord {
        self.cells().requests_active.inc();
        let started = Instant::now();
        if self.tracer.is_none() && self.log.is_none() {
            return RequestRecord::silent(started);
        }
        let trace = self.tracer.as_ref().map(|tracer| Box::new(tracer.start(request.headers())));
        let wanted = self.log.is_some() || trace.as_ref().is_some_and(|trace| trace.sampled());
        let detail = wanted.then(|| Box::new(RequestDetail::of(request, connection, started)));
        RequestRecord { started, trace, detail }
    }

    /// Closes the record of a request when its response has ended. `route` is absent where no route
    /// took it.
    #[inline]
    pub fn finish(
        &self,
        record: RequestRecord,
        route: Option<&Series<RouteCells>>,
        end: RequestEnd,
    ) {
        let duration = record.started.elapsed();
        let cells = route.unwrap_or(&self.metrics.unrouted).at(self.worker);
        cells.requests[status_class(end.status)].inc();
        cells.duration.observe(duration);
        cells.request_bytes.add(end.request_bytes);
        cells.response_bytes.add(end.response_bytes);
        let own = self.cells();
        own.requests.inc();
        own.requests_active.dec();
        if let Some(error) = end.error {
            own.errors.inc(error);
        }
        if let RequestRecord { trace, detail: Some(mut detail), .. } = record {
            detail.duration = duration;
            detail.status = end.status;
            detail.request_bytes = end.request_bytes;
            detail.response_bytes = end.response_bytes;
            detail.error = end.error;
            self.write(Finished { detail, trace });
        }
    }

    #[cold]
    fn write(&self, finished: Finished) {
        let sampled = finished.trace.as_ref().is_some_and(|trace| trace.sampled());
        let finished = Arc::new(finished);
        if let Some(tracer) = self.tracer.as_ref().filter(|_| sampled) {
            tracer.finish(finished.clone());
        }
        if let Some(log) = &self.log {
            log.finish(finished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::time::Duration;

    fn request() -> http::Request<()> {
        http::Request::get("/v1?token=secret").header("host", "a.example:81").body(()).unwrap()
    }

    fn end(status: u16) -> RequestEnd {
        RequestEnd { status, request_bytes: 3, response_bytes: 5, error: None }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(MetricsOptions::new(2)))
    }

    #[test]
    fn a_request_is_counted_where_it_went() {
        let metrics = metrics();
        let telemetry = WorkerTelemetry::new(1, metrics.clone(), None, None);
        let route = metrics.routes.get("shop/api");
        let record = telemetry.begin(&request(), &fixture::connection());
        assert_eq!(telemetry.cells().requests_active.get(), 1);
        telemetry.finish(record, Some(&route), end(204));
        let record = telemetry.begin(&request(), &fixture::connection());
        telemetry.finish(record, None, RequestEnd { error: Some("no-route"), ..end(404) });
        assert_eq!(route.at(1).requests[status_class(204)].get(), 1);
        assert_eq!(route.sum(|cells| cells.request_bytes.get()), 3);
        assert_eq!(route.sum(|cells| cells.response_bytes.get()), 5);
        assert_eq!(metrics.unrouted.at(1).requests[status_class(404)].get(), 1);
        assert_eq!(telemetry.cells().requests_active.get(), 0);
        assert_eq!(telemetry.cells().requests.get(), 2);
    }

    #[test]
    fn without_listeners_nothing_is_noted_and_headers_pass_as_they_came() {
        let telemetry = WorkerTelemetry::new(0, metrics(), None, None);
        let mut record = telemetry.begin(&request(), &fixture::connection());
        assert!(!record.wants_detail() && !record.recording() && record.trace_id().is_none());
        record.note(|_| panic!("nobody listens"));
        let mut upstream = http::HeaderMap::new();
        upstream.insert(TRACEPARENT, http::HeaderValue::from_static(fixture::TRACEPARENT));
        assert_eq!(record.inject(telemetry.tracer(), &mut upstream), SpanId::INVALID);
        assert_eq!(upstream[TRACEPARENT], fixture::TRACEPARENT);
    }

    #[test]
    fn a_trace_that_is_not_sampled_is_passed_on_but_not_noted() {
        let telemetry = WorkerTelemetry::new(0, metrics(), Some(Arc::new(Tracer::unsent())), None);
        let mut request = request();
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        request.headers_mut().insert(TRACEPARENT, http::HeaderValue::from_static(unsampled));
        let record = telemetry.begin(&request, &fixture::connection());
        assert!(!record.wants_detail() && !record.recording());
        assert_eq!(record.trace_id(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let mut upstream = http::HeaderMap::new();
        let span = record.inject(telemetry.tracer(), &mut upstream);
        assert_eq!(upstream[TRACEPARENT], format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-00"));
    }

    #[test]
    fn the_access_log_gets_a_line_without_a_trace() {
        #[derive(Clone, Default)]
        struct Output(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Output {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let output = Output::default();
        let log = Arc::new(AccessLog::start(AccessLogFormat::Json, output.clone()).unwrap());
        let telemetry = WorkerTelemetry::new(0, metrics(), None, Some(log.clone()));
        let mut record = telemetry.begin(&request(), &fixture::connection());
        record.note(|detail| detail.route = Some("shop/api".into()));
        telemetry.finish(record, None, end(200));
        assert!(log.shutdown(Duration::from_secs(10)));
        let line: serde_json::Value = serde_json::from_slice(&output.0.lock()).unwrap();
        assert_eq!(line["host"], "a.example:81");
        assert_eq!(line["path"], "/v1");
        assert_eq!(line["route"], "shop/api");
        assert_eq!(line["status"], 200);
        assert!(line["trace_id"].is_null());
    }
}
