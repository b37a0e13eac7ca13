//! The filters of the Gateway API itself. They have the same fields at a rule and at a backendRef,
//! in types of different names.

use crate::condition::Problem;
use crate::hostname;
use penstock_config::{Header, HeaderEdit, PathEdit, Redirect, Rewrite, StepAction};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::httproutes as api;

/// Status codes that `RequestRedirect` takes.
const REDIRECT_CODES: [i64; 5] = [301, 302, 303, 307, 308];

/// What a filter asks for.
pub(super) enum Asked<'a> {
    /// Something that the proxy does itself.
    Native(StepAction),
    /// A reference to an object.
    Extension { group: &'a str, kind: &'a str, name: &'a str },
}

/// A filter of a rule or of a backendRef.
pub(super) trait NativeFilter {
    /// `type` as written.
    fn type_name(&self) -> &'static str;

    /// What it asks for.
    ///
    /// # Errors
    /// `UnsupportedValue` when it cannot be served or its body is missing or wrong.
    fn asked(&self) -> Result<Asked<'_>, Problem>;
}

macro_rules! native_filter {
    ($filter:ty, $kind:ident, $redirect_path:ident, $rewrite_path:ident, $scheme:ident) => {
        impl NativeFilter for $filter {
            fn type_name(&self) -> &'static str {
                match self.r#type {
                    api::$kind::RequestHeaderModifier => "RequestHeaderModifier",
                    api::$kind::ResponseHeaderModifier => "ResponseHeaderModifier",
                    api::$kind::RequestMirror => "RequestMirror",
                    api::$kind::RequestRedirect => "RequestRedirect",
                    api::$kind::UrlRewrite => "URLRewrite",
                    api::$kind::ExtensionRef => "ExtensionRef",
                    api::$kind::Cors => "CORS",
                }
            }

            fn asked(&self) -> Result<Asked<'_>, Problem> {
                let missing = || unsupported(format!("filter {} has no body", self.type_name()));
                Ok(Asked::Native(match self.r#type {
                    api::$kind::RequestHeaderModifier => {
                        let m = self.request_header_modifier.as_ref().ok_or_else(missing)?;
                        StepAction::RequestHeaders(header_edit(
                            m.set.iter().flatten().map(|h| (&h.name, &h.value)),
                            m.add.iter().flatten().map(|h| (&h.name, &h.value)),
                            m.remove.as_deref(),
                        )?)
                    }
                    api::$kind::ResponseHeaderModifier => {
                        let m = self.response_header_modifier.as_ref().ok_or_else(missing)?;
                        StepAction::ResponseHeaders(header_edit(
                            m.set.iter().flatten().map(|h| (&h.name, &h.value)),
                            m.add.iter().flatten().map(|h| (&h.name, &h.value)),
                            m.remove.as_deref(),
                        )?)
                    }
                    api::$kind::RequestRedirect => {
                        let r = self.request_redirect.as_ref().ok_or_else(missing)?;
                        let path = r.path.as_ref().map(|p| match p.r#type {
                            api::$redirect_path::ReplaceFullPath => {
                                (false, p.replace_full_path.as_deref())
                            }
                            api::$redirect_path::ReplacePrefixMatch => {
                                (true, p.replace_prefix_match.as_deref())
                            }
                        });
                        let scheme = match r.scheme {
                            None => "",
                            Some(api::$scheme::Http) => "http",
                            Some(api::$scheme::Https) => "https",
                        };
                        StepAction::Redirect(Redirect {
                            scheme: scheme.to_owned(),
                            hostname: host(r.hostname.as_deref())?,
                            port: port(r.port)?,
                            status: redirect_code(r.status_code)?,
                            path: path.map(path_edit).transpose()?,
                        })
                    }
                    api::$kind::UrlRewrite => {
                        let r = self.url_rewrite.as_ref().ok_or_else(missing)?;
                        let path = r.path.as_ref().map(|p| match p.r#type {
                            api::$rewrite_path::ReplaceFullPath => {
                                (false, p.replace_full_path.as_deref())
                            }
                            api::$rewrite_path::ReplacePrefixMatch => {
                                (true, p.replace_prefix_match.as_deref())
                            }
                        });
                        StepAction::Rewrite(Rewrite {
                            hostname: host(r.hostname.as_deref())?,
                            path: path.map(path_edit).transpose()?,
                        })
                    }
                    api::$kind::ExtensionRef => {
                        let r = self.extension_ref.as_ref().ok_or_else(missing)?;
                        let (group, kind, name) = (&r.group, &r.kind, &r.name);
                        return Ok(Asked::Extension { group, kind, name });
                    }
                    api::$kind::RequestMirror | api::$kind::Cors => {
                        return Err(unsupported(format!(
                            "filter {} is not served",
                            self.type_name()
                        )));
                    }
                }))
            }
        }
    };
}

native_filter!(
    api::HttpRouteRulesFilters,
    HttpRouteRulesFiltersType,
    HttpRouteRulesFiltersRequestRedirectPathType,
    HttpRouteRulesFiltersUrlRewritePathType,
    HttpRouteRulesFiltersRequestRedirectScheme
);
native_filter!(
    api::HttpRouteRulesBackendRefsFilters,
    HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectPathType,
    HttpRouteRulesBackendRefsFiltersUrlRewritePathType,
    HttpRouteRulesBackendRefsFiltersRequestRedirectScheme
);

fn header_edit<'a>(
    set: impl Iterator<Item = (&'a String, &'a String)>,
    add: impl Iterator<Item = (&'a String, &'a String)>,
    remove: Option<&[String]>,
) -> Result<HeaderEdit, Problem> {
    let remove = remove.unwrap_or_default().iter().map(|name| field_name(name)).collect();
    Ok(HeaderEdit { set: fields(set)?, add: fields(add)?, remove: unique(remove)? })
}

/// Fields with distinct names: of equal ones the first counts.
fn fields<'a>(
    entries: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<Header>, Problem> {
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in entries {
        let name = field_name(name)?;
        if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err(unsupported(format!("the value of header {name} has a control character")));
        }
        if !headers.iter().any(|h| h.name == name) {
            headers.push(Header { name, value: value.trim_matches([' ', '\t']).to_owned() });
        }
    }
    Ok(headers)
}

fn unique(names: Vec<Result<String, Problem>>) -> Result<Vec<String>, Problem> {
    let mut result = Vec::new();
    for name in names {
        let name = name?;
        if !result.contains(&name) {
            result.push(name);
        }
    }
    Ok(result)
}

/// A token (RFC 9110, section 5.6.2), lower-case.
fn field_name(name: &str) -> Result<String, Problem> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(unsupported(format!("`{name}` is no header name")));
    }
    Ok(name.to_ascii_lowercase())
}

fn host(name: Option<&str>) -> Result<String, Problem> {
    let name = name.unwrap_or_default().to_ascii_lowercase();
    if name.is_empty() || (hostname::is_valid(&name) && !name.starts_with('*')) {
        return Ok(name);
    }
    Err(unsupported(format!("hostname `{name}` of a filter is no exact DNS name")))
}

fn port(port: Option<i32>) -> Result<u32, Problem> {
    let Some(port) = port else { return Ok(0) };
    let valid = u32::try_from(port).ok().filter(|p| (1..=65_535).contains(p));
    valid.ok_or_else(|| unsupported(format!("redirect port {port} is not in 1 to 65535")))
}

fn redirect_code(code: Option<i64>) -> Result<u32, Problem> {
    let code = code.unwrap_or(302);
    let known = u32::try_from(code).ok().filter(|_| REDIRECT_CODES.contains(&code));
    known.ok_or_else(|| {
        unsupported(format!("redirect status {code} is none of 301, 302, 303, 307, 308"))
    })
}

fn path_edit((prefix, value): (bool, Option<&str>)) -> Result<PathEdit, Problem> {
    let value = value.ok_or_else(|| unsupported("path of a filter lacks its value".to_owned()))?;
    Ok(if prefix { PathEdit::Prefix(value.to_owned()) } else { PathEdit::Full(value.to_owned()) })
}

fn unsupported(message: String) -> Problem {
    Problem::new(reasons::UNSUPPORTED_VALUE, message)
}
