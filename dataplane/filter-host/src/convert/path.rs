//! Rewrites, redirects and chosen backends.

use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderValue, StatusCode};

use super::decision::response;
use super::{Refusal, clip};
use crate::bindings::policy::paths as raw;
use crate::decision::{PathChange, PathDecision, Redirect, Rewrite};

/// Longest path and query, in bytes.
const MAX_TARGET: usize = 16 << 10;
/// Longest name of a backend: two names of 253 bytes, a port and two separators.
const MAX_BACKEND: usize = 514;

/// A path policy's decision: all of it, or a refusal.
pub(crate) fn paths(decision: raw::Decision) -> Result<PathDecision, Refusal> {
    Ok(match decision {
        raw::Decision::Next => PathDecision::Next,
        raw::Decision::Rewrite(rewrite) => PathDecision::Rewrite(Arc::new(Rewrite {
            host: rewrite.host.map(authority).transpose()?,
            path: rewrite.path.map(path).transpose()?,
            query: rewrite.query.map(query).transpose()?,
        })),
        raw::Decision::Redirect(redirect) => {
            PathDecision::Redirect(Arc::new(self::redirect(redirect)?))
        }
        raw::Decision::Backend(name) => PathDecision::Backend(backend(name)?),
        raw::Decision::Respond(answer) => PathDecision::Respond(response(answer)?),
    })
}

fn redirect(redirect: raw::Redirect) -> Result<Redirect, Refusal> {
    let status = match redirect.status {
        status @ (301 | 302 | 303 | 307 | 308) => StatusCode::from_u16(status).ok(),
        _ => None,
    };
    let status = status.ok_or_else(|| {
        Refusal::value(format!(
            "status {} is no redirect: 301, 302, 303, 307, 308",
            redirect.status
        ))
    })?;
    if let Some(scheme) = &redirect.scheme
        && !matches!(scheme.as_str(), "http" | "https")
    {
        return Err(Refusal::value(format!("scheme `{}`: http or https", clip(scheme))));
    }
    if redirect.port == Some(0) {
        return Err(Refusal::value("port 0"));
    }
    Ok(Redirect {
        status,
        scheme: redirect.scheme.map(Into::into),
        host: redirect.host.map(host).transpose()?,
        port: redirect.port,
        path: redirect.path.map(path).transpose()?,
    })
}

fn authority(text: String) -> Result<HeaderValue, Refusal> {
    let wrong = || Refusal::value(format!("`{}` is no host", clip(&text)));
    let parsed: Authority = text.parse().map_err(|_| wrong())?;
    if text.contains('@') || parsed.host().is_empty() {
        return Err(wrong());
    }
    if text.len() > parsed.host().len() && parsed.port_u16().is_none() {
        return Err(wrong());
    }
    HeaderValue::from_str(&text).map_err(|_| wrong())
}

fn host(text: String) -> Result<Box<str>, Refusal> {
    let parsed = authority(text.clone())?;
    let bare: Authority = text.parse().map_err(|_| Refusal::value("no host"))?;
    if bare.host().len() != parsed.len() {
        return Err(Refusal::value(format!("`{}`: a host without port", clip(&text))));
    }
    Ok(text.into())
}

fn path(edit: raw::PathEdit) -> Result<PathChange, Refusal> {
    match edit {
        raw::PathEdit::Full(text) if text.starts_with('/') && is_target(&text, false) => {
            Ok(PathChange::Full(text.into()))
        }
        raw::PathEdit::Prefix(text)
            if (text.is_empty() || text.starts_with('/')) && is_target(&text, false) =>
        {
            Ok(PathChange::Prefix(text.into()))
        }
        raw::PathEdit::Full(text) | raw::PathEdit::Prefix(text) => Err(Refusal::value(format!(
            "`{}` is no path: it begins with `/`, has no query and no raw space or control character",
            clip(&text)
        ))),
    }
}

fn query(text: String) -> Result<Box<str>, Refusal> {
    match is_target(&text, true) {
        true => Ok(text.into()),
        false => Err(Refusal::value(format!("`{}` is no query", clip(&text)))),
    }
}

/// Bytes of a request target (RFC 3986, sections 3.3 and 3.4) that are safe to put on a request
/// line: visible ASCII, no fragment; what is beyond ASCII must be percent-encoded.
fn is_target(text: &str, question_mark: bool) -> bool {
    let fine = |b: u8| {
        b.is_ascii_graphic()
            && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
            && (question_mark || b != b'?')
    };
    text.len() <= MAX_TARGET && text.bytes().all(fine)
}

fn backend(name: String) -> Result<Arc<str>, Refusal> {
    let fine = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':' | b'/')
    };
    match (1..=MAX_BACKEND).contains(&name.len()) && name.bytes().all(fine) {
        true => Ok(name.into()),
        false => Err(Refusal::value(format!("`{}` names no backend", clip(&name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FilterFailure::BadValue;

    fn rewrite(
        host: Option<&str>,
        path: Option<raw::PathEdit>,
        query: Option<&str>,
    ) -> Result<PathDecision, Refusal> {
        let (host, query) = (host.map(str::to_owned), query.map(str::to_owned));
        paths(raw::Decision::Rewrite(raw::Rewrite { host, path, query }))
    }

    fn full(text: &str) -> Option<raw::PathEdit> {
        Some(raw::PathEdit::Full(text.to_owned()))
    }

    fn redirect_to(
        status: u16,
        scheme: Option<&str>,
        host: Option<&str>,
        port: Option<u16>,
    ) -> Result<PathDecision, Refusal> {
        let (scheme, host) = (scheme.map(str::to_owned), host.map(str::to_owned));
        paths(raw::Decision::Redirect(raw::Redirect { status, scheme, host, port, path: None }))
    }

    #[test]
    fn paths_stay_on_one_request_line() {
        assert!(rewrite(Some("a.example:8080"), full("/a/%20b;c=1"), Some("x=1&y=/?")).is_ok());
        assert!(rewrite(None, Some(raw::PathEdit::Prefix(String::new())), Some("")).is_ok());
        for path in ["", "a", "/a b", "/a?b", "/a#b", "/a\r\nx: y", "/ä", "/a\0", "*"] {
            assert_eq!(
                rewrite(None, full(path), None).map_err(|r| r.failure),
                Err(BadValue),
                "{path:?}"
            );
        }
        for query in ["a b", "a#b", "a\nb", "ä"] {
            assert_eq!(
                rewrite(None, None, Some(query)).map_err(|r| r.failure),
                Err(BadValue),
                "{query:?}"
            );
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_without_user() {
        for host in ["a.example", "10.0.0.1:80", "[::1]:8080", "[::1]"] {
            assert!(rewrite(Some(host), None, None).is_ok(), "{host}");
        }
        for host in ["", "a b", "u@a.example", "a/b", "a:99999", "a:", ":80", "a\r\n"] {
            assert_eq!(
                rewrite(Some(host), None, None).map_err(|r| r.failure),
                Err(BadValue),
                "{host:?}"
            );
        }
    }

    #[test]
    fn redirects_have_a_redirecting_status_and_a_host_without_port() {
        assert!(redirect_to(308, Some("https"), Some("a.example"), Some(8443)).is_ok());
        for wrong in [
            redirect_to(200, None, None, None),
            redirect_to(304, None, None, None),
            redirect_to(302, Some("javascript"), None, None),
            redirect_to(302, None, Some("a.example:80"), None),
            redirect_to(302, None, None, Some(0)),
        ] {
            assert_eq!(wrong.map_err(|r| r.failure), Err(BadValue));
        }
    }

    #[test]
    fn a_backend_is_named_like_a_service() {
        for (name, fine) in [
            ("web", true),
            ("web:80", true),
            ("shop/web:80", true),
            ("", false),
            ("a b", false),
            ("Web", false),
        ] {
            assert_eq!(paths(raw::Decision::Backend(name.to_owned())).is_ok(), fine, "{name}");
        }
    }
}
