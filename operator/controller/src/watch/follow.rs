//! One watch.

use crate::{core::Input, engine::Inbox};
use futures_util::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use penstock_resources::{Kind, Object, ObjectId};
use penstock_telemetry::causes;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, pin::pin, time::Duration};
use tokio::time::{sleep, timeout};

/// The first wait after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest wait: how late the operator may notice that the API server is back.
const LONGEST_RETRY: Duration = Duration::from_secs(3);
/// For the next object of a streaming list. A server that cannot tell its end says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is watched, and for whom.
pub(super) struct Follow {
    pub(super) kind: Kind,
    /// A field selector.
    pub(super) fields: Option<&'static str>,
    pub(super) inbox: Inbox,
}

/// Why a watch has to begin anew.
enum Ended {
    /// The API server does not give this list as a stream.
    NoStreamingLists,
}

/// Watches; never ends. An object that `read` cannot read counts as one that is not there.
pub(super) async fn follow<K>(
    api: Api<K>,
    how: Follow,
    read: impl Fn(K) -> Result<Object, ObjectId>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut streaming = true;
    loop {
        let mut config = watcher::Config::default();
        if streaming {
            config = config.streaming_lists();
        }
        if let Some(fields) = how.fields {
            config = config.fields(fields);
        }
        let Ended::NoStreamingLists = run(api.clone(), config, streaming, &how, &read).await;
        tracing::info!(kind = %how.kind, "no streaming lists: pages are read instead");
        streaming = false;
    }
}

async fn run<K>(
    api: Api<K>,
    config: watcher::Config,
    streaming: bool,
    how: &Follow,
    read: &impl Fn(K) -> Result<Object, ObjectId>,
) -> Ended
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let Follow { kind, inbox, .. } = how;
    let mut events = pin!(watcher(api, config));
    let (mut retry, mut complete) = (FIRST_RETRY, false);
    loop {
        let next = if streaming && !complete {
            match timeout(PATIENCE, events.next()).await {
                Ok(next) => next,
                Err(_) => return Ended::NoStreamingLists,
            }
        } else {
            events.next().await
        };
        // The stream of a watcher has no end.
        let Some(event) = next else { std::future::pending().await };
        match event {
            Ok(event) => {
                retry = FIRST_RETRY;
                complete |= matches!(event, Event::InitDone);
                if let Some(input) = input(*kind, event, read) {
                    inbox.send(input);
                }
            }
            Err(error) => {
                if streaming && !complete && refuses_streaming(&error) {
                    return Ended::NoStreamingLists;
                }
                if retry == FIRST_RETRY {
                    tracing::warn!(%kind, error = %causes(&error), "a watch is interrupted");
                }
                sleep(retry).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
        }
    }
}

fn input<K>(
    kind: Kind,
    event: Event<K>,
    read: &impl Fn(K) -> Result<Object, ObjectId>,
) -> Option<Input> {
    Some(match event {
        Event::Init => Input::ListBegins(kind),
        // One that cannot be read is not named, and so is gone.
        Event::InitApply(object) => Input::Listed(read(object).ok()?),
        Event::InitDone => Input::ListEnds(kind),
        Event::Apply(object) => match read(object) {
            Ok(object) => Input::Applied(object),
            Err(id) => Input::Removed(id),
        },
        Event::Delete(object) => {
            Input::Removed(read(object).map_or_else(|id| id, |object| object.id()))
        }
    })
}

/// Whether the API server understood the request and will not have it so.
fn refuses_streaming(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 400 | 405 | 406 | 415 | 422)
}
