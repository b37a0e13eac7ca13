//! What people are told by events: what is newly wrong with an object.

use super::{
    book::StatusBook,
    event::Notice,
    status::{Status, changed},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_gateway::{Statuses, problems};

/// The longest note of an event (`events.k8s.io/v1`, 1 kB).
const MAX_NOTE: usize = 1000;

/// One notice for each object and each reason that is wrong with it now and was not before: neither
/// in what was wanted, nor in what the API server has. A new leader does not tell it all again.
pub(crate) fn notices(before: &StatusBook, statuses: &Statuses) -> Vec<Notice> {
    let mut notices = Vec::new();
    for id in changed(before.wanted(), statuses) {
        let Some(status) = Status::wanted(statuses, &id) else { continue };
        let Some(observed) = before.observed(&id) else { continue };
        let wanted = Status::wanted(before.wanted(), &id);
        let known = [wanted.as_ref(), observed.status.as_ref()];
        let known: Vec<&str> = known.into_iter().flatten().flat_map(wrong).map(reason).collect();
        let mut told: Vec<&str> = Vec::new();
        for condition in wrong(&status) {
            let reason = reason(condition);
            if known.contains(&reason) || told.contains(&reason) {
                continue;
            }
            told.push(reason);
            let mut message = condition.message.clone();
            message.truncate(message.floor_char_boundary(MAX_NOTE));
            notices.push(Notice {
                id: id.clone(),
                uid: observed.uid.clone(),
                warning: true,
                reason: reason.to_owned(),
                message,
            });
        }
    }
    notices
}

/// What is wrong with an object, whichever part of it.
fn wrong(status: &Status) -> impl Iterator<Item = &Condition> {
    status.conditions().into_iter().flat_map(problems)
}

fn reason(condition: &Condition) -> &str {
    &condition.reason
}
