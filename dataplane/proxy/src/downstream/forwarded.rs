//! Who the client is, and what upstreams are told of it.

use crate::snapshot::Settings;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");

/// Writes `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Envoy-External-Address`. Returns the
/// client's address where that is not the peer's.
///
/// Without trusted proxies in front the peer is the client, and what it sent in these fields is
/// replaced. With `n` of them the client is the `n`-th address from the right of what they wrote, the
/// peer's own is appended, and their `X-Forwarded-Proto` stands. Where there are fewer addresses than
/// trusted proxies, or one is no address, the request did not come through them: the peer is the
/// client.
pub(super) fn write(
    headers: &mut HeaderMap,
    peer: &HeaderValue,
    scheme: &'static str,
    settings: &Settings,
) -> Option<IpAddr> {
    if settings.trusted_hops == 0 {
        headers.insert(FORWARDED_FOR, peer.clone());
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        headers.insert(EXTERNAL_ADDRESS, peer.clone());
        return None;
    }
    let client = trusted(headers, settings.trusted_hops);
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(peer.as_bytes());
    // Made of valid values.
    if let Ok(list) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(FORWARDED_FOR, list);
    }
    let proto = headers.get(FORWARDED_PROTO).map(HeaderValue::as_bytes);
    if client.is_none() || !matches!(proto, Some(b"http" | b"https")) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    let external = client.and_then(|client| HeaderValue::try_from(client.to_string()).ok());
    headers.insert(EXTERNAL_ADDRESS, external.unwrap_or_else(|| peer.clone()));
    client
}

/// The `hops`-th address from the right.
fn trusted(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let mut left = hops;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in value.to_str().ok()?.rsplit(',') {
            left -= 1;
            if left == 0 {
                return address(entry.trim());
            }
        }
    }
    None
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse()
        .ok()
        .or_else(bare)
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(sent: &[(&'static str, &'static str)], hops: usize) -> (HeaderMap, Option<IpAddr>) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let settings = Settings { trusted_hops: hops, ..Settings::default() };
        let peer = HeaderValue::from_static("10.0.0.9");
        let client = write(&mut headers, &peer, "https", &settings);
        (headers, client)
    }

    #[test]
    fn without_trusted_hops_what_the_client_sent_is_replaced() {
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "ftp"),
            ("x-envoy-external-address", "3.3.3.3"),
        ];
        let (headers, client) = written(&sent, 0);
        assert_eq!(client, None);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-envoy-external-address"], "10.0.0.9");
    }

    #[test]
    fn with_trusted_hops_the_client_is_counted_from_the_right() {
        let sent = [
            ("x-forwarded-for", "6.6.6.6, 1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2:80"),
            ("x-forwarded-proto", "http"),
        ];
        for (hops, client) in [(1, "2.2.2.2"), (2, "1.1.1.1"), (3, "6.6.6.6")] {
            let (headers, found) = written(&sent, hops);
            assert_eq!(found, client.parse().ok(), "{hops}");
            assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 1.1.1.1, 2.2.2.2:80, 10.0.0.9");
            assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
            assert_eq!(headers["x-forwarded-proto"], "http");
            assert_eq!(headers["x-envoy-external-address"], client);
        }
    }

    #[test]
    fn a_request_that_went_round_the_trusted_hops_is_the_peers() {
        for sent in ["1.1.1.1", "unknown, x"] {
            let (headers, client) = written(&[("x-forwarded-for", sent)], 2);
            assert_eq!(client, None, "{sent}");
            assert_eq!(headers["x-envoy-external-address"], "10.0.0.9");
            assert_eq!(headers["x-forwarded-proto"], "https");
        }
    }
}
