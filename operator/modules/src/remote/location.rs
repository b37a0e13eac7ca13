//! Addresses of web servers, and where their redirects lead.

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// An absolute `http` or `https` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) secure: bool,
    pub(crate) authority: Authority,
    pub(crate) path: PathAndQuery,
}

impl Location {
    /// Reads an absolute address; one with a user name is refused.
    pub(crate) fn parse(address: &str) -> Option<Self> {
        let address = address.split('#').next().unwrap_or_default();
        let parts = address.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme?;
        let secure = scheme == Scheme::HTTPS;
        let authority = parts.authority.filter(|a| !a.as_str().contains('@'))?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let known = secure || scheme == Scheme::HTTP;
        (known && !authority.host().is_empty()).then_some(Self { secure, authority, path })
    }

    /// Where a `Location` field of an answer from here leads (RFC 9110, section 10.2.2).
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        let reference = reference.split('#').next().unwrap_or_default();
        if reference.contains("://") && !reference.starts_with(['/', '?']) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme()));
        }
        let folder = self.path.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match reference {
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            query if query.starts_with('?') => format!("{}{query}", self.path.path()),
            relative => format!("{folder}/{relative}"),
        };
        Some(Self { path: path.parse().ok()?, ..self.clone() })
    }

    /// Host without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(location: &Location) -> String {
        format!("{}://{}{}", location.scheme(), location.authority, location.path)
    }

    #[test]
    fn a_reference_is_taken_from_where_it_was_read() {
        let from = Location::parse("https://a.example:8443/x/y?z=1").expect("an address");
        for (reference, expected) in [
            ("http://b.example", "http://b.example/"),
            ("https://b.example/c?d#e", "https://b.example/c?d"),
            ("//b.example/c", "https://b.example/c"),
            ("/c?to=http://d", "https://a.example:8443/c?to=http://d"),
            ("c", "https://a.example:8443/x/c"),
            ("?c", "https://a.example:8443/x/y?c"),
        ] {
            assert_eq!(from.join(reference).map(|l| show(&l)).as_deref(), Some(expected));
        }
        for refused in ["ftp://b.example/c", "https://u:p@b.example/", "file:///etc/passwd", "a b"]
        {
            assert_eq!(from.join(refused), None, "{refused}");
        }
    }

    #[test]
    fn hosts_and_ports_are_those_to_connect_to() {
        for (address, host, port) in [
            ("https://a.example", "a.example", 443),
            ("http://a.example", "a.example", 80),
            ("http://[2001:db8::1]:81/", "2001:db8::1", 81),
        ] {
            let location = Location::parse(address).expect("an address");
            assert_eq!((location.host(), location.port()), (host, port));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_answers_is_an_address_or_refused(reference in ".{0,40}") {
            let from = Location::parse("https://a.example/x").expect("an address");
            if let Some(to) = from.join(&reference) {
                prop_assert!(Location::parse(&show(&to)).is_some());
            }
        }
    }
}
