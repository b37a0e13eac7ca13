//! What the core wants written, at the API server.

mod notices;
mod services;
mod slice;
mod statuses;
mod writer;

pub use slice::{Leader, lead};

use crate::{
    clock::Clock,
    core::{Action, Input, WriteError},
    engine::Inbox,
    metrics::Metrics,
};
use kube::Client;
use notices::Notices;
use std::sync::Arc;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedReceiver, watch},
    task::JoinSet,
};
use tracing::{Instrument as _, Span};
use writer::Writer;

/// Writes at a time.
const AT_A_TIME: usize = 16;

/// Writes until nobody wants anything written any more.
pub async fn write(
    client: Client,
    clock: Clock,
    metrics: Metrics,
    inbox: Inbox,
    me: String,
    leading: watch::Receiver<bool>,
    mut actions: UnboundedReceiver<(Action, Span)>,
) {
    let notices = Arc::new(Notices::new(client.clone(), me));
    let writer = Writer { client, clock, metrics };
    let permits = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    while let Some((action, span)) = actions.recv().await {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        if !*leading.borrow() {
            // What was wanted while this replica led is another's to write by now.
            refuse(&inbox, action);
            continue;
        }
        let (writer, inbox, notices) = (writer.clone(), inbox.clone(), notices.clone());
        let task = async move {
            perform(&writer, &notices, &inbox, action).await;
            drop(permit);
        };
        tasks.spawn(task.instrument(span));
    }
}

fn refuse(inbox: &Inbox, action: Action) {
    let result = WriteError::Refused;
    match action {
        Action::WriteStatus(write) => {
            inbox.send(Input::Wrote { id: write.id, result: Err(result) })
        }
        Action::ApplyService(service) => {
            let name = services::name_of(&service);
            inbox.send(Input::Serviced { name, result: Err(result) });
        }
        Action::DeleteService(name) => inbox.send(Input::Serviced { name, result: Err(result) }),
        Action::Tell(_) | Action::Publish(..) | Action::Resolve(_) | Action::Retain(_) => {}
    }
}

async fn perform(writer: &Writer, notices: &Notices, inbox: &Inbox, action: Action) {
    match action {
        Action::WriteStatus(write) => {
            let id = write.id.clone();
            let span = tracing::info_span!("status", object = %id);
            let result = statuses::write(writer, write).instrument(span).await;
            inbox.send(Input::Wrote { id, result });
        }
        Action::ApplyService(service) => {
            let name = services::name_of(&service);
            let span = tracing::info_span!("service", object = %name);
            let result = services::apply(writer, &name, &service).instrument(span).await;
            inbox.send(Input::Serviced { name, result });
        }
        Action::DeleteService(name) => {
            let result = services::delete(writer, &name).await;
            inbox.send(Input::Serviced { name, result });
        }
        Action::Tell(notice) => notices.tell(notice).await,
        // These have ways of their own.
        Action::Publish(..) | Action::Resolve(_) | Action::Retain(_) => {}
    }
}
