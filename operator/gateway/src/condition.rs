//! Conditions of statuses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use penstock_resources::conditions::{reasons, types};

/// What is wrong: a bounded reason, and cause and remedy in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// One problem for several: the reason of the first, the messages of all, each once.
    pub(crate) fn join(problems: &[Problem]) -> Option<Problem> {
        let first = problems.first()?;
        let mut messages: Vec<&str> = Vec::new();
        for problem in problems {
            if !messages.contains(&problem.message.as_str()) {
                messages.push(&problem.message);
            }
        }
        Some(Problem::new(first.reason, messages.join("; ")))
    }
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// The longest message that the API server takes (`Condition.message`).
const MAX_MESSAGE: usize = 32_768;

/// Conditions of one object, all for one generation. Their times are 1970: whoever writes a status
/// knows the time and whether something changed (see [`crate::merge`]).
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    generation: Option<i64>,
    list: Vec<Condition>,
}

impl Conditions {
    pub(crate) fn new(metadata: &ObjectMeta) -> Self {
        Self { generation: metadata.generation, list: Vec::new() }
    }

    /// Adds a condition.
    pub(crate) fn add(
        &mut self,
        type_: &str,
        status: Truth,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        self.list.push(Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message,
            observed_generation: self.generation,
            reason: reason.to_owned(),
            status: status.as_str().to_owned(),
            type_: type_.to_owned(),
        });
    }

    /// Adds a condition that is true without a problem and false with one.
    pub(crate) fn add_result(
        &mut self,
        type_: &str,
        good: &str,
        good_message: &str,
        problem: Option<&Problem>,
    ) {
        match problem {
            None => self.add(type_, Truth::True, good, good_message),
            Some(problem) => self.add(type_, Truth::False, problem.reason, problem.message.clone()),
        }
    }

    pub(crate) fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// Sets `status`, `reason` and `message` of a condition that exists, or adds one like the others.
pub(crate) fn replace(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Truth,
    reason: &str,
    message: &str,
) {
    let observed_generation = conditions.first().and_then(|c| c.observed_generation);
    let new = Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: message.to_owned(),
        observed_generation,
        reason: reason.to_owned(),
        status: status.as_str().to_owned(),
        type_: type_.to_owned(),
    };
    match conditions.iter_mut().find(|c| c.type_ == type_) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// The conditions that say that something is wrong, in the eyes of the object's author. `Pending` is
/// not wrong: it means "not yet". What is not accepted is not programmed either, for the same cause:
/// that is said once.
pub fn problems(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    let mut found = false;
    conditions.iter().filter(move |condition| {
        let is_problem = match condition.type_.as_str() {
            types::ACCEPTED | types::RESOLVED_REFS | types::SUPPORTED_VERSION => {
                condition.status != "True" && condition.reason != reasons::PENDING
            }
            types::PROGRAMMED => {
                condition.status != "True" && condition.reason != reasons::PENDING && !found
            }
            types::CONFLICTED | types::PARTIALLY_INVALID => condition.status == "True",
            _ => false,
        };
        found |= is_problem;
        is_problem
    })
}

/// Whether a condition is there and true.
pub(crate) fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_to_what_the_api_server_takes_between_two_characters() {
        let longest = "a".repeat(MAX_MESSAGE);
        for (message, expected) in [
            ("short".to_owned(), "short".to_owned()),
            (longest.clone(), longest.clone()),
            (format!("{longest}b"), longest.clone()),
            (format!("{}ü", &longest[1..]), longest[1..].to_owned()),
        ] {
            let mut conditions = Conditions::new(&ObjectMeta::default());
            conditions.add("Accepted", Truth::True, "Accepted", message);
            assert_eq!(conditions.finish()[0].message, expected);
        }
    }
}
