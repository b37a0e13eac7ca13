//! Selectors as people write them in a configuration: `path`, `header.x-user`, `cookie.id`.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::plan::Selector;

/// A text that names nothing a policy can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSelector(String);

impl Display for UnknownSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain: Vec<_> = PLAIN.iter().map(|(name, _)| *name).collect();
        let named: Vec<_> = NAMED.iter().map(|(name, _)| format!("{name}.NAME")).collect();
        let known = [plain.join(", "), named.join(", ")].join(", ");
        write!(f, "`{}` is nothing a policy can read; known are {known}", self.0)
    }
}

impl std::error::Error for UnknownSelector {}

/// Makes a selector of a name.
type Named = fn(String) -> Selector;

const PLAIN: [(&str, Selector); 14] = [
    ("method", Selector::Method),
    ("scheme", Selector::Scheme),
    ("authority", Selector::Authority),
    ("path", Selector::Path),
    ("query", Selector::Query),
    ("status", Selector::Status),
    ("client-address", Selector::ClientAddress),
    ("tls-sni", Selector::TlsSni),
    ("tls-alpn", Selector::TlsAlpn),
    ("tls-version", Selector::TlsVersion),
    ("client-cert-san", Selector::ClientCertSan),
    ("client-cert-fingerprint", Selector::ClientCertFingerprint),
    ("route-name", Selector::RouteName),
    ("route-rule", Selector::RouteRule),
];

const NAMED: [(&str, Named); 5] = [
    ("header", |name| Selector::Header(name.to_ascii_lowercase())),
    ("response-header", |name| Selector::ResponseHeader(name.to_ascii_lowercase())),
    ("cookie", Selector::Cookie),
    ("query-param", Selector::QueryParam),
    ("attribute", Selector::Attribute),
];

impl FromStr for Selector {
    type Err = UnknownSelector;

    /// Reads `path` or `header.x-user`: the names of the interface definition, and after a dot the
    /// name of what is selected.
    fn from_str(text: &str) -> Result<Selector, UnknownSelector> {
        let unknown = || UnknownSelector(text.to_owned());
        let Some((kind, name)) = text.split_once('.') else {
            let plain = PLAIN.iter().find(|(plain, _)| *plain == text);
            return plain.map(|(_, selector)| selector.clone()).ok_or_else(unknown);
        };
        let (_, make) = NAMED.iter().find(|(named, _)| *named == kind).ok_or_else(unknown)?;
        if name.is_empty() { Err(unknown()) } else { Ok(make(name.to_owned())) }
    }
}

impl Selector {
    /// Whether only a response has it.
    pub fn is_of_response(&self) -> bool {
        matches!(self, Selector::Status | Selector::ResponseHeader(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_become_lower_case_and_other_names_stay() {
        assert_eq!("header.X-User".parse(), Ok(Selector::Header("x-user".into())));
        assert_eq!("cookie.Id".parse(), Ok(Selector::Cookie("Id".into())));
        assert_eq!("attribute.a.b".parse(), Ok(Selector::Attribute("a.b".into())));
        assert_eq!("client-address".parse(), Ok(Selector::ClientAddress));
    }

    #[test]
    fn what_is_unknown_is_answered_with_what_is_known() {
        for text in ["heder.x", "header.", "header", "path.x", ""] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains("header.NAME") && error.contains("client-address"), "{error}");
        }
    }
}
