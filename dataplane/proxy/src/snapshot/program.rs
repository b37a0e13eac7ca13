//! What is done with the requests of a rule, compiled from its filters.
//!
//! Steps run in the order in which the HTTPRoute lists them; their response halves run in reverse,
//! so that each step sees of the response what the steps after it made of it. An answer that a step
//! gives itself passes the response halves of the steps before it.

use super::FilterSlot;
use http::{HeaderName, HeaderValue, StatusCode, header};
use penstock_config::{
    Failure, HeaderEdit, PathEdit, PolicyKind, Redirect, Rewrite, Step, StepAction,
};
use penstock_filter_host::{Edit, PathChange, Plan, Redirect as To, Rewrite as Change, Stage};
use std::sync::Arc;

/// The steps of a rule or of a backendRef.
#[derive(Debug, Default)]
pub struct Program {
    /// In the order of the HTTPRoute.
    pub request: Box<[RequestStep]>,
    /// In reverse.
    pub response: Box<[ResponseStep]>,
    /// Whether a response half reads the request, so that its fields must be kept.
    pub keeps_request: bool,
}

/// A step on requests.
#[derive(Debug)]
pub struct RequestStep {
    /// Position in the HTTPRoute's list.
    pub at: u16,
    /// What it does.
    pub action: RequestAction,
}

/// What a step does with a request.
#[derive(Debug)]
pub enum RequestAction {
    /// Changes known beforehand: native ones and those of policies that need no call, fused.
    Edit {
        /// In order.
        edits: Box<[Edit]>,
        /// The policies whose changes are among them.
        filters: Box<[u32]>,
    },
    /// RequestRedirect.
    Redirect(To),
    /// URLRewrite.
    Rewrite(Change),
    /// A header policy with something to decide.
    Headers(PolicyStep),
    /// A path policy.
    Path(PolicyStep),
    /// The request is answered 500.
    Fail(Failure),
}

/// A policy that takes part.
#[derive(Clone, Copy, Debug)]
pub struct PolicyStep {
    /// Index of the filter in the snapshot.
    pub filter: u32,
}

/// A step on responses.
#[derive(Debug)]
pub struct ResponseStep {
    /// Position of its request half in the HTTPRoute's list.
    pub at: u16,
    /// What it does.
    pub action: ResponseAction,
}

/// What a step does with a response.
#[derive(Debug)]
pub enum ResponseAction {
    /// Changes known beforehand.
    Edit {
        /// In order.
        edits: Box<[Edit]>,
        /// The policy whose changes they are.
        filter: Option<u32>,
    },
    /// A header policy with something to decide.
    Headers(PolicyStep),
}

/// A step that cannot be done as it is written. It answers 500 and is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepError {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl StepError {
    fn value(message: String) -> Self {
        Self { reason: "UnsupportedValue", message }
    }
}

impl Program {
    /// Compiles steps. What cannot be done becomes a failure at its place.
    pub(super) fn compile(
        steps: &[Step],
        filter: impl Fn(&str) -> Option<(usize, &'static str, Option<Arc<Plan>>)>,
    ) -> (Self, Vec<StepError>) {
        let mut builder = Builder::default();
        let mut errors = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            let at = u16::try_from(at).unwrap_or(u16::MAX);
            if let Err(error) = builder.push(at, step, &filter) {
                let message = error.message.clone();
                let failure = Failure { reason: error.reason.into(), message };
                builder.request(at, RequestAction::Fail(failure));
                errors.push(error);
            }
        }
        (builder.finish(), errors)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

#[derive(Default)]
struct Builder {
    request: Vec<RequestStep>,
    response: Vec<ResponseStep>,
    keeps_request: bool,
}

impl Builder {
    fn push(
        &mut self,
        at: u16,
        step: &Step,
        filter: impl Fn(&str) -> Option<(usize, &'static str, Option<Arc<Plan>>)>,
    ) -> Result<(), StepError> {
        match &step.action {
            Some(StepAction::RequestHeaders(edit)) => self.edit(at, native(edit)?, None),
            Some(StepAction::ResponseHeaders(edit)) => {
                let action = ResponseAction::Edit { edits: native(edit)?.into(), filter: None };
                self.response.push(ResponseStep { at, action });
            }
            Some(StepAction::Redirect(to)) => {
                self.request(at, RequestAction::Redirect(redirect(to)?));
            }
            Some(StepAction::Rewrite(change)) => {
                self.request(at, RequestAction::Rewrite(rewrite(change)?));
            }
            Some(StepAction::Policy(name)) => {
                let (index, kind, plan) = filter(name).ok_or_else(|| StepError {
                    reason: "InvalidFilter",
                    message: format!("there is no filter {name}"),
                })?;
                let Some(plan) = plan else {
                    // Reported at the filter.
                    let message = format!("filter {name} cannot be prepared; see its status");
                    let failure = Failure { reason: "InvalidFilter".into(), message };
                    self.request(at, RequestAction::Fail(failure));
                    return Ok(());
                };
                self.policy(at, index as u32, kind, &plan)?;
            }
            Some(StepAction::Failure(failure)) => {
                self.request(at, RequestAction::Fail(failure.clone()));
            }
            None => return Err(StepError::value("a step without an action".into())),
        }
        Ok(())
    }

    fn request(&mut self, at: u16, action: RequestAction) {
        self.request.push(RequestStep { at, action });
    }

    /// Adds changes, to those of the step before where there are some.
    fn edit(&mut self, at: u16, edits: Vec<Edit>, filter: Option<u32>) {
        if let Some(RequestStep {
            action: RequestAction::Edit { edits: before, filters }, ..
        }) = self.request.last_mut()
        {
            *before = std::mem::take(before).into_iter().chain(edits).collect();
            *filters = std::mem::take(filters).into_iter().chain(filter).collect();
            return;
        }
        let filters = filter.into_iter().collect();
        self.request(at, RequestAction::Edit { edits: edits.into(), filters });
    }

    fn policy(
        &mut self,
        at: u16,
        filter: u32,
        kind: &'static str,
        plan: &Plan,
    ) -> Result<(), StepError> {
        let step = PolicyStep { filter };
        match plan.kind {
            PolicyKind::Headers => {}
            PolicyKind::Paths => {
                self.request(at, RequestAction::Path(step));
                return Ok(());
            }
            PolicyKind::Tls => {
                let message = format!("a {kind} policy cannot be a step of a rule");
                return Err(StepError { reason: "InvalidFilter", message });
            }
        }
        if let Some(stage) = &plan.request {
            match unconditional(stage) {
                Some(edits) => self.edit(at, edits.to_vec(), Some(filter)),
                None => self.request(at, RequestAction::Headers(step)),
            }
        }
        if let Some(stage) = &plan.response {
            let action = match unconditional(stage) {
                Some(edits) => ResponseAction::Edit { edits: edits.into(), filter: Some(filter) },
                None => {
                    let reads = stage.inputs.iter().chain(stage.when.iter().map(|p| p.selector()));
                    self.keeps_request |= reads.clone().any(|s| !s.is_response_only());
                    ResponseAction::Headers(step)
                }
            };
            self.response.push(ResponseStep { at, action });
        }
        Ok(())
    }

    fn finish(mut self) -> Program {
        self.response.reverse();
        Program {
            request: self.request.into(),
            response: self.response.into(),
            keeps_request: self.keeps_request,
        }
    }
}

/// The changes of a stage that always makes the same ones.
fn unconditional(stage: &Stage) -> Option<&[Edit]> {
    stage.constant.as_deref().filter(|_| stage.when.is_empty())
}

/// Fields that belong to the connection, not to the message: what a step wrote there would break
/// the framing (RFC 9110, section 7.6.1; RFC 9112, section 6).
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// The changes of a header modifier: set, then add, then remove.
fn native(edit: &HeaderEdit) -> Result<Vec<Edit>, StepError> {
    let name = |name: &str| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if FRAMING.contains(&name) => Err(StepError::value(format!(
            "`{name}` belongs to the connection and cannot be changed; take it out of the filter"
        ))),
        Ok(name) => Ok(name),
        Err(_) => Err(StepError::value(format!("`{name}` is not a header field name"))),
    };
    let value = |value: &str| {
        HeaderValue::from_str(value)
            .map_err(|_| StepError::value(format!("`{value}` cannot be a header field value")))
    };
    let set = edit.set.iter().map(|h| Ok(Edit::Set(name(&h.name)?, value(&h.value)?)));
    let add = edit.add.iter().map(|h| Ok(Edit::Append(name(&h.name)?, value(&h.value)?)));
    let remove = edit.remove.iter().map(|n| Ok(Edit::Remove(name(n)?)));
    set.chain(add).chain(remove).collect()
}

fn redirect(to: &Redirect) -> Result<To, StepError> {
    let status = u16::try_from(to.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status
        .filter(StatusCode::is_redirection)
        .ok_or_else(|| StepError::value(format!("{} is not a redirect status", to.status)))?;
    let port = u16::try_from(to.port)
        .map_err(|_| StepError::value(format!("{} is not a port", to.port)))?;
    Ok(To {
        status,
        scheme: text(&to.scheme),
        host: text(&to.hostname),
        port: Some(port).filter(|port| *port != 0),
        path: path_change(to.path.as_ref())?,
    })
}

fn rewrite(change: &Rewrite) -> Result<Change, StepError> {
    let host = match change.hostname.as_str() {
        "" => None,
        host => Some(
            HeaderValue::from_str(host)
                .map_err(|_| StepError::value(format!("`{host}` is not a host name")))?,
        ),
    };
    Ok(Change { host, path: path_change(change.path.as_ref())?, query: None })
}

fn path_change(edit: Option<&PathEdit>) -> Result<Option<PathChange>, StepError> {
    let (change, path) = match edit {
        None => return Ok(None),
        Some(PathEdit::Full(path)) => (PathChange::Full as fn(Box<str>) -> PathChange, path),
        Some(PathEdit::Prefix(path)) => (PathChange::Prefix as fn(Box<str>) -> PathChange, path),
    };
    let path = path.as_str();
    let readable = path.is_empty() || path.parse::<http::uri::PathAndQuery>().is_ok();
    match readable && !path.contains(['?', '#']) {
        true => Ok(Some(change(path.into()))),
        false => Err(StepError::value(format!("`{path}` is not a path"))),
    }
}

fn text(value: &str) -> Option<Box<str>> {
    (!value.is_empty()).then(|| value.into())
}

/// What [`Program::compile`] needs to know of a filter.
pub(super) fn fact(slot: &FilterSlot) -> (&'static str, Option<Arc<Plan>>) {
    (slot.config.kind().name(), slot.plan.clone())
}
