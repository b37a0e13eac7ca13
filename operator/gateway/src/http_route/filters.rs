//! `filters` of a rule or of a backendRef, in the order in which they are listed.

use super::native_filter::{Asked, NativeFilter};
use crate::condition::Problem;
use crate::wasm_filter::{Filters, is_tls};
use penstock_config::{Failure, HttpMatch, PathEdit, PathMatch, Step, StepAction};
use penstock_resources::conditions::reasons;

/// What filters come to.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    /// Keys of TLS policies, in order.
    pub(super) tls: Vec<String>,
    /// References that cannot be used; each has a step that answers 500.
    pub(super) refs: Vec<Problem>,
    /// Why the filters cannot be served as they are.
    pub(super) invalid: Option<Problem>,
}

/// Translates the filters of a rule with the given matches, of a route in `namespace`.
pub(super) fn translate<F: NativeFilter>(
    filters: &Filters,
    namespace: &str,
    declared: &[F],
    matches: &[HttpMatch],
) -> Steps {
    let mut result = Steps { invalid: incompatible(declared), ..Steps::default() };
    for filter in declared {
        match filter.asked() {
            Err(problem) => {
                result.invalid.get_or_insert(problem);
            }
            Ok(Asked::Native(action)) => {
                if let Some(problem) = needs_prefix(&action, matches, filter.type_name()) {
                    result.invalid.get_or_insert(problem);
                }
                result.steps.push(Step { action: Some(action) });
            }
            Ok(Asked::Extension { group, kind, name }) => {
                match filters.resolve(namespace, group, kind, name) {
                    Ok(filter) if is_tls(filter) => result.tls.push(filter.name.clone()),
                    Ok(filter) => {
                        let action = StepAction::Policy(filter.name.clone());
                        result.steps.push(Step { action: Some(action) });
                    }
                    Err(problem) => {
                        result.steps.push(failure_step(&problem));
                        result.refs.push(problem);
                    }
                }
            }
        }
    }
    result
}

/// A step that answers 500.
pub(super) fn failure_step(problem: &Problem) -> Step {
    Step { action: Some(StepAction::Failure(failure(problem))) }
}

/// The same problem for the nodes.
pub(super) fn failure(problem: &Problem) -> Failure {
    Failure { reason: problem.reason.to_owned(), message: problem.message.clone() }
}

/// The Gateway API: filters other than ExtensionRef do not repeat, and "URLRewrite and
/// RequestRedirect may not be combined".
fn incompatible<F: NativeFilter>(declared: &[F]) -> Option<Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for filter in declared {
        let type_ = filter.type_name();
        if seen.contains(&type_) {
            return Some(Problem::new(
                reasons::INCOMPATIBLE_FILTERS,
                format!("filter {type_} stands there twice"),
            ));
        }
        if type_ != "ExtensionRef" {
            seen.push(type_);
        }
    }
    let both = seen.contains(&"RequestRedirect") && seen.contains(&"URLRewrite");
    both.then(|| {
        Problem::new(
            reasons::INCOMPATIBLE_FILTERS,
            "RequestRedirect and URLRewrite cannot be used together",
        )
    })
}

/// `ReplacePrefixMatch` "is only compatible with a PathPrefix HTTPRouteMatch".
fn needs_prefix(action: &StepAction, matches: &[HttpMatch], type_: &str) -> Option<Problem> {
    let path = match action {
        StepAction::Redirect(redirect) => redirect.path.as_ref(),
        StepAction::Rewrite(rewrite) => rewrite.path.as_ref(),
        _ => None,
    };
    let prefixed = |m: &HttpMatch| matches!(m.path, None | Some(PathMatch::Prefix(_)));
    let wrong = matches!(path, Some(PathEdit::Prefix(_))) && !matches.iter().all(prefixed);
    wrong.then(|| {
        Problem::new(
            reasons::UNSUPPORTED_VALUE,
            format!("{type_} with ReplacePrefixMatch needs matches of type PathPrefix"),
        )
    })
}
