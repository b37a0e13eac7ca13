//! The interfaces of `penstock:host`, linked one by one as a filter's grants say.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::Level;
use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::capability::{clock, log, metrics, random, trace};
use crate::grants::Grants;
use crate::outcome::{SpanValue, truncate};
use crate::series::{Counter, Gauge, Series, SeriesKind};
use crate::store::Data;

/// Target of the log lines of policies.
const TARGET: &str = "penstock::filter";
/// Longest log message, in bytes.
const MAX_MESSAGE: usize = 4096;
/// Attributes of a log line that are kept.
const MAX_LOG_ATTRIBUTES: usize = 16;
/// Attributes and events of a span that are kept.
const MAX_SPAN_NOTES: usize = 32;
/// Longest key and value of a span, in bytes.
const MAX_SPAN_TEXT: usize = 1024;
/// Most random bytes at once.
const MAX_RANDOM: u32 = 4096;

/// A linker with exactly the granted interfaces.
pub(crate) fn link(engine: &wasmtime::Engine, grants: Grants) -> wasmtime::Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    if grants.contains(Grants::CLOCK) {
        clock::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    }
    if grants.contains(Grants::LOG) {
        log::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    }
    if grants.contains(Grants::METRICS) {
        metrics::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    }
    if grants.contains(Grants::RANDOM) {
        random::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    }
    if grants.contains(Grants::TRACE) {
        trace::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    }
    Ok(linker)
}

impl log::Host for Data {
    fn enabled(&mut self, level: log::Level) -> bool {
        match level {
            log::Level::Trace => tracing::enabled!(target: TARGET, Level::TRACE),
            log::Level::Debug => tracing::enabled!(target: TARGET, Level::DEBUG),
            log::Level::Info => tracing::enabled!(target: TARGET, Level::INFO),
            log::Level::Warn => tracing::enabled!(target: TARGET, Level::WARN),
            log::Level::Error => tracing::enabled!(target: TARGET, Level::ERROR),
        }
    }

    fn emit(
        &mut self,
        level: log::Level,
        mut message: String,
        mut attributes: Vec<(String, String)>,
    ) {
        if !log::Host::enabled(self, level) || !self.owner.may_log() {
            return;
        }
        truncate(&mut message, MAX_MESSAGE);
        attributes.truncate(MAX_LOG_ATTRIBUTES);
        for (key, value) in &mut attributes {
            truncate(key, MAX_SPAN_TEXT);
            truncate(value, MAX_SPAN_TEXT);
        }
        let attributes: serde_json::Map<String, serde_json::Value> =
            attributes.into_iter().map(|(key, value)| (key, value.into())).collect();
        let attributes =
            (!attributes.is_empty()).then(|| serde_json::Value::Object(attributes).to_string());
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    filter = &*self.owner.filter,
                    route = self.route.as_str(),
                    trace_id = self.trace_id.as_str(),
                    attributes = attributes.as_deref(),
                    "{message}"
                )
            };
        }
        match level {
            log::Level::Trace => line!(Level::TRACE),
            log::Level::Debug => line!(Level::DEBUG),
            log::Level::Info => line!(Level::INFO),
            log::Level::Warn => line!(Level::WARN),
            log::Level::Error => line!(Level::ERROR),
        }
    }
}

impl Data {
    /// The series of a new handle. A handle that may not exist is one that no one reads: the guest
    /// goes on, and its decision or configuration fails.
    fn series(
        &mut self,
        kind: SeriesKind,
        name: &str,
        labels: &[(String, String)],
    ) -> std::sync::Arc<Series> {
        let series = match self.configuring {
            true => self.owner.series.get(kind, name, labels),
            false => Err("a metric was made while a request runs".to_owned()),
        };
        series.unwrap_or_else(|misuse| {
            self.misuse.get_or_insert(misuse);
            Series::detached(kind)
        })
    }
}

impl metrics::Host for Data {}

impl metrics::HostCounter for Data {
    fn new(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<Resource<Counter>> {
        let series = self.series(SeriesKind::Counter, &name, &labels);
        Ok(self.handles.push(Counter(series))?)
    }

    fn add(&mut self, counter: Resource<Counter>, n: u64) -> wasmtime::Result<()> {
        self.handles.get(&counter)?.0.add(n);
        Ok(())
    }

    fn drop(&mut self, counter: Resource<Counter>) -> wasmtime::Result<()> {
        self.handles.delete(counter)?;
        Ok(())
    }
}

impl metrics::HostGauge for Data {
    fn new(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<Resource<Gauge>> {
        let series = self.series(SeriesKind::Gauge, &name, &labels);
        Ok(self.handles.push(Gauge(series))?)
    }

    fn set(&mut self, gauge: Resource<Gauge>, value: f64) -> wasmtime::Result<()> {
        self.handles.get(&gauge)?.0.set(value);
        Ok(())
    }

    fn drop(&mut self, gauge: Resource<Gauge>) -> wasmtime::Result<()> {
        self.handles.delete(gauge)?;
        Ok(())
    }
}

impl trace::Host for Data {
    fn recording(&mut self) -> bool {
        self.recording
    }

    fn set_attribute(&mut self, mut key: String, value: trace::Value) {
        if !self.recording || self.notes.attributes.len() >= MAX_SPAN_NOTES {
            return;
        }
        truncate(&mut key, MAX_SPAN_TEXT);
        let value = match value {
            trace::Value::Text(mut text) => {
                truncate(&mut text, MAX_SPAN_TEXT);
                SpanValue::Text(text)
            }
            trace::Value::Int(value) => SpanValue::Int(value),
            trace::Value::Real(value) => SpanValue::Real(value),
            trace::Value::Flag(value) => SpanValue::Flag(value),
        };
        self.notes.attributes.push((key, value));
    }

    fn add_event(&mut self, mut name: String) {
        if self.recording && self.notes.events.len() < MAX_SPAN_NOTES {
            truncate(&mut name, MAX_SPAN_TEXT);
            self.notes.events.push(name);
        }
    }
}

impl clock::Host for Data {
    fn now_unix_ms(&mut self) -> u64 {
        // A system clock before 1970 reads as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&mut self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let since = START.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl random::Host for Data {
    fn next(&mut self) -> wasmtime::Result<u64> {
        getrandom::u64().map_err(|error| wasmtime::format_err!("no random numbers: {error}"))
    }

    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        if length > MAX_RANDOM {
            wasmtime::bail!("{length} random bytes asked for, {MAX_RANDOM} are the limit");
        }
        let mut bytes = vec![0; length as usize];
        getrandom::fill(&mut bytes)
            .map_err(|error| wasmtime::format_err!("no random numbers: {error}"))?;
        Ok(bytes)
    }
}
