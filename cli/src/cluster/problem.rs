//! Something that is not well, and how it is said.

use super::lists::Denied;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// More problems than these are only counted: nobody reads them, and JSON has them all.
const SHOWN: usize = 50;

/// Something that is not well. Field names are those of `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Kind, namespace and name.
    pub(crate) object: String,
    /// One word, as Kubernetes or the Gateway API has it where they have one.
    pub(crate) reason: String,
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

impl Problem {
    /// A problem.
    pub(crate) fn new(
        object: impl Into<String>,
        reason: &str,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            object: object.into(),
            reason: reason.to_owned(),
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }
}

/// One sentence: whose, why, and what to do.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.cause, self.remedy)
    }
}

impl From<&Denied> for Problem {
    fn from(denied: &Denied) -> Self {
        let resource = match denied.group.as_str() {
            "" => denied.resource.clone(),
            group => format!("{}.{group}", denied.resource),
        };
        let place = match &denied.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the whole cluster".to_owned(),
        };
        let verb = denied.verb;
        Self::new(
            format!("Rights {verb} {resource}"),
            "Forbidden",
            format!("you may not {verb} {resource} {place}: what is said here leaves them out"),
            format!(
                "have a role with verb {verb} on {resource} bound to you (kubectl auth can-i \
                 --list shows what you may)"
            ),
        )
    }
}

/// All problems, for people; `well` where there are none.
pub(crate) fn listed(all: &[Problem], well: &str) -> String {
    if all.is_empty() {
        return format!("{well}\n");
    }
    let mut text = match all.len() {
        1 => "1 problem:\n".to_owned(),
        n => format!("{n} problems:\n"),
    };
    for problem in all.iter().take(SHOWN) {
        let _ = writeln!(text, "  {problem}");
    }
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more: -o json has them all");
    }
    text
}
