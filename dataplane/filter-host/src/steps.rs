//! The three steps that read inputs: what differs between them.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::bindings::policy::{headers, paths};
use crate::convert::{self, Refusal};
use crate::decision::{Edit, HeaderDecision, PathDecision, Response};
use crate::instance::Guest;
use crate::memo::{Memo, Weigh};
use crate::plan::{Plan, Stage};
use crate::slot::Entry;
use crate::store::Data;

/// One kind of step.
pub(crate) trait Step {
    /// What the guest returns.
    type Raw;
    /// What the proxy gets.
    type Decision: Clone + Weigh;

    fn stage(plan: &Plan) -> Option<&Stage>;
    fn next() -> Self::Decision;
    fn constant(edits: &Arc<[Edit]>) -> Self::Decision;
    fn memo(entry: &mut Entry) -> &mut Option<Memo<Self::Decision>>;
    fn call(
        guest: &Guest,
        store: &mut Store<Data>,
        policy: ResourceAny,
        inputs: &[Option<&str>],
    ) -> wasmtime::Result<Result<Self::Raw, String>>;
    fn decide(raw: Self::Raw, stage: &Stage) -> Result<Self::Decision, Refusal>;
}

/// A header policy's step, on the request or on the response.
pub(crate) struct OnHeaders<const RESPONSE: bool>;
pub(crate) type OnRequest = OnHeaders<false>;
pub(crate) type OnResponse = OnHeaders<true>;
pub(crate) struct Decide;

impl<const RESPONSE: bool> Step for OnHeaders<RESPONSE> {
    type Raw = headers::Decision;
    type Decision = HeaderDecision;

    fn stage(plan: &Plan) -> Option<&Stage> {
        if RESPONSE { plan.response.as_ref() } else { plan.request.as_ref() }
    }

    fn next() -> HeaderDecision {
        HeaderDecision::Next
    }

    fn constant(edits: &Arc<[Edit]>) -> HeaderDecision {
        HeaderDecision::Edit(Arc::clone(edits))
    }

    fn memo(entry: &mut Entry) -> &mut Option<Memo<HeaderDecision>> {
        if RESPONSE { &mut entry.response } else { &mut entry.request }
    }

    fn call(
        guest: &Guest,
        store: &mut Store<Data>,
        policy: ResourceAny,
        inputs: &[Option<&str>],
    ) -> wasmtime::Result<Result<headers::Decision, String>> {
        match guest {
            Guest::Headers(guest) if RESPONSE => {
                guest.policy().call_on_response(store, policy, inputs)
            }
            Guest::Headers(guest) => guest.policy().call_on_request(store, policy, inputs),
            _ => other_kind(),
        }
    }

    fn decide(raw: headers::Decision, stage: &Stage) -> Result<HeaderDecision, Refusal> {
        convert::headers(raw, &stage.writes)
    }
}

impl Step for Decide {
    type Raw = paths::Decision;
    type Decision = PathDecision;

    fn stage(plan: &Plan) -> Option<&Stage> {
        plan.request.as_ref()
    }

    fn next() -> PathDecision {
        PathDecision::Next
    }

    /// A path policy's plan has none: one that has is refused.
    fn constant(_: &Arc<[Edit]>) -> PathDecision {
        PathDecision::Next
    }

    fn memo(entry: &mut Entry) -> &mut Option<Memo<PathDecision>> {
        &mut entry.path
    }

    fn call(
        guest: &Guest,
        store: &mut Store<Data>,
        policy: ResourceAny,
        inputs: &[Option<&str>],
    ) -> wasmtime::Result<Result<paths::Decision, String>> {
        match guest {
            Guest::Paths(guest) => guest.policy().call_decide(store, policy, inputs),
            _ => other_kind(),
        }
    }

    fn decide(raw: paths::Decision, _: &Stage) -> Result<PathDecision, Refusal> {
        convert::paths(raw)
    }
}

/// A policy of one kind used as another, which the translation never does.
pub(crate) fn other_kind<R>() -> wasmtime::Result<R> {
    Err(wasmtime::format_err!("the policy is of another kind"))
}

impl Weigh for HeaderDecision {
    fn weight(&self) -> usize {
        match self {
            HeaderDecision::Next => 0,
            HeaderDecision::Edit(edits) => edits.iter().map(edit_weight).sum(),
            HeaderDecision::Respond(response) => response_weight(response),
        }
    }
}

impl Weigh for PathDecision {
    fn weight(&self) -> usize {
        match self {
            PathDecision::Next => 0,
            PathDecision::Rewrite(rewrite) => {
                let host = rewrite.host.as_ref().map_or(0, http::HeaderValue::len);
                let query = rewrite.query.as_ref().map_or(0, |query| query.len());
                host + query + change_weight(rewrite.path.as_ref())
            }
            PathDecision::Redirect(redirect) => {
                let host = redirect.host.as_ref().map_or(0, |host| host.len());
                host + change_weight(redirect.path.as_ref())
            }
            PathDecision::Backend(name) => name.len(),
            PathDecision::Respond(response) => response_weight(response),
        }
    }
}

fn edit_weight(edit: &Edit) -> usize {
    let text = match edit {
        Edit::Set(name, value) | Edit::Append(name, value) => name.as_str().len() + value.len(),
        Edit::Remove(name) => name.as_str().len(),
        Edit::Attribute(name, value) => name.len() + value.len(),
    };
    size_of::<Edit>() + text
}

fn response_weight(response: &Response) -> usize {
    let headers = response.headers.iter();
    let headers: usize = headers.map(|(name, value)| 64 + name.as_str().len() + value.len()).sum();
    headers + response.body.len()
}

fn change_weight(change: Option<&crate::PathChange>) -> usize {
    match change {
        Some(crate::PathChange::Full(text) | crate::PathChange::Prefix(text)) => text.len(),
        None => 0,
    }
}
