//! Running the steps of a rule.

use super::{Exchange, apply, apply_decided, location, replace_path, with_path};
use crate::{
    reason::Reason,
    snapshot::{PolicyStep, Program, RequestAction, ResponseAction, RouteRule},
    telemetry::{FilterRun, FilterStage, FilterVerdict},
    worker::{Policies, View},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use penstock_filter_host::{
    HeaderDecision, Outcome, PathDecision, Redirect, Response, Rewrite, SpanNotes, Tier, Verdict,
};
use std::{rc::Rc, sync::Arc, time::Instant};

/// What the steps want.
#[derive(Debug)]
pub enum Flow {
    /// Go on.
    Next,
    /// A policy's own answer.
    Respond(Arc<Response>),
    /// Send the client elsewhere.
    Redirect(StatusCode, HeaderValue),
    /// An error of the gateway.
    Fail(Reason),
}

/// Runs the steps of a rule or a backendRef on a request. `passed` counts the steps that it passed.
pub fn on_request(
    exchange: &mut Exchange,
    program: impl Fn(&RouteRule) -> &Program,
    policies: &Policies,
    passed: &mut u16,
) -> Flow {
    let view = exchange.view.clone();
    let Some(rule) = exchange.rule.map(|rule| &view.snapshot.rules[rule]) else { return REFUSED };
    for step in &program(rule).request {
        *passed = step.at;
        let flow = match &step.action {
            RequestAction::Edit { edits, filters } => {
                for filter in filters {
                    let run = Run::new(exchange, FilterStage::Request);
                    run.end(exchange, policies, *filter, End::CONSTANT);
                }
                apply(edits, &mut exchange.headers, &mut exchange.attributes);
                Flow::Next
            }
            RequestAction::Redirect(to) => redirect(exchange, to).unwrap_or(REFUSED),
            RequestAction::Rewrite(change) => match rewrite(exchange, change) {
                // Without a matched prefix there is nothing to replace.
                Ok(()) | Err(Fault::Prefix) => Flow::Next,
                Err(_) => REFUSED,
            },
            RequestAction::Headers(step) => headers(exchange, &view, *step, policies),
            RequestAction::Path(step) => path(exchange, &view, *step, policies),
            RequestAction::Fail(failure) => {
                tracing::debug!(rule = %rule.key, reason = failure.reason, "{}", failure.message);
                Flow::Fail(Reason::Configuration)
            }
        };
        if !matches!(flow, Flow::Next) {
            return flow;
        }
    }
    *passed = u16::MAX;
    Flow::Next
}

/// Runs the response halves of the steps that the request passed. Where a policy replaces the
/// response, its answer goes on to the halves that are left; the caller has to drop the body then.
pub fn on_response(
    exchange: &mut Exchange,
    program: impl Fn(&RouteRule) -> &Program,
    policies: &Policies,
    passed: u16,
    mut replace: impl FnMut(&mut Exchange, Flow),
) {
    let view = exchange.view.clone();
    let Some(rule) = exchange.rule.map(|rule| &view.snapshot.rules[rule]) else { return };
    for step in program(rule).response.iter().filter(|step| step.at < passed) {
        match &step.action {
            ResponseAction::Edit { edits, filter } => {
                if let Some(filter) = filter {
                    let run = Run::new(exchange, FilterStage::Response);
                    run.end(exchange, policies, *filter, End::CONSTANT);
                }
                if let Some((_, headers)) = &mut exchange.response {
                    apply(edits, headers, &mut exchange.attributes);
                }
            }
            ResponseAction::Headers(step) => {
                let run = Run::new(exchange, FilterStage::Response);
                let Some(policy) = &view.policies[step.filter as usize] else {
                    replace(exchange, REFUSED);
                    continue;
                };
                let outcome = policies.worker().on_response(policy, exchange);
                match run.settle(exchange, policies, *step, outcome, header_verdict) {
                    Ok(None | Some(HeaderDecision::Next)) => {}
                    Ok(Some(HeaderDecision::Edit(edits))) => {
                        if let Some((_, headers)) = &mut exchange.response {
                            apply_decided(edits, headers, &mut exchange.attributes);
                        }
                    }
                    Ok(Some(HeaderDecision::Respond(response))) => {
                        replace(exchange, Flow::Respond(response));
                    }
                    Err(reason) => replace(exchange, Flow::Fail(reason)),
                }
            }
        }
    }
}

const REFUSED: Flow = Flow::Fail(Reason::Configuration);

fn headers(exchange: &mut Exchange, view: &Rc<View>, step: PolicyStep, to: &Policies) -> Flow {
    let run = Run::new(exchange, FilterStage::Request);
    let Some(policy) = &view.policies[step.filter as usize] else { return REFUSED };
    let outcome = to.worker().on_request(policy, exchange);
    match run.settle(exchange, to, step, outcome, header_verdict) {
        Ok(None | Some(HeaderDecision::Next)) => Flow::Next,
        Ok(Some(HeaderDecision::Edit(edits))) => {
            apply_decided(edits, &mut exchange.headers, &mut exchange.attributes);
            Flow::Next
        }
        Ok(Some(HeaderDecision::Respond(response))) => Flow::Respond(response),
        Err(reason) => Flow::Fail(reason),
    }
}

fn path(exchange: &mut Exchange, view: &Rc<View>, step: PolicyStep, to: &Policies) -> Flow {
    let run = Run::new(exchange, FilterStage::Path);
    let Some(policy) = &view.policies[step.filter as usize] else { return REFUSED };
    let outcome = to.worker().decide_path(policy, exchange);
    let Some(rule) = exchange.rule.map(|rule| &view.snapshot.rules[rule]) else { return REFUSED };
    // A decision that cannot be carried out is the policy's fault, and its failure policy says what
    // becomes of the request.
    let mut flow = Flow::Next;
    let problem = match &outcome.verdict {
        Verdict::Decided(PathDecision::Rewrite(change)) => rewrite(exchange, change).err(),
        Verdict::Decided(PathDecision::Redirect(to)) => match redirect(exchange, to) {
            Ok(redirect) => {
                flow = redirect;
                None
            }
            Err(fault) => Some(fault),
        },
        Verdict::Decided(PathDecision::Backend(name)) => {
            exchange.chosen = rule.choice_named(name).or(exchange.chosen);
            rule.choice_named(name).is_none().then_some(Fault::Backend)
        }
        Verdict::Decided(PathDecision::Respond(response)) => {
            flow = Flow::Respond(response.clone());
            None
        }
        _ => None,
    };
    let outcome = match problem {
        Some(fault) => to.worker().fault(policy, fault.message()),
        None => outcome,
    };
    match run.settle(exchange, to, step, outcome, path_verdict) {
        Ok(_) => flow,
        Err(reason) => Flow::Fail(reason),
    }
}

/// Why a change of the target cannot be made.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// There is no matched prefix to replace.
    Prefix,
    /// The result is no request target.
    Target,
    /// The rule has no such backend.
    Backend,
}

impl Fault {
    fn message(self) -> &'static str {
        match self {
            Fault::Prefix => {
                "the policy replaces the matched prefix, but the rule did not match by a prefix"
            }
            Fault::Target => "what the policy wrote is not a request target",
            Fault::Backend => {
                "the policy names a backend that the rule does not have, or has several times"
            }
        }
    }
}

fn rewrite(exchange: &mut Exchange, change: &Rewrite) -> Result<(), Fault> {
    let path = match &change.path {
        Some(path) => {
            Some(replace_path(exchange.uri.path(), path, exchange.prefix).ok_or(Fault::Prefix)?)
        }
        None => None,
    };
    if path.is_some() || change.query.is_some() {
        exchange.uri = with_path(&exchange.uri, path.as_deref(), change.query.as_deref())
            .ok_or(Fault::Target)?;
    }
    if path.is_some() {
        exchange.prefix = None;
    }
    if let Some(host) = &change.host {
        exchange.headers.insert(header::HOST, host.clone());
    }
    Ok(())
}

fn redirect(exchange: &Exchange, to: &Redirect) -> Result<Flow, Fault> {
    let path = match &to.path {
        Some(path) => std::borrow::Cow::Owned(
            replace_path(exchange.uri.path(), path, exchange.prefix).ok_or(Fault::Prefix)?,
        ),
        None => std::borrow::Cow::Borrowed(exchange.uri.path()),
    };
    let authority = std::str::from_utf8(exchange.authority()).map_err(|_| Fault::Target)?;
    let host = crate::routing::HostName::of_authority(authority);
    let connection = &exchange.connection;
    let query = exchange.uri.query();
    location(to, connection.scheme, host.as_str(), connection.port, &path, query)
        .map(|location| Flow::Redirect(to.status, location))
        .ok_or(Fault::Target)
}

fn header_verdict(decision: &HeaderDecision) -> FilterVerdict {
    match decision {
        HeaderDecision::Next => FilterVerdict::Next,
        HeaderDecision::Edit(_) => FilterVerdict::Edit,
        HeaderDecision::Respond(_) => FilterVerdict::Respond,
    }
}

fn path_verdict(decision: &PathDecision) -> FilterVerdict {
    match decision {
        PathDecision::Next => FilterVerdict::Next,
        PathDecision::Rewrite(_) => FilterVerdict::Rewrite,
        PathDecision::Redirect(_) => FilterVerdict::Redirect,
        PathDecision::Backend(_) => FilterVerdict::Backend,
        PathDecision::Respond(_) => FilterVerdict::Respond,
    }
}

/// One policy at work, for telemetry. The clock is read only where somebody wants to know.
struct Run {
    stage: FilterStage,
    started: Option<Instant>,
}

impl Run {
    #[inline]
    fn new(exchange: &Exchange, stage: FilterStage) -> Self {
        Self { stage, started: exchange.record.wants_detail().then(Instant::now) }
    }

    /// The decision, `None` where the policy is skipped, or why the request fails.
    fn settle<T>(
        self,
        exchange: &mut Exchange,
        policies: &Policies,
        step: PolicyStep,
        outcome: Outcome<T>,
        verdict_of: impl Fn(&T) -> FilterVerdict,
    ) -> Result<Option<T>, Reason> {
        let (verdict, result) = match outcome.verdict {
            Verdict::Decided(decision) => (verdict_of(&decision), Ok(Some(decision))),
            Verdict::Skipped(failure) => (FilterVerdict::Skipped(failure), Ok(None)),
            Verdict::Failed { failure, .. } => {
                (FilterVerdict::Failed(failure), Err(Reason::PolicyFailed(failure)))
            }
        };
        let end =
            End { verdict, tier: outcome.tier, notes: outcome.span, message: outcome.message };
        self.end(exchange, policies, step.filter, end);
        result
    }

    #[inline]
    fn end(self, exchange: &mut Exchange, policies: &Policies, filter: u32, end: End) {
        let slot = &exchange.view.snapshot.filters[filter as usize];
        slot.cells.at(policies.number()).count(end.verdict);
        let Some(started) = self.started else { return };
        let name = slot.name.clone();
        exchange.record.note(|detail| {
            detail.filters.push(FilterRun {
                name,
                stage: self.stage,
                tier: end.tier,
                verdict: end.verdict,
                started,
                duration: started.elapsed(),
                notes: end.notes,
                message: end.message,
            });
        });
    }
}

/// How a policy's turn ended.
struct End {
    verdict: FilterVerdict,
    tier: Tier,
    notes: Option<Box<SpanNotes>>,
    message: Option<Box<str>>,
}

impl End {
    /// Changes that needed no call.
    const CONSTANT: End =
        End { verdict: FilterVerdict::Edit, tier: Tier::Constant, notes: None, message: None };
}

/// Fields of a policy's own answer.
pub fn response_fields(response: &Response) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(response.headers.len() + 2);
    for (name, value) in &response.headers {
        headers.append(name, value.clone());
    }
    headers
}
