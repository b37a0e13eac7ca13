//! Heads of requests: what is accepted, and what belongs to the connection alone.

use crate::reason::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request, uri};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What of a head is known once it was accepted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The protocol that the client wants to go on with (RFC 9110, section 7.8).
    pub upgrade: Option<HeaderValue>,
    /// Bytes of the body, where the head says so.
    pub length: Option<u64>,
}

/// Which fields that matter to a gateway a head has, found by one look at all names: most messages
/// have none of them, and a look-up for each would cost more.
#[derive(Clone, Copy, Debug, Default)]
struct Present {
    connection: bool,
    transfer_encoding: bool,
    te: bool,
    upgrade: bool,
    /// Others that belong to the connection.
    own: bool,
    expect: bool,
    content_length: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            found.connection |= *name == header::CONNECTION;
            found.transfer_encoding |= *name == header::TRANSFER_ENCODING;
            found.te |= *name == header::TE;
            found.upgrade |= *name == header::UPGRADE;
            found.own |=
                *name == KEEP_ALIVE || *name == PROXY_CONNECTION || *name == HTTP2_SETTINGS;
            found.expect |= *name == header::EXPECT;
            found.content_length |= *name == header::CONTENT_LENGTH;
        }
        found
    }
}

/// Accepts a head and puts it into the form that goes on: target in origin form, `Host` that of the
/// target, no fields that belong to the client's connection.
///
/// # Errors
/// Why it is answered at once.
pub(super) fn accept(head: &mut request::Parts, max_headers: usize) -> Result<Accepted, Reason> {
    if head.method == Method::CONNECT {
        return Err(Reason::Connect);
    }
    if head.headers.len() > max_headers {
        return Err(Reason::HeadersTooLarge);
    }
    let present = Present::of(&head.headers);
    if present.transfer_encoding && !is_known_coding(&head.headers) {
        return Err(Reason::TransferCoding);
    }
    host(head)?;
    target(head)?;
    let upgrade = match head.version {
        Version::HTTP_11 if present.upgrade => wanted_upgrade(&head.headers),
        _ => None,
    };
    let trailers = present.te && head.headers.get(header::TE).is_some_and(wants_trailers);
    strip_present(&mut head.headers, present);
    if trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // Answered by this side (RFC 9110, section 10.1.1): the client is told to go on when the
    // endpoint takes the body.
    if present.expect {
        head.headers.remove(header::EXPECT);
    }
    let length = present.content_length.then(|| length(&head.headers)).flatten();
    Ok(Accepted { upgrade, length })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Only `chunked` is understood, once (RFC 9112, sections 6.1 and 7). What hyper decoded of another
/// list of codings would go on as something that it is not.
fn is_known_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Exactly one `Host`, and that of the target where the target has one (RFC 9112, section 3.2;
/// RFC 9113, section 8.3.1).
fn host(head: &mut request::Parts) -> Result<(), Reason> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (sent, more) = (hosts.next(), hosts.next());
    if more.is_some() || sent.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(Reason::BadHost);
    }
    match head.uri.authority() {
        Some(authority) => {
            if !is_host(authority.as_str().as_bytes()) {
                return Err(Reason::BadHost);
            }
            let same = sent.is_some_and(|host| {
                host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
            });
            // In HTTP/1.1 the target's is the one that counts; in HTTP/2 a difference is malformed.
            if !same && sent.is_some() && head.version == Version::HTTP_2 {
                return Err(Reason::BadHost);
            }
            if !same {
                let host =
                    HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadHost)?;
                head.headers.insert(header::HOST, host);
            }
            Ok(())
        }
        None if sent.is_some() => Ok(()),
        None if head.version == Version::HTTP_10 => {
            head.headers.insert(header::HOST, HeaderValue::from_static(""));
            Ok(())
        }
        None => Err(Reason::BadHost),
    }
}

/// Characters of a host and a port (RFC 3986, section 3.2.2). No user information: it would let a
/// name look like another.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%~!$&'()*+,;=".contains(byte))
}

/// Origin form; `*` of OPTIONS stays.
fn target(head: &mut request::Parts) -> Result<(), Reason> {
    let path = head.uri.path();
    if path == "*" {
        return if head.method == Method::OPTIONS { Ok(()) } else { Err(Reason::BadRequest) };
    }
    if !path.starts_with('/') {
        return Err(Reason::BadRequest);
    }
    if head.uri.authority().is_some() {
        let target = head.uri.path_and_query().cloned();
        head.uri = target.map_or_else(|| Uri::from(uri::PathAndQuery::from_static("/")), Uri::from);
    }
    Ok(())
}

/// `Upgrade` counts where `Connection` names it. To HTTP/2 nobody upgrades any more (RFC 9113,
/// section 3.1).
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let upgrade = headers.get(header::UPGRADE)?;
    let named = tokens(headers).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let h2c = upgrade.as_bytes().eq_ignore_ascii_case(b"h2c");
    (named && !h2c).then(|| upgrade.clone())
}

fn wants_trailers(te: &HeaderValue) -> bool {
    let mut codings = te.as_bytes().split(|&byte| byte == b',');
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The names in `Connection`.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Removes what belongs to a connection and not to the message (RFC 9110, section 7.6.1), also what
/// `Connection` names. `Trailer` stays: it describes the message.
pub(super) fn strip(headers: &mut HeaderMap) {
    strip_present(headers, Present::of(headers));
}

fn strip_present(headers: &mut HeaderMap, present: Present) {
    if present.connection {
        let names: smallvec::SmallVec<[HeaderName; 4]> = tokens(headers)
            // The one is no field, the other is removed below.
            .filter(|token| !token.eq_ignore_ascii_case(b"close"))
            .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // A client must not take away what decides where its request goes or how long it is.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in names {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    if present.transfer_encoding {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if present.te {
        headers.remove(header::TE);
    }
    if present.upgrade {
        headers.remove(header::UPGRADE);
    }
    if present.own {
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(HTTP2_SETTINGS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(version: Version, target: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn accepted(head: &mut request::Parts) -> Result<Accepted, Reason> {
        accept(head, 100)
    }

    #[test]
    fn rfc9112_3_2_exactly_one_valid_host() {
        for fields in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "a b")],
            &[("host", "user@a")],
            &[("host", "a/b")],
        ] {
            let mut head = head(Version::HTTP_11, "/", fields);
            assert_eq!(accepted(&mut head), Err(Reason::BadHost), "{fields:?}");
        }
        let mut old = head(Version::HTTP_10, "/", &[]);
        assert!(accepted(&mut old).is_ok(), "HTTP/1.0 has no Host");
    }

    #[test]
    fn rfc9112_3_2_2_the_host_of_an_absolute_target_counts() {
        let mut head = head(Version::HTTP_11, "http://b.org:81/p?q", &[("host", "a.org")]);
        assert!(accepted(&mut head).is_ok());
        assert_eq!(head.uri, "/p?q");
        assert_eq!(head.headers[header::HOST], "b.org:81");
    }

    #[test]
    fn rfc9113_8_3_1_authority_becomes_host_and_must_not_differ() {
        let mut one = head(Version::HTTP_2, "https://a.org/p", &[]);
        assert!(accepted(&mut one).is_ok());
        assert_eq!(
            (one.uri.to_string(), &one.headers[header::HOST]),
            ("/p".into(), &"a.org".parse().expect("a value"))
        );
        let mut two = head(Version::HTTP_2, "https://a.org/p", &[("host", "b.org")]);
        assert_eq!(accepted(&mut two), Err(Reason::BadHost));
        let mut three = head(Version::HTTP_2, "https://a.org/p", &[("host", "A.org")]);
        assert!(accepted(&mut three).is_ok());
    }

    #[test]
    fn rfc9110_7_6_1_fields_of_the_connection_are_removed() {
        let fields = [
            ("host", "a"),
            ("connection", "close, X-Secret, host, content-length"),
            ("connection", "keep-alive"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("te", "gzip, Trailers"),
            ("content-length", "0"),
            ("trailer", "x"),
            ("x-kept", "1"),
        ];
        let mut head = head(Version::HTTP_11, "/", &fields);
        assert!(accepted(&mut head).is_ok());
        let mut names: Vec<&str> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "host", "te", "trailer", "x-kept"]);
        assert_eq!(head.headers[header::TE], "trailers");
    }

    #[test]
    fn rfc9110_7_8_upgrade_counts_where_connection_names_it() {
        let websocket = [("host", "a"), ("connection", "Upgrade"), ("upgrade", "websocket")];
        let mut one = head(Version::HTTP_11, "/", &websocket);
        let found = accepted(&mut one).expect("accepted").upgrade;
        assert_eq!(found, Some(HeaderValue::from_static("websocket")));
        assert!(!one.headers.contains_key(header::UPGRADE));
        for fields in [
            [("host", "a"), ("connection", "close"), ("upgrade", "websocket")],
            [("host", "a"), ("connection", "upgrade"), ("upgrade", "h2c")],
        ] {
            let mut head = head(Version::HTTP_11, "/", &fields);
            assert_eq!(accepted(&mut head), Ok(Accepted::default()), "{fields:?}");
        }
    }

    #[test]
    fn asterisk_is_for_options_and_connect_is_refused() {
        let mut options = head(Version::HTTP_11, "*", &[("host", "a")]);
        options.method = Method::OPTIONS;
        assert!(accepted(&mut options).is_ok());
        let mut get = head(Version::HTTP_11, "*", &[("host", "a")]);
        assert_eq!(accepted(&mut get), Err(Reason::BadRequest));
        let mut connect = head(Version::HTTP_11, "/", &[("host", "a")]);
        connect.method = Method::CONNECT;
        assert_eq!(accepted(&mut connect), Err(Reason::Connect));
    }

    #[test]
    fn rfc9112_6_1_a_transfer_coding_that_is_not_understood_is_refused() {
        for (coding, known) in [
            ("chunked", true),
            ("Chunked", true),
            ("gzip, chunked", false),
            ("chunked, chunked", false),
            ("identity", false),
        ] {
            let fields = [("host", "a"), ("transfer-encoding", coding)];
            let mut head = head(Version::HTTP_11, "/", &fields);
            let expected = if known { Ok(()) } else { Err(Reason::TransferCoding) };
            assert_eq!(accepted(&mut head).map(|_| ()), expected, "{coding}");
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let mut head = head(Version::HTTP_2, "/", &[("host", "a"), ("x", "1"), ("y", "1")]);
        assert_eq!(accept(&mut head, 2), Err(Reason::HeadersTooLarge));
    }
}
