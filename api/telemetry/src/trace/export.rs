//! The thread that makes spans and sends them.
//!
//! It has a Tokio runtime of its own, which the OTLP clients need and which keeps their connections
//! alive between batches. Nothing that goes wrong here reaches a request.

use super::{
    settings::{Batch, Limits, Settings},
    sink::{Item, SpanSink},
};
use crate::queue::Drain;
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

/// What became of spans.
#[derive(Debug, Default)]
pub struct ExportStats {
    exported: AtomicU64,
    failed: AtomicU64,
}

impl ExportStats {
    /// Spans that a receiver took.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans that no receiver took.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

/// Why tracing could not start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The exporter refused its configuration.
    #[error("the OTLP exporter cannot be made: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread could not be started.
    #[error("the exporter's thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// The running exporter.
#[derive(Debug)]
pub(crate) struct Exporter {
    sink: SpanSink,
    flushes: Arc<Mutex<Vec<mpsc::Sender<()>>>>,
    done: Mutex<mpsc::Receiver<()>>,
    stats: Arc<ExportStats>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ExportError`].
    pub(crate) fn start(settings: &Settings, resource: &Resource) -> Result<Self, ExportError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exporter = {
            // Both clients ask for the current runtime when they are made.
            let _entered = runtime.enter();
            let mut exporter = SpanExporter::builder().build()?;
            exporter.set_resource(resource);
            exporter
        };
        let (sink, drain) = SpanSink::channel(settings);
        let (done_sender, done) = mpsc::channel();
        let stats = Arc::new(ExportStats::default());
        let flushes = Arc::new(Mutex::new(Vec::new()));
        let sender = Sender {
            exporter,
            limits: settings.limits,
            batch: settings.batch,
            stats: stats.clone(),
            flushes: flushes.clone(),
            failing: false,
        };
        thread::Builder::new().name("otlp-exporter".into()).spawn(move || {
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            runtime.block_on(sender.run(drain));
            // Nobody waits any more where this fails.
            let _ = done_sender.send(());
        })?;
        Ok(Self { sink, flushes, done: Mutex::new(done), stats })
    }

    /// What decides about traces and takes what is over.
    pub(crate) fn sink(&self) -> &SpanSink {
        &self.sink
    }

    /// Takes spans of the control path.
    pub(crate) fn processor(&self) -> Processor {
        Processor { sink: self.sink.clone() }
    }

    /// What became of spans.
    pub(crate) fn stats(&self) -> Arc<ExportStats> {
        self.stats.clone()
    }

    /// Sends what is waiting; whether that was done in time.
    pub(crate) fn flush(&self, at_most: Duration) -> bool {
        let (sender, receiver) = mpsc::channel();
        self.flushes.lock().push(sender);
        self.sink.wake();
        receiver.recv_timeout(at_most).is_ok()
    }

    /// Sends what is waiting and ends; whether that was done in time.
    pub(crate) fn shutdown(&self, at_most: Duration) -> bool {
        self.sink.close();
        self.done.lock().recv_timeout(at_most).is_ok()
    }
}

/// The thread's state.
struct Sender {
    exporter: SpanExporter,
    limits: Limits,
    batch: Batch,
    stats: Arc<ExportStats>,
    flushes: Arc<Mutex<Vec<mpsc::Sender<()>>>>,
    failing: bool,
}

impl Sender {
    async fn run(mut self, mut drain: Drain<Item>) {
        let mut open = true;
        while open {
            open = drain.wait(self.batch.delay).await;
            let flushes = std::mem::take(&mut *self.flushes.lock());
            while self.send_some(&mut drain).await {}
            for flush in flushes {
                // Nobody waits any more where this fails.
                let _ = flush.send(());
            }
        }
        // The process ends; an error here could not be acted on.
        let _ = self.exporter.shutdown();
    }

    /// Sends at most one batch of items; whether there was one.
    async fn send_some(&mut self, drain: &mut Drain<Item>) -> bool {
        let mut items = Vec::new();
        drain.take(self.batch.size, &mut items);
        if items.is_empty() {
            return false;
        }
        let mut spans = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Finished(finished) => finished.to_spans(self.limits, &mut spans),
                Item::Span(span) => spans.push(*span),
            }
        }
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(self.batch.size));
            self.export(std::mem::replace(&mut spans, rest)).await;
        }
        true
    }

    async fn export(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        let export = self.exporter.export(spans);
        let result = match tokio::time::timeout(self.batch.timeout, export).await {
            Ok(result) => result,
            Err(_) => Err(OTelSdkError::Timeout(self.batch.timeout)),
        };
        match result {
            Ok(()) => {
                self.stats.exported.fetch_add(count, Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("spans are taken by the OTLP receiver again");
                }
            }
            Err(error) => {
                self.stats.failed.fetch_add(count, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        %error,
                        "spans are lost: the OTLP receiver does not take them; check \
                         OTEL_EXPORTER_OTLP_ENDPOINT and that the receiver runs"
                    );
                }
            }
        }
    }
}

/// Takes spans of the control path from the OpenTelemetry SDK.
#[derive(Debug)]
pub(crate) struct Processor {
    sink: SpanSink,
}

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.sink.send(Item::Span(Box::new(span)));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sink.wake();
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.sink.wake();
        Ok(())
    }
}
