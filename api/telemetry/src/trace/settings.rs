//! What the standard `OTEL_*` variables ask for.
//!
//! The exporter itself reads those that concern the connection (`OTEL_EXPORTER_OTLP_ENDPOINT`,
//! `_PROTOCOL`, `_HEADERS`, `_TIMEOUT`, each also with `_TRACES`), the SDK's resource those that name
//! the service. It takes what it cannot read for absent, so they are checked here; the others are
//! read here.

use super::sampler::Sampler;
use std::time::Duration;

/// Tracing as the environment asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// `OTEL_PROPAGATORS` has `tracecontext`.
    pub propagate: bool,
    /// `OTEL_BSP_*`.
    pub batch: Batch,
    /// `OTEL_SPAN_*_COUNT_LIMIT`.
    pub limits: Limits,
}

/// How spans are gathered before they are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// Items that may wait.
    pub queue: usize,
    /// Spans in one message.
    pub size: usize,
    /// Longest wait for a batch to fill.
    pub delay: Duration,
    /// Longest time for one message, retries included.
    pub timeout: Duration,
}

/// What one span may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`.
    pub attributes: usize,
    /// `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub events: usize,
}

impl Settings {
    /// Reads the variables through `get`; `None` where tracing is off, which it is unless an
    /// endpoint is set.
    ///
    /// # Errors
    /// A variable whose value is not known. Names variable and remedy.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        // An empty value counts as unset (OpenTelemetry, environment variables, "Empty value").
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if endpoint.is_none() || disabled {
            return Ok(None);
        }
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_EXPORTER={other} is not known; known are otlp and none"
                ));
            }
        }
        check_exporter(&get)?;
        if endpoint.is_some_and(|endpoint| endpoint.starts_with("https:")) {
            return Err("the OTLP endpoint is https, which is not spoken here; name a collector \
                        nearby by http and let it send on with TLS"
                .into());
        }
        let sampler = match get("OTEL_TRACES_SAMPLER") {
            Some(name) => Sampler::parse(&name, get("OTEL_TRACES_SAMPLER_ARG").as_deref())?,
            None => Sampler::default(),
        };
        Ok(Some(Self {
            sampler,
            propagate: propagates(get("OTEL_PROPAGATORS").as_deref())?,
            batch: Batch::read(&get)?,
            limits: Limits {
                attributes: number(&get, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 128)?,
                events: number(&get, "OTEL_SPAN_EVENT_COUNT_LIMIT", 128)?,
            },
        }))
    }
}

impl Batch {
    fn read(get: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let queue = number(get, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)?.max(1);
        let millis = |name, default| {
            number(get, name, default).map(|millis| Duration::from_millis(millis as u64))
        };
        Ok(Self {
            queue,
            // "It MUST be less than or equal to OTEL_BSP_MAX_QUEUE_SIZE."
            size: number(get, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?.clamp(1, queue),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            timeout: millis("OTEL_BSP_EXPORT_TIMEOUT", 30_000)?,
        })
    }
}

/// What the exporter reads, each variable for all signals and for traces.
fn check_exporter(get: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
    for signal in ["", "TRACES_"] {
        let name = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}{what}");
        let known = |what: &str, known: &[&str]| match get(&name(what)) {
            Some(other) if !known.contains(&other.as_str()) => {
                let known = known.join(" and ");
                Err(format!("{}={other} is not known; known are {known}", name(what)))
            }
            _ => Ok(()),
        };
        known("PROTOCOL", &["grpc", "http/protobuf"])?;
        known("COMPRESSION", &["none"])?;
        number(get, &name("TIMEOUT"), 0)?;
        let headers = get(&name("HEADERS")).unwrap_or_default();
        let named = |pair: &str| pair.split_once('=').is_some_and(|(n, _)| !n.trim().is_empty());
        let bad = headers.split(',').position(|pair| !pair.trim().is_empty() && !named(pair));
        if let Some(at) = bad {
            // They hold credentials: no value is repeated.
            return Err(format!(
                "{} has an entry, number {}, that is not name=value; entries are separated by commas",
                name("HEADERS"),
                at + 1
            ));
        }
    }
    Ok(())
}

fn propagates(list: Option<&str>) -> Result<bool, String> {
    let Some(list) = list else { return Ok(true) };
    let mut propagate = false;
    for name in list.split(',').map(str::trim) {
        match name {
            "tracecontext" => propagate = true,
            // Baggage is a header that passes through like any other.
            "baggage" | "none" => {}
            other => {
                return Err(format!(
                    "OTEL_PROPAGATORS has {other}, which is not known; known are tracecontext, \
                     baggage and none"
                ));
            }
        }
    }
    Ok(propagate)
}

fn number(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: usize,
) -> Result<usize, String> {
    match get(name) {
        None => Ok(default),
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("{name}={text} is not a number; it is a whole number from 0 up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        })
    }

    fn with_endpoint(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        read(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")], variables].concat())
    }

    #[test]
    fn tracing_is_off_unless_an_endpoint_is_set() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(read(&[("OTEL_TRACES_SAMPLER", "always_on")]), Ok(None));
        assert!(read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c")]).unwrap().is_some());
        assert!(with_endpoint(&[]).unwrap().is_some());
    }

    #[test]
    fn an_endpoint_behind_tls_is_refused_at_the_start_and_not_at_the_first_span() {
        for name in ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
            assert!(read(&[(name, "https://c:4317")]).unwrap_err().contains("collector"));
        }
    }

    #[test]
    fn tracing_can_be_switched_off_beside_an_endpoint() {
        assert_eq!(with_endpoint(&[("OTEL_SDK_DISABLED", "True")]), Ok(None));
        assert_eq!(with_endpoint(&[("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert!(with_endpoint(&[("OTEL_SDK_DISABLED", "1")]).unwrap().is_some());
    }

    #[test]
    fn batches_are_as_the_specification_has_them_unless_told_otherwise() {
        let batch = with_endpoint(&[]).unwrap().unwrap().batch;
        let expected = Batch {
            queue: 2048,
            size: 512,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        };
        assert_eq!(batch, expected);
        let batch = with_endpoint(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "8"),
        ]);
        let expected = Batch {
            queue: 10,
            size: 10,
            delay: Duration::from_millis(7),
            timeout: Duration::from_millis(8),
        };
        assert_eq!(batch.unwrap().unwrap().batch, expected);
    }

    #[test]
    fn propagation_can_be_switched_off() {
        assert!(with_endpoint(&[]).unwrap().unwrap().propagate);
        let propagates = |list| with_endpoint(&[("OTEL_PROPAGATORS", list)]);
        assert!(propagates("baggage,tracecontext").unwrap().unwrap().propagate);
        assert!(!propagates("none").unwrap().unwrap().propagate);
        assert!(propagates("b3").unwrap_err().contains("tracecontext"));
    }

    #[test]
    fn what_the_exporter_can_read_is_accepted() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi, x-tenant=a=b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ] {
            assert!(with_endpoint(&[(name, value)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_value_that_is_not_known_is_refused_by_name() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1s"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,secret"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "=secret"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1"),
        ] {
            let error = with_endpoint(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && !error.contains("secret"), "{error}");
        }
    }
}
