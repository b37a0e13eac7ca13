//! Starts tracing and the process's own log.

use crate::trace::{
    Settings, SpanSink,
    export::{ExportError, ExportStats, Exporter},
};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{
    io::{self, IsTerminal as _},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Longest wait for the last spans when the process ends.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// How the process's own log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            other => Err(format!("{other} is no format of the log; it is json or text")),
        }
    }
}

/// Why telemetry could not start. All are the user's to mend; a retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A variable has a value that is not known.
    #[error("{0}")]
    Variable(String),
    /// The exporter could not start.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Somebody else had set up the process's log before.
    #[error("the log is set up already: {0}")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps telemetry running; when dropped, the last spans are sent, for at most five seconds.
#[derive(Debug)]
pub struct Guard {
    tracing: Option<Tracing>,
}

#[derive(Debug)]
struct Tracing {
    exporter: Exporter,
    provider: SdkTracerProvider,
}

impl Guard {
    /// What takes the traces of what has no spans of the `tracing` crate; `None` when tracing is
    /// off.
    pub fn spans(&self) -> Option<SpanSink> {
        self.tracing.as_ref().map(|tracing| tracing.exporter.sink().clone())
    }

    /// What became of spans; `None` when tracing is off.
    pub fn export_stats(&self) -> Option<Arc<ExportStats>> {
        self.tracing.as_ref().map(|tracing| tracing.exporter.stats())
    }

    /// Sends what is waiting; whether that was done in time.
    pub fn flush(&self, at_most: Duration) -> bool {
        self.tracing.as_ref().is_none_or(|tracing| tracing.exporter.flush(at_most))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(tracing) = &self.tracing else { return };
        // Ends open spans' processing; nothing is left to be done where it fails.
        let _ = tracing.provider.shutdown();
        if !tracing.exporter.shutdown(LAST_FLUSH) {
            ::tracing::warn!("the last spans were not sent in time");
        }
    }
}

/// Sets up the process's log on standard error, filtered by `RUST_LOG` (`info` where it is unset),
/// and tracing as the `OTEL_*` variables ask for it. `service` is the service's name where neither
/// `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` has one.
///
/// # Errors
/// [`InitError`].
pub fn init(service: &'static str, format: LogFormat) -> Result<Guard, InitError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| InitError::Variable(format!("RUST_LOG={text}: {error}")))?,
        _ => EnvFilter::new("info"),
    };
    let tracing = start_tracing(service)?;
    let log = match format {
        LogFormat::Text => {
            fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
    };
    // Spans of libraries, among them the exporter's own, would trace the tracing.
    let ours = filter_fn(|metadata| metadata.target().starts_with("penstock"));
    let spans = tracing.as_ref().map(|tracing| {
        tracing_opentelemetry::layer().with_tracer(tracing.provider.tracer("penstock"))
    });
    tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(spans.with_filter(ours))
        .try_init()?;
    Ok(Guard { tracing })
}

fn start_tracing(service: &'static str) -> Result<Option<Tracing>, InitError> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(settings) = Settings::read(get).map_err(InitError::Variable)? else {
        return Ok(None);
    };
    let resource = resource(service);
    let exporter = Exporter::start(&settings, &resource)?;
    let provider = SdkTracerProvider::builder()
        .with_sampler(settings.sampler)
        .with_resource(resource)
        .with_span_processor(exporter.processor())
        .build();
    Ok(Some(Tracing { exporter, provider }))
}

/// What the spans' source calls itself: from the environment where it says so.
fn resource(service: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let from_environment = Resource::builder().build();
    let named = from_environment
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if !named {
        builder = builder.with_service_name(service);
    }
    if from_environment.get(&"service.version".into()).is_none() {
        builder = builder.with_attribute(version);
    }
    builder.build()
}
