//! Rewriting of request targets and locations of redirects.

use http::{HeaderValue, Uri, uri::PathAndQuery};
use penstock_filter_host::{PathChange, Redirect};

/// The path after a change. `prefix` is how many bytes of the path the rule's prefix matched; `None`
/// where the rule matched in another way, and then there is no prefix to replace.
///
/// Gateway API v1.6.1, `HTTPPathModifier`: a trailing `/` of the match and of the replacement is
/// ignored where something follows, and what is left is never empty.
pub fn replace_path(path: &str, change: &PathChange, prefix: Option<usize>) -> Option<String> {
    match change {
        PathChange::Full(full) if full.starts_with('/') => Some((**full).to_owned()),
        PathChange::Full(full) => Some(format!("/{full}")),
        PathChange::Prefix(new) => {
            let rest = path.get(prefix?..)?;
            let new = new.trim_end_matches('/');
            let slash = if new.starts_with('/') || new.is_empty() { "" } else { "/" };
            Some(match (new, rest) {
                ("", "") => "/".to_owned(),
                ("", rest) if rest.starts_with('/') => rest.to_owned(),
                (new, rest) => format!("{slash}{new}{rest}"),
            })
        }
    }
}

/// A request target in origin form with another path, and another query where `query` is given
/// (empty: none). `None` where the result is no request target.
pub fn with_path(uri: &Uri, path: Option<&str>, query: Option<&str>) -> Option<Uri> {
    let path = path.unwrap_or(uri.path());
    let query = query.or(uri.query()).filter(|query| !query.is_empty());
    let target = match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    Some(Uri::from(target.ok()?))
}

/// `Location` of a redirect.
///
/// Gateway API v1.6.1, `HTTPRequestRedirectFilter`: without a port the well-known one of a given
/// scheme, else the listener's; `:80` of `http` and `:443` of `https` are left out; without a
/// hostname that of the request.
pub fn location(
    to: &Redirect,
    request_scheme: &str,
    request_host: &str,
    listener_port: u32,
    path: &str,
    query: Option<&str>,
) -> Option<HeaderValue> {
    let scheme = to.scheme.as_deref().unwrap_or(request_scheme);
    let host = to.host.as_deref().unwrap_or(request_host);
    let well_known = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = match (to.port, &to.scheme) {
        (Some(port), _) => Some(u32::from(port)),
        (None, Some(_)) => well_known,
        (None, None) => Some(listener_port),
    };
    let mut location = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| Some(*port) != well_known) {
        location.push(':');
        location.push_str(&port.to_string());
    }
    location.push_str(path);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::try_from(location).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use proptest::prelude::*;

    fn prefix(new: &str) -> PathChange {
        PathChange::Prefix(new.into())
    }

    /// The table of `HTTPPathModifier.replacePrefixMatch`.
    #[test]
    fn s7_14_replace_prefix_match() {
        for (path, matched, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz", "/xyz/"),
        ] {
            let length = matched.trim_end_matches('/').len();
            let found = replace_path(path, &prefix(new), Some(length));
            assert_eq!(found.as_deref(), Some(expected), "{path} {matched} {new}");
        }
    }

    #[test]
    fn s7_14_the_query_is_kept_and_a_path_without_prefix_has_none_to_replace() {
        let uri = Uri::from_static("/foo/bar?a=1&b=2");
        let new = with_path(&uri, Some("/x"), None).expect("a target");
        assert_eq!(new.to_string(), "/x?a=1&b=2");
        let new = with_path(&uri, None, Some("")).expect("a target");
        assert_eq!(new.to_string(), "/foo/bar");
        assert_eq!(replace_path("/foo", &prefix("/x"), None), None);
        assert_eq!(
            replace_path("/foo", &PathChange::Full("/y".into()), None).as_deref(),
            Some("/y")
        );
    }

    fn redirect(scheme: Option<&str>, host: Option<&str>, port: Option<u16>) -> Redirect {
        Redirect {
            status: StatusCode::FOUND,
            scheme: scheme.map(Into::into),
            host: host.map(Into::into),
            port,
            path: None,
        }
    }

    #[test]
    fn s7_13_port_of_a_location() {
        for (scheme, port, listener, expected) in [
            (None, None, 80, "http://r.org/p?q"),
            (None, None, 8080, "http://r.org:8080/p?q"),
            (None, Some(80), 8080, "http://r.org/p?q"),
            (None, Some(81), 80, "http://r.org:81/p?q"),
            (Some("https"), None, 8080, "https://r.org/p?q"),
            (Some("https"), Some(443), 80, "https://r.org/p?q"),
            (Some("https"), Some(8443), 80, "https://r.org:8443/p?q"),
            (Some("https"), Some(80), 80, "https://r.org:80/p?q"),
            (Some("http"), None, 8080, "http://r.org/p?q"),
        ] {
            let to = redirect(scheme, None, port);
            let found = location(&to, "http", "r.org", listener, "/p", Some("q"));
            assert_eq!(found.expect("a location"), expected, "{scheme:?} {port:?} {listener}");
        }
        let other = redirect(None, Some("other.org"), None);
        let found = location(&other, "https", "r.org", 443, "/p", None);
        assert_eq!(found.expect("a location"), "https://other.org/p");
    }

    proptest! {
        /// By path element: the elements after the prefix follow those of the replacement.
        #[test]
        fn s7_14_elements_are_replaced_not_characters(
            matched in proptest::collection::vec("[a-z]{1,3}", 0..4),
            rest in proptest::collection::vec("[a-z]{1,3}", 0..4),
            new in proptest::collection::vec("[a-z]{1,3}", 0..4),
            slash in any::<bool>(),
        ) {
            let join = |parts: &[String]| parts.iter().map(|p| format!("/{p}")).collect::<String>();
            let path = format!("{}{}", join(&matched), join(&rest));
            prop_assume!(!path.is_empty());
            let written = format!("{}{}", join(&new), if slash { "/" } else { "" });
            let found = replace_path(&path, &prefix(&written), Some(join(&matched).len()));
            let expected = format!("{}{}", join(&new), join(&rest));
            let expected = if expected.is_empty() { "/".to_owned() } else { expected };
            prop_assert_eq!(found, Some(expected));
        }
    }
}
