//! Metrics, traces and the access log of the request path.
//!
//! The request path holds a [`WorkerTelemetry`]. It calls [`WorkerTelemetry::begin`] with a
//! request's head, fills the [`RequestRecord`] while it goes on, and hands it back with
//! [`WorkerTelemetry::finish`]. Metrics are always counted; everything else is one branch when it is
//! off.
//!
//! Traces go out by OTLP and are configured by the standard `OTEL_*` variables; see
//! `docs/reference/telemetry.md`.

mod access_log;
#[cfg(test)]
mod fixture;
mod init;
pub mod metrics;
mod queue;
mod record;
mod trace;

pub use access_log::{AccessLog, AccessLogFormat};
pub use init::{Guard, InitError, LogFormat, init};
pub use metrics::{
    BackendCells, Counter, FilterCells, Gauge, Histogram, ListenerCells, Metrics, MetricsOptions,
    Reasons, RouteCells, Series, WorkerMetrics, status_class,
};
pub use record::{
    ConnectionInfo, FilterRun, FilterStage, FilterVerdict, RequestDetail, RequestRecord, TlsInfo,
    UpstreamTry,
};
pub use trace::{
    Finished, Tracer,
    context::{RequestTrace, SpanId, TRACEPARENT, TRACESTATE, TraceId},
    export::{ExportError, ExportStats},
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
