//! Lines of the access log.
//!
//! Whatever a client sends, a line stays one line: control characters are escaped, in JSON as well
//! as in text. The query of a target is left out, since it may hold secrets.

use crate::telemetry::{
    record::{FilterRun, RequestDetail, UpstreamTry},
    trace::finished::Finished,
};
use serde::Serialize;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// For people: the request in the style of the common log format, then `name=value`.
    Text,
}

impl FromStr for AccessLogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(AccessLogFormat::Json),
            "text" => Ok(AccessLogFormat::Text),
            other => Err(format!("{other} is no format of the access log; it is json or text")),
        }
    }
}

impl AccessLogFormat {
    /// Appends the line of a request.
    pub(super) fn line(self, request: &Finished, into: &mut Vec<u8>) {
        let line = Line::of(request);
        match self {
            AccessLogFormat::Json => {
                let mut serializer = serde_json::Serializer::with_formatter(&mut *into, OneLine);
                // Neither a vector nor these types can fail.
                let _ = line.serialize(&mut serializer);
            }
            AccessLogFormat::Text => {
                let mut text = String::new();
                // A string cannot fail.
                let _ = line.write_text(&mut text);
                into.extend_from_slice(text.as_bytes());
            }
        }
        into.push(b'\n');
    }
}

/// The fields, in the order in which they are written. Documented in
/// `docs/reference/access-log.md`, which a test compares with this.
#[derive(Serialize)]
struct Line<'a> {
    time: Time,
    client: IpAddr,
    peer: SocketAddr,
    method: &'a str,
    scheme: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    path: &'a str,
    protocol: Protocol,
    status: u16,
    duration_ms: Millis,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<Upstream<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_sni: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

#[derive(Serialize)]
struct Filter<'a> {
    name: &'a str,
    stage: &'static str,
    tier: &'static str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    duration_ms: Millis,
}

#[derive(Serialize)]
struct Upstream<'a> {
    backend: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    reused: bool,
    duration_ms: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl<'a> Line<'a> {
    fn of(request: &'a Finished) -> Self {
        let detail: &RequestDetail = &request.detail;
        let trace = request.trace.as_ref();
        let lossy = |value: &'a http::HeaderValue| String::from_utf8_lossy(value.as_bytes());
        let tls = detail.connection.tls.as_ref();
        Line {
            time: Time(detail.started_at.try_into().unwrap_or_default()),
            client: detail.client,
            peer: detail.connection.peer,
            method: detail.method.as_str(),
            scheme: detail.connection.scheme,
            host: detail.host.as_deref(),
            path: detail.path(),
            protocol: Protocol(detail.version_text()),
            status: detail.status,
            duration_ms: Millis(detail.duration),
            request_bytes: detail.request_bytes,
            response_bytes: detail.response_bytes,
            listener: detail.listener.as_deref(),
            route: detail.route.as_deref(),
            rule: detail.rule.as_deref(),
            filters: detail.filters.iter().map(Filter::of).collect(),
            upstream: detail.tries.iter().map(Upstream::of).collect(),
            error: detail.error,
            user_agent: detail.user_agent.as_ref().map(lossy),
            request_id: detail.request_id.as_ref().map(lossy),
            tls_version: tls.map(|tls| tls.version),
            tls_sni: tls.and_then(|tls| tls.sni.as_deref()),
            attributes: detail.attributes.iter().map(|(k, v)| (&**k, &**v)).collect(),
            trace_id: trace.map(|trace| trace.trace_id_text()),
            span_id: trace.map(|trace| trace.span_id.to_string()),
        }
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        write!(
            out,
            "{:.6} {} \"{} {}://{}{} HTTP/{}\" {} {}ms in={} out={}",
            self.time.0,
            self.client,
            Plain(self.method),
            self.scheme,
            Plain(self.host.unwrap_or("-")),
            Plain(self.path),
            self.protocol.0,
            self.status,
            self.duration_ms,
            self.request_bytes,
            self.response_bytes,
        )?;
        let named = [
            ("listener", self.listener),
            ("route", self.route),
            ("rule", self.rule),
            ("error", self.error),
            ("user_agent", self.user_agent.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("tls_version", self.tls_version),
            ("tls_sni", self.tls_sni),
            ("trace_id", self.trace_id),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                write!(out, " {name}=\"{}\"", Plain(value))?;
            }
        }
        for filter in &self.filters {
            write!(out, " filter=\"{} {}", Plain(filter.name), filter.verdict)?;
            filter.reason.map_or(Ok(()), |reason| write!(out, " {reason}"))?;
            write!(out, " {}ms\"", filter.duration_ms)?;
        }
        for upstream in &self.upstream {
            write!(out, " upstream=\"{}", Plain(upstream.backend))?;
            upstream.address.map_or(Ok(()), |address| write!(out, " {address}"))?;
            upstream.status.map_or(Ok(()), |status| write!(out, " {status}"))?;
            upstream.error.map_or(Ok(()), |error| write!(out, " {error}"))?;
            write!(out, " {}ms\"", upstream.duration_ms)?;
        }
        for (name, value) in &self.attributes {
            write!(out, " {}=\"{}\"", Plain(name), Plain(value))?;
        }
        Ok(())
    }
}

impl<'a> Filter<'a> {
    fn of(run: &'a FilterRun) -> Self {
        Filter {
            name: &run.name,
            stage: run.stage.name(),
            tier: run.tier.name(),
            verdict: run.verdict.name(),
            reason: run.verdict.failure().map(|failure| failure.as_reason()),
            duration_ms: Millis(run.duration),
        }
    }
}

impl<'a> Upstream<'a> {
    fn of(attempt: &'a UpstreamTry) -> Self {
        Upstream {
            backend: &attempt.backend,
            address: attempt.address,
            status: attempt.status,
            reused: attempt.reused,
            duration_ms: Millis(attempt.duration),
            error: attempt.error,
        }
    }
}

/// RFC 3339 in UTC with microseconds.
struct Time(jiff::Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

struct Protocol(&'static str);

impl Serialize for Protocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("HTTP/{}", self.0))
    }
}

/// Milliseconds with three decimals.
#[derive(Clone, Copy)]
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_micros() as f64 / 1000.0)
    }
}

/// Whether a character could end a line, move a cursor or hide text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Compact JSON that also escapes what JSON itself would let through: DEL, C1 controls, line
/// separators and marks that turn the direction of text.
struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", c as u32)?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Text inside quotation marks: `"`, `\` and unsafe characters are escaped.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if is_unsafe(c) => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;
    use std::collections::BTreeSet;

    fn line(format: AccessLogFormat, request: &Finished) -> String {
        let mut line = Vec::new();
        format.line(request, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_json_line_says_everything_of_a_request() {
        let line = line(AccessLogFormat::Json, &fixture::finished());
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "2001-09-09T01:46:40.000000Z",
            "client": "203.0.113.9",
            "peer": "10.0.0.9:4711",
            "method": "GET",
            "scheme": "https",
            "host": "api.example.com",
            "path": "/v1/things",
            "protocol": "HTTP/2",
            "status": 502,
            "duration_ms": 12.345,
            "request_bytes": 10,
            "response_bytes": 20,
            "listener": "shop/gw/https",
            "route": "shop/api",
            "rule": "things",
            "filters": [
                {"name": "shop/key", "stage": "request", "tier": "call", "verdict": "edit",
                 "duration_ms": 0.5},
                {"name": "shop/silent", "stage": "request", "tier": "guard_miss",
                 "verdict": "next", "duration_ms": 0.0},
                {"name": "shop/tidy", "stage": "response", "tier": "call", "verdict": "skipped",
                 "reason": "filter-deadline", "duration_ms": 5.0},
            ],
            "upstream": [
                {"backend": "shop/api:80", "address": "10.1.0.1:8080", "reused": true,
                 "duration_ms": 1.0, "error": "connection-reset"},
                {"backend": "shop/api:80", "address": "10.1.0.2:8080", "reused": false,
                 "duration_ms": 3.0, "status": 502},
            ],
            "user_agent": "curl/8",
            "request_id": "abc",
            "tls_version": "TLSv1.3",
            "tls_sni": "api.example.com",
            "attributes": {"tenant": "red"},
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "span_id": "0000000000000007",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_query_is_in_no_line_and_in_no_form() {
        for format in [AccessLogFormat::Json, AccessLogFormat::Text] {
            let line = line(format, &fixture::finished());
            assert!(!line.contains("token") && !line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn a_text_line_is_read_from_left_to_right() {
        let line = line(AccessLogFormat::Text, &fixture::finished());
        assert!(
            line.starts_with(
                "2001-09-09T01:46:40.000000Z 203.0.113.9 \
                 \"GET https://api.example.com/v1/things HTTP/2\" 502 12.345ms in=10 out=20 \
                 listener=\"shop/gw/https\" route=\"shop/api\" rule=\"things\""
            ),
            "{line}"
        );
        assert!(line.contains("filter=\"shop/tidy skipped filter-deadline 5.000ms\""), "{line}");
        assert!(line.contains("upstream=\"shop/api:80 10.1.0.2:8080 502 3.000ms\""), "{line}");
    }

    #[test]
    fn whatever_a_client_sends_a_line_stays_one_line() {
        let mut request = fixture::finished();
        let evil = "a\"b\\c\td\u{7f}\u{9b}31m\u{2028}\u{202e}e\r\nf";
        request.detail.host = Some(evil.into());
        request.detail.user_agent = Some(http::HeaderValue::from_bytes(b"x\x80\"\\\ty").unwrap());
        for format in [AccessLogFormat::Json, AccessLogFormat::Text] {
            let line = line(format, &request);
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.chars().any(is_unsafe), "{body:?}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&line(AccessLogFormat::Json, &request)).unwrap();
        assert_eq!(json["host"], evil, "escaping loses nothing");
        let text = line(AccessLogFormat::Text, &request);
        assert!(text.contains(r#"a\"b\\c\u0009d\u007f\u009b31m\u2028\u202ee\u000d\u000af"#));
    }

    #[test]
    fn the_reference_lists_exactly_these_fields() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/access-log.md");
        let documented: BTreeSet<String> = std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name.to_owned())
            .collect();
        let json = line(AccessLogFormat::Json, &fixture::finished());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mut written: BTreeSet<String> = json.as_object().unwrap().keys().cloned().collect();
        for list in ["filters", "upstream"] {
            for entry in json[list].as_array().unwrap() {
                let names = entry.as_object().unwrap().keys();
                written.extend(names.map(|name| format!("{list}[].{name}")));
            }
        }
        written.insert("error".into());
        assert_eq!(written, documented);
    }
}
