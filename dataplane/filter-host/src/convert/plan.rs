//! Plans.

use std::time::Duration;

use penstock_config::{Filter, OnFailure, OpaqueValues, PolicyKind};

use super::decision::edits;
use super::{clip, is_attribute_name};
use crate::bindings::policy::{headers, tls, types};
use crate::plan::{MAX_INPUTS, MAX_MEMO, MemoPlan, Plan, Stage, WriteSet, field_name};
use crate::selector::{Predicate, Selector};
use crate::tls::TlsPlan;

/// Most guards of a stage, texts of a guard, and names of a write set.
const MAX_LIST: usize = 256;
/// Longest name of a cookie, query parameter or attribute, in bytes.
const MAX_NAME: usize = 256;

/// A plan as a guest returned it.
pub(crate) enum RawPlan {
    Headers(headers::Plan),
    Paths(types::Stage),
    Tls(tls::Plan),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Request,
    Response,
    Path,
}

/// The plan of a filter's policy.
///
/// # Errors
/// A sentence for each thing that is wrong with it.
pub(crate) fn plan(filter: &Filter, raw: RawPlan) -> Result<Plan, Vec<String>> {
    let mut wrong = Vec::new();
    let mut plan = Plan {
        filter: filter.name.as_str().into(),
        kind: PolicyKind::Headers,
        request: None,
        response: None,
        tls: None,
        on_failure: OnFailure::try_from(filter.on_failure).unwrap_or(OnFailure::Closed),
        opaque_values: OpaqueValues::try_from(filter.opaque_values).unwrap_or(OpaqueValues::Reject),
    };
    match raw {
        RawPlan::Headers(raw) => {
            plan.request = raw.request.map(|raw| stage(raw, Place::Request, &mut wrong));
            plan.response = raw.response.map(|raw| stage(raw, Place::Response, &mut wrong));
        }
        RawPlan::Paths(raw) => {
            plan.kind = PolicyKind::Paths;
            plan.request = Some(stage(raw, Place::Path, &mut wrong));
        }
        RawPlan::Tls(raw) => {
            plan.kind = PolicyKind::Tls;
            plan.tls = Some(TlsPlan {
                client_hello: raw.client_hello,
                client_certificate: raw.client_certificate,
                want_der: raw.want_der,
                client_auth: super::tls::client_auth(raw.client_auth),
            });
        }
    }
    if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
}

fn stage(raw: types::Stage, place: Place, wrong: &mut Vec<String>) -> Stage {
    if raw.inputs.len() > MAX_INPUTS {
        wrong.push(format!("inputs: {}, {MAX_INPUTS} are the limit", raw.inputs.len()));
    }
    if raw.when.len() > MAX_LIST || raw.writes.len() > MAX_LIST {
        wrong.push(format!("when, writes: {MAX_LIST} are the limit"));
    }
    if place == Place::Path && (!raw.writes.is_empty() || raw.constant.is_some()) {
        wrong.push("writes, constant: a path policy changes no headers".to_owned());
    }
    let inputs = raw.inputs.into_iter().take(MAX_INPUTS);
    let inputs = inputs.filter_map(|raw| selector(raw, place, wrong)).collect();
    let when = raw.when.into_iter().take(MAX_LIST);
    let when = when.filter_map(|raw| predicate(raw, place, wrong)).collect();
    let writes = WriteSet::parse(&raw.writes).unwrap_or_else(|errors| {
        wrong.extend(errors);
        WriteSet::default()
    });
    let constant = raw.constant.and_then(|list| match edits(list, &writes) {
        Ok(edits) => Some(edits),
        Err(refusal) => {
            wrong.push(format!("constant: {}", refusal.message));
            None
        }
    });
    Stage { inputs, when, writes, constant, memo: raw.memo.map(|raw| memo(raw, wrong)) }
}

fn memo(raw: types::Memo, wrong: &mut Vec<String>) -> MemoPlan {
    if !(1..=MAX_MEMO).contains(&raw.max_entries) {
        wrong.push(format!("memo.max-entries: {}, 1 to {MAX_MEMO}", raw.max_entries));
    }
    let ttl = (raw.ttl_ms > 0).then(|| Duration::from_millis(raw.ttl_ms.into()));
    MemoPlan { max_entries: raw.max_entries, ttl }
}

fn predicate(raw: types::Predicate, place: Place, wrong: &mut Vec<String>) -> Option<Predicate> {
    Some(match raw {
        types::Predicate::Present(raw) => Predicate::Present(selector(raw, place, wrong)?),
        types::Predicate::Absent(raw) => Predicate::Absent(selector(raw, place, wrong)?),
        types::Predicate::Equals((raw, text)) => {
            Predicate::Equals(selector(raw, place, wrong)?, text.into())
        }
        types::Predicate::Prefix((raw, text)) => {
            Predicate::Prefix(selector(raw, place, wrong)?, text.into())
        }
        types::Predicate::OneOf((raw, texts)) => {
            let texts = texts.into_iter().map(Into::into).collect();
            Predicate::OneOf(selector(raw, place, wrong)?, texts)
        }
    })
}

fn selector(raw: types::Selector, place: Place, wrong: &mut Vec<String>) -> Option<Selector> {
    let selector = match known(raw) {
        Ok(selector) => selector,
        Err(sentence) => {
            wrong.push(sentence);
            return None;
        }
    };
    if selector.is_response_only() && place != Place::Response {
        wrong.push(format!("{selector}: exists in the response stage alone"));
        return None;
    }
    Some(selector)
}

fn known(raw: types::Selector) -> Result<Selector, String> {
    use types::Selector as Raw;
    let field = |name: &str| {
        field_name(name).ok_or_else(|| format!("`{}` is no lower-case field name", clip(name)))
    };
    let named = |what: &str, name: String, fine: bool| match fine && name.len() <= MAX_NAME {
        true => Ok(name),
        false => Err(format!("`{}` names no {what}", clip(&name))),
    };
    Ok(match raw {
        Raw::Method => Selector::Method,
        Raw::Scheme => Selector::Scheme,
        Raw::Authority => Selector::Authority,
        Raw::Path => Selector::Path,
        Raw::Query => Selector::Query,
        Raw::Status => Selector::Status,
        Raw::Header(name) => Selector::Header(field(&name)?),
        Raw::ResponseHeader(name) if name == "set-cookie" => {
            return Err("`set-cookie` cannot be selected: its fields cannot be joined".to_owned());
        }
        Raw::ResponseHeader(name) => Selector::ResponseHeader(field(&name)?),
        Raw::Cookie(name) => {
            // Cookie names are tokens (RFC 6265, section 4.1.1), as field names are.
            let fine = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            Selector::Cookie(named("cookie", name, fine)?)
        }
        Raw::QueryParam(name) => {
            let fine = !name.is_empty();
            Selector::QueryParam(named("query parameter", name, fine)?)
        }
        Raw::ClientAddress => Selector::ClientAddress,
        Raw::TlsSni => Selector::TlsSni,
        Raw::TlsAlpn => Selector::TlsAlpn,
        Raw::TlsVersion => Selector::TlsVersion,
        Raw::ClientCertSan => Selector::ClientCertSan,
        Raw::ClientCertFingerprint => Selector::ClientCertFingerprint,
        Raw::RouteName => Selector::RouteName,
        Raw::RouteRule => Selector::RouteRule,
        Raw::Attribute(name) => {
            let fine = is_attribute_name(&name);
            Selector::Attribute(named("attribute", name, fine)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> types::Stage {
        types::Stage { inputs: vec![], when: vec![], writes: vec![], constant: None, memo: None }
    }

    fn request(raw: types::Stage) -> Result<Plan, Vec<String>> {
        let raw = headers::Plan { request: Some(raw), response: None };
        plan(&Filter::default(), RawPlan::Headers(raw))
    }

    fn field(name: &str, value: &str) -> types::Edit {
        types::Edit::Set(types::Field { name: name.to_owned(), value: value.to_owned() })
    }

    #[test]
    fn a_plan_keeps_the_order_of_its_inputs() {
        let inputs = vec![types::Selector::Path, types::Selector::Header("x-a".to_owned())];
        let plan = request(types::Stage { inputs, ..raw() }).expect("a plan");
        let inputs: Vec<String> =
            plan.request.expect("a stage").inputs.iter().map(Selector::to_string).collect();
        assert_eq!(inputs, ["path", "header/x-a"]);
    }

    #[test]
    fn selectors_that_cannot_exist_are_refused() {
        use types::Selector as Raw;
        for selector in [
            Raw::Status,
            Raw::ResponseHeader("x-a".to_owned()),
            Raw::Header("X-A".to_owned()),
            Raw::Header("a b".to_owned()),
            Raw::Cookie("a;b".to_owned()),
            Raw::QueryParam(String::new()),
            Raw::Attribute("a b".to_owned()),
        ] {
            let inputs = vec![selector.clone()];
            assert!(request(types::Stage { inputs, ..raw() }).is_err(), "{selector:?}");
            let when = vec![types::Predicate::Present(selector.clone())];
            assert!(request(types::Stage { when, ..raw() }).is_err(), "{selector:?}");
        }
        let inputs = vec![Raw::Status, Raw::ResponseHeader("set-cookie".to_owned())];
        let response =
            headers::Plan { request: None, response: Some(types::Stage { inputs, ..raw() }) };
        let errors = plan(&Filter::default(), RawPlan::Headers(response)).expect_err("set-cookie");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn constants_are_bound_by_the_write_set_when_the_plan_is_made() {
        let constant = Some(vec![field("x-a", "1")]);
        let fine = types::Stage { writes: vec!["x-a".to_owned()], constant, ..raw() };
        assert!(request(fine.clone()).is_ok());
        for (name, value) in [("x-b", "1"), ("host", "1"), ("x-a", "1\r\n")] {
            let constant = Some(vec![field(name, value)]);
            assert!(
                request(types::Stage { constant, ..fine.clone() }).is_err(),
                "{name} {value:?}"
            );
        }
    }

    #[test]
    fn limits_of_a_plan() {
        let inputs = vec![types::Selector::Path; MAX_INPUTS + 1];
        assert!(request(types::Stage { inputs, ..raw() }).is_err());
        for max_entries in [0, MAX_MEMO + 1] {
            let memo = Some(types::Memo { max_entries, ttl_ms: 0 });
            assert!(request(types::Stage { memo, ..raw() }).is_err(), "{max_entries}");
        }
        let path = types::Stage { writes: vec!["x-a".to_owned()], ..raw() };
        assert!(plan(&Filter::default(), RawPlan::Paths(path)).is_err());
    }
}
