//! `matches` of a rule.

use crate::condition::Problem;
use penstock_config::{HttpMatch, PathMatch, ValueMatch, ValueTest};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType,
};
use regex::Regex;

/// What a rule matches. Without matches it is every path.
///
/// # Errors
/// `UnsupportedValue` when one of them cannot be evaluated: the rule is then unknown as a whole.
pub(super) fn translate(
    matches: Option<&[HttpRouteRulesMatches]>,
) -> Result<Vec<HttpMatch>, Problem> {
    match matches {
        None | Some([]) => Ok(vec![HttpMatch { path: Some(root()), ..HttpMatch::default() }]),
        Some(matches) => matches.iter().map(one).collect(),
    }
}

fn one(matched: &HttpRouteRulesMatches) -> Result<HttpMatch, Problem> {
    let headers = matched.headers.iter().flatten().map(|h| {
        let regex = h.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression);
        (h.name.to_ascii_lowercase(), &h.value, regex)
    });
    let query = matched.query_params.iter().flatten().map(|q| {
        let regex = q.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression);
        (q.name.clone(), &q.value, regex)
    });
    Ok(HttpMatch {
        path: Some(path(matched.path.as_ref())?),
        headers: values(headers)?,
        query: values(query)?,
        method: matched.method.as_ref().map(method).unwrap_or_default().to_owned(),
    })
}

fn root() -> PathMatch {
    PathMatch::Prefix("/".to_owned())
}

fn path(path: Option<&HttpRouteRulesMatchesPath>) -> Result<PathMatch, Problem> {
    use HttpRouteRulesMatchesPathType::{Exact, PathPrefix, RegularExpression};
    let Some(path) = path else { return Ok(root()) };
    let value = path.value.as_deref().unwrap_or("/").to_owned();
    let type_ = path.r#type.as_ref().unwrap_or(&PathPrefix);
    if *type_ == RegularExpression {
        check_regex(&value)?;
        return Ok(PathMatch::Regex(value));
    }
    if !value.starts_with('/') {
        return Err(unsupported(format!("path `{value}` does not begin with `/`")));
    }
    Ok(match type_ {
        Exact => PathMatch::Exact(value),
        _ => PathMatch::Prefix(value),
    })
}

/// The Gateway API on headers and query parameters of equal names: "only the first entry with an
/// equivalent name MUST be considered for a match. Subsequent entries with an equivalent name MUST
/// be ignored."
fn values<'a>(
    entries: impl Iterator<Item = (String, &'a String, bool)>,
) -> Result<Vec<ValueMatch>, Problem> {
    let mut matches: Vec<ValueMatch> = Vec::new();
    for (name, value, regex) in entries {
        if matches.iter().any(|m| m.name == name) {
            continue;
        }
        let test = if regex {
            check_regex(value)?;
            ValueTest::Regex(value.clone())
        } else {
            ValueTest::Exact(value.clone())
        };
        matches.push(ValueMatch { name, test: Some(test) });
    }
    Ok(matches)
}

fn check_regex(pattern: &str) -> Result<(), Problem> {
    // As the proxy compiles it: over the whole value.
    match Regex::new(&format!("^(?:{pattern})$")) {
        Ok(_) => Ok(()),
        Err(error) => {
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(unsupported(format!("`{pattern}` is no regular expression (RE2 syntax): {cause}")))
        }
    }
}

fn method(method: &HttpRouteRulesMatchesMethod) -> &'static str {
    match method {
        HttpRouteRulesMatchesMethod::Get => "GET",
        HttpRouteRulesMatchesMethod::Head => "HEAD",
        HttpRouteRulesMatchesMethod::Post => "POST",
        HttpRouteRulesMatchesMethod::Put => "PUT",
        HttpRouteRulesMatchesMethod::Delete => "DELETE",
        HttpRouteRulesMatchesMethod::Connect => "CONNECT",
        HttpRouteRulesMatchesMethod::Options => "OPTIONS",
        HttpRouteRulesMatchesMethod::Trace => "TRACE",
        HttpRouteRulesMatchesMethod::Patch => "PATCH",
    }
}

fn unsupported(message: String) -> Problem {
    Problem::new(reasons::UNSUPPORTED_VALUE, message)
}
