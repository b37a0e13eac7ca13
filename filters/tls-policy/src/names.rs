//! Which names match: of servers, and of subjects.

use std::net::IpAddr;

use penstock_filter::Problem;
use penstock_filter::tls::San;

use crate::config::AllowedSan;

/// A DNS name, or all names below one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Exact(String),
    /// With the dot at the beginning.
    Below(String),
}

/// An allowed subject alternative name, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Dns(Name),
    Uri(String),
    UriPrefix(String),
    Email(String),
    Ip(IpAddr),
}

impl Name {
    /// Reads `www.example.com` or `*.example.com`.
    pub(crate) fn read(text: &str, pointer: &str) -> Result<Name, Problem> {
        let name = text.to_ascii_lowercase();
        let (wildcard, rest) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if rest.len() > 253 || !rest.split('.').all(label) {
            let message = "a DNS name, exact or with `*.` at the beginning";
            return Err(Problem::at(pointer, message));
        }
        Ok(if wildcard { Name::Below(format!(".{rest}")) } else { Name::Exact(name) })
    }

    /// Whether a name is this one or below it, in any case.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Name::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Name::Below(suffix) => {
                let split =
                    name.len().checked_sub(suffix.len()).and_then(|at| name.split_at_checked(at));
                split.is_some_and(|(label, end)| {
                    !label.is_empty() && end.eq_ignore_ascii_case(suffix)
                })
            }
        }
    }
}

impl Subject {
    /// Checks what stands at a JSON Pointer.
    pub(crate) fn read(allowed: &AllowedSan, pointer: &str) -> Result<Subject, Problem> {
        match allowed {
            AllowedSan::Dns(name) => Name::read(name, &format!("{pointer}/dns")).map(Subject::Dns),
            AllowedSan::Uri(uri) => Ok(Subject::Uri(uri.clone())),
            // Else `spiffe://prod` would let in `spiffe://prod.example.net/`.
            AllowedSan::UriPrefix(prefix) if !prefix.ends_with('/') => {
                Err(Problem::at(format!("{pointer}/uriPrefix"), "a prefix ends with `/`"))
            }
            AllowedSan::UriPrefix(prefix) => Ok(Subject::UriPrefix(prefix.clone())),
            AllowedSan::Email(address) => Ok(Subject::Email(address.clone())),
            AllowedSan::Ip(address) => address
                .parse()
                .map(Subject::Ip)
                .map_err(|error| Problem::at(format!("{pointer}/ip"), error)),
        }
    }

    /// Whether a certificate's name is this one. A name of another kind never is.
    pub(crate) fn matches(&self, san: &San) -> bool {
        match (self, san) {
            (Subject::Dns(name), San::Dns(dns)) => name.matches(dns),
            (Subject::Uri(exact), San::Uri(uri)) => exact == uri,
            (Subject::UriPrefix(prefix), San::Uri(uri)) => uri.starts_with(prefix.as_str()),
            (Subject::Email(exact), San::Email(address)) => exact == address,
            (Subject::Ip(exact), San::Ip(address)) => address.parse() == Ok(*exact),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_every_name_below_and_not_for_itself() {
        let name = Name::read("*.Example.com", "").unwrap();
        for yes in ["a.example.com", "A.EXAMPLE.com", "a.b.example.com"] {
            assert!(name.matches(yes), "{yes}");
        }
        for no in ["example.com", ".example.com", "aexample.com", "a.example.com.evil", "é"] {
            assert!(!name.matches(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_dns_name_is_refused_with_its_place() {
        for text in ["", "*", "*.", "a..b", "a.*.b", "a b", "https://a"] {
            assert_eq!(Name::read(text, "/allowedNames/0").unwrap_err().pointer, "/allowedNames/0");
        }
    }

    #[test]
    fn a_uri_prefix_ends_at_a_segment() {
        let read = |prefix: &str| Subject::read(&AllowedSan::UriPrefix(prefix.to_owned()), "/x");
        assert_eq!(read("spiffe://prod").unwrap_err().pointer, "/x/uriPrefix");
        let prefix = read("spiffe://prod/").unwrap();
        assert!(prefix.matches(&San::Uri("spiffe://prod/web".into())));
        assert!(!prefix.matches(&San::Uri("spiffe://prod.evil/web".into())));
    }

    #[test]
    fn a_name_of_another_kind_never_matches() {
        let text = "192.0.2.1";
        let ip = Subject::read(&AllowedSan::Ip(text.into()), "").unwrap();
        assert!(ip.matches(&San::Ip(text.into())));
        assert!(!ip.matches(&San::Dns(text.into())));
        let uri = Subject::read(&AllowedSan::Uri("a:b".into()), "").unwrap();
        assert!(uri.matches(&San::Uri("a:b".into())) && !uri.matches(&San::Email("a:b".into())));
    }

    #[test]
    fn rfc_5952_one_address_has_several_texts() {
        let ip = Subject::read(&AllowedSan::Ip("2001:db8:0::1".into()), "").unwrap();
        assert!(ip.matches(&San::Ip("2001:db8::1".into())));
    }
}
