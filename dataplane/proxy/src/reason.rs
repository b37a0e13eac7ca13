//! Why the gateway itself made an answer.

use http::StatusCode;

/// Why the gateway itself made an answer, or broke an exchange off. Bounded: the metric label, the
/// access log's `error` and the `x-penstock-reason` of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request violates HTTP. The client is at fault; a retry does not help.
    BadRequest,
    /// `Transfer-Encoding` beside `Content-Length` (RFC 9112, section 6.1).
    AmbiguousLength,
    /// A transfer coding other than `chunked` (RFC 9112, section 6.1).
    TransferCoding,
    /// No `Host`, or several, or one that differs from `:authority`.
    BadHost,
    /// More or larger fields than the Gateway allows.
    HeadersTooLarge,
    /// A larger body than the Gateway allows.
    BodyTooLarge,
    /// The client did not go on with its body.
    BodyTimeout,
    /// The client broke its body off.
    BodyAborted,
    /// CONNECT is not served.
    Connect,
    /// No listener or no rule matches.
    NoRoute,
    /// The connection belongs to another listener, or did not satisfy the TLS policies of the rule.
    Misdirected,
    /// The rule has no backend.
    NoBackend,
    /// The configuration of the rule or the backend says so: something cannot be resolved.
    Configuration,
    /// The backend has no ready endpoint. A retry can help.
    NoEndpoint,
    /// No connection to an endpoint. A retry can help.
    UpstreamConnect,
    /// The endpoint broke off before its answer. A retry can help.
    UpstreamReset,
    /// The endpoint's answer violates HTTP.
    UpstreamProtocol,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// A policy failed; see [`penstock_filter_host::FilterFailure`].
    PolicyFailed(penstock_filter_host::FilterFailure),
    /// The client left before the answer was complete.
    ClientGone,
    /// The endpoint broke its answer off.
    UpstreamBroken,
}

impl Reason {
    /// Label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad-request",
            Reason::AmbiguousLength => "ambiguous-length",
            Reason::TransferCoding => "transfer-coding",
            Reason::BadHost => "bad-host",
            Reason::HeadersTooLarge => "headers-too-large",
            Reason::BodyTooLarge => "body-too-large",
            Reason::BodyTimeout => "body-timeout",
            Reason::BodyAborted => "body-aborted",
            Reason::Connect => "connect",
            Reason::NoRoute => "no-route",
            Reason::Misdirected => "misdirected",
            Reason::NoBackend => "no-backend",
            Reason::Configuration => "configuration",
            Reason::NoEndpoint => "no-endpoint",
            Reason::UpstreamConnect => "upstream-connect",
            Reason::UpstreamReset => "upstream-reset",
            Reason::UpstreamProtocol => "upstream-protocol",
            Reason::UpstreamTimeout => "upstream-timeout",
            Reason::PolicyFailed(failure) => failure.as_reason(),
            Reason::ClientGone => "client-gone",
            Reason::UpstreamBroken => "upstream-broken",
        }
    }

    /// Status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Reason::BadRequest
            | Reason::AmbiguousLength
            | Reason::BadHost
            | Reason::BodyAborted
            | Reason::ClientGone => StatusCode::BAD_REQUEST,
            Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Reason::Connect | Reason::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Reason::NoBackend | Reason::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::NoEndpoint | Reason::UpstreamConnect => StatusCode::SERVICE_UNAVAILABLE,
            Reason::UpstreamReset | Reason::UpstreamProtocol | Reason::UpstreamBroken => {
                StatusCode::BAD_GATEWAY
            }
            Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Reason::PolicyFailed(failure) => {
                StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_06_to_09_statuses_are_those_of_the_gateway_api() {
        for (reason, status) in [
            (Reason::NoRoute, 404),
            (Reason::Misdirected, 421),
            (Reason::NoBackend, 500),
            (Reason::Configuration, 500),
            (Reason::NoEndpoint, 503),
            (Reason::UpstreamTimeout, 504),
        ] {
            assert_eq!(reason.status().as_u16(), status, "{}", reason.as_str());
        }
    }

    #[test]
    fn the_page_on_reasons_has_each_with_its_status() {
        let own = [
            Reason::BadRequest,
            Reason::AmbiguousLength,
            Reason::TransferCoding,
            Reason::BadHost,
            Reason::HeadersTooLarge,
            Reason::BodyTooLarge,
            Reason::BodyTimeout,
            Reason::BodyAborted,
            Reason::Connect,
            Reason::NoRoute,
            Reason::Misdirected,
            Reason::NoBackend,
            Reason::Configuration,
            Reason::NoEndpoint,
            Reason::UpstreamConnect,
            Reason::UpstreamReset,
            Reason::UpstreamProtocol,
            Reason::UpstreamTimeout,
            Reason::ClientGone,
            Reason::UpstreamBroken,
        ];
        let policies = penstock_filter_host::FilterFailure::ALL.map(Reason::PolicyFailed);
        let mut expected: Vec<_> = own
            .into_iter()
            .chain(policies)
            .map(|reason| format!("| `{}` | {} |", reason.as_str(), reason.status().as_u16()))
            .collect();
        let page =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/reasons.md"));
        let start = |line: &str| {
            let end = line.match_indices('|').nth(2).map(|(at, _)| at)?;
            line.starts_with("| `").then(|| line[..=end].to_owned())
        };
        let mut listed: Vec<_> = page.lines().filter_map(start).collect();
        expected.sort();
        listed.sort();
        assert_eq!(listed, expected);
    }
}
