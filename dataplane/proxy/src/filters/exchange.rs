//! One exchange as policies see it.

use crate::{
    routing::query_param, snapshot::RouteRule, telemetry::RequestRecord, tls::TlsSession,
    worker::View,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use penstock_filter_host::Selector;
use std::{borrow::Cow, net::IpAddr, rc::Rc};

/// What does not change during a connection.
#[derive(Debug)]
pub struct Parts {
    /// The peer's address as text.
    pub peer: Box<str>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The port that the client dialled.
    pub port: u32,
    /// Present on TLS connections.
    pub tls: Option<Rc<TlsSession>>,
}

/// One exchange: a request on its way through the steps, then its response.
#[derive(Debug)]
pub struct Exchange {
    /// The configuration that serves it, from its head to its end.
    pub view: Rc<View>,
    /// Its connection.
    pub connection: Rc<Parts>,
    /// The client's address, where that is not the peer's.
    pub client: Option<IpAddr>,
    /// Request method.
    pub method: Method,
    /// Request target.
    pub uri: Uri,
    /// Request fields; `Host` is always that of the target.
    pub headers: HeaderMap,
    /// The response, once there is one.
    pub response: Option<(StatusCode, HeaderMap)>,
    /// What policies noted. The last of a name counts.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// Index of the rule in the snapshot, once it is known.
    pub rule: Option<usize>,
    /// Bytes of the path that the rule's prefix matched; `None` where it matched in another way or
    /// the path was replaced.
    pub prefix: Option<usize>,
    /// The backendRef that a path policy chose.
    pub chosen: Option<usize>,
    /// For telemetry.
    pub record: RequestRecord,
}

impl Exchange {
    /// The rule that matched.
    #[inline]
    pub fn rule(&self) -> Option<&RouteRule> {
        self.rule.map(|rule| &self.view.snapshot.rules[rule])
    }

    /// `Host` of the request.
    pub fn authority(&self) -> &[u8] {
        self.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default()
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let own = self.attributes.iter().find(|(known, _)| **known == *name);
        let session = || {
            let tls = self.connection.tls.as_ref()?;
            tls.attributes.iter().rev().find(|(known, _)| **known == *name)
        };
        own.or_else(session).map(|(_, value)| &**value)
    }

    fn client_address(&self) -> Cow<'_, [u8]> {
        match self.client {
            Some(address) => Cow::Owned(address.to_string().into_bytes()),
            None => Cow::Borrowed(self.connection.peer.as_bytes()),
        }
    }
}

impl penstock_filter_host::Exchange for Exchange {
    fn read<'a>(&'a self, selector: &Selector) -> Option<Cow<'a, [u8]>> {
        let tls = self.connection.tls.as_ref();
        let text = |text: &'a str| Some(Cow::Borrowed(text.as_bytes()));
        match selector {
            Selector::Method => text(self.method.as_str()),
            Selector::Scheme => text(self.connection.scheme),
            Selector::Authority => Some(Cow::Borrowed(self.authority())),
            Selector::Path => text(self.uri.path()),
            Selector::Query => self.uri.query().and_then(text),
            Selector::Status => text(self.response.as_ref()?.0.as_str()),
            Selector::Header(name) => combined(&self.headers, name),
            Selector::ResponseHeader(name) => combined(&self.response.as_ref()?.1, name),
            Selector::Cookie(name) => cookie(&self.headers, name),
            Selector::QueryParam(name) => query_param(self.uri.query()?, name),
            Selector::ClientAddress => Some(self.client_address()),
            Selector::TlsSni => tls?.sni.as_deref().and_then(text),
            Selector::TlsAlpn => tls?.alpn.and_then(text),
            Selector::TlsVersion => text(tls?.version),
            Selector::ClientCertSan => tls?.client_cert.as_ref()?.san.as_deref().and_then(text),
            Selector::ClientCertFingerprint => text(&tls?.client_cert.as_ref()?.fingerprint),
            Selector::RouteName => text(&self.rule()?.route),
            Selector::RouteRule => self.rule()?.name.as_deref().and_then(text),
            Selector::Attribute(name) => self.attribute(name).and_then(text),
        }
    }

    fn recording(&self) -> bool {
        self.record.recording()
    }

    fn route(&self) -> &str {
        self.rule().map_or("", |rule| &rule.route)
    }

    fn trace_id(&self) -> Option<&str> {
        self.record.trace_id()
    }
}

/// A field; several of one name joined by `, ` (RFC 9110, section 5.3).
fn combined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value.as_bytes());
    }
    Some(Cow::Owned(joined))
}

/// The first cookie of a name (RFC 6265, section 4.2.1), without its quotes.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, [u8]>> {
    for field in headers.get_all(header::COOKIE) {
        for pair in field.as_bytes().split(|&byte| byte == b';') {
            let pair = pair.trim_ascii();
            let Some(value) = pair.strip_prefix(name.as_bytes()) else { continue };
            let Some(value) = value.strip_prefix(b"=") else { continue };
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            return Some(Cow::Borrowed(quoted.unwrap_or(value)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_name_are_joined_and_one_is_borrowed() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-a");
        assert_eq!(combined(&headers, &name), None);
        headers.append("x-a", HeaderValue::from_static("1"));
        assert!(matches!(combined(&headers, &name), Some(Cow::Borrowed(b"1"))));
        headers.append("x-a", HeaderValue::from_static("2"));
        assert_eq!(combined(&headers, &name).as_deref(), Some(&b"1, 2"[..]));
    }

    #[test]
    fn rfc6265_the_first_cookie_of_a_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("ab=0; a=1;b=\"2\" ; a=3"));
        headers.append("cookie", HeaderValue::from_static("c=4=5"));
        for (name, value) in
            [("a", Some("1")), ("b", Some("2")), ("c", Some("4=5")), ("ab", Some("0")), ("d", None)]
        {
            let found = cookie(&headers, name);
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{name}");
        }
    }
}
