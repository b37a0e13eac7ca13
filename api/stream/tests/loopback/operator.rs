//! An operator, as far as the stream is concerned.

use crate::trust::{Authority, NAME};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use penstock_config::{Backend, Endpoint, Endpoints, Filter, ResourceKind, State};
use penstock_stream::{
    ArtifactError, Artifacts, AuthError, Authenticate, Fleet, Identity, Role, ServeOptions, router,
    wire::ArtifactRequest,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
    task::{JoinHandle, LocalSet},
};

/// Which tokens prove what. Shared with the test, which changes it.
pub(crate) type Tokens = Arc<Mutex<BTreeMap<String, Identity>>>;

/// Compiled modules by digest. Shared with the test, which changes it.
pub(crate) type Shelf = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A running server.
pub(crate) struct Operator {
    pub(crate) fleet: Fleet,
    pub(crate) port: u16,
    pub(crate) tls: watch::Sender<Arc<rustls::ServerConfig>>,
    pub(crate) tokens: Tokens,
    pub(crate) shelf: Shelf,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Operator {
    /// One that leads.
    pub(crate) async fn start(authority: &Authority) -> Self {
        Self::with(authority, 0, ServeOptions::default()).await
    }

    pub(crate) async fn with(authority: &Authority, port: u16, options: ServeOptions) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let fleet = Fleet::new();
        fleet.set_leading(true);
        let (tls, config) = watch::channel(authority.server(NAME));
        let (tokens, shelf) = (Tokens::default(), Shelf::default());
        tokens.lock().insert("good".into(), identity("pod-1"));
        let router = router(fleet.clone(), Table(tokens.clone()), Shelves(shelf.clone()))
            .with_options(options);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::task::spawn_local(async move {
            let stopped = stopped.map(drop);
            router.serve(listener, config, stopped).await.expect("it serves");
        });
        Self { fleet, port, tls, tokens, shelf, stop: Some(stop), serving }
    }

    pub(crate) fn publish(&self, state: &State) {
        self.publish_traced(state, "");
    }

    /// As part of a trace.
    pub(crate) fn publish_traced(&self, state: &State, traceparent: &str) {
        self.fleet.publish(Arc::new(state.clone()), traceparent);
    }

    /// Ends as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(Duration::from_secs(10), self.serving).await;
        ended.expect("the server ends").expect("it does not panic");
    }

    /// Whether all of so many proxies serve what is published.
    pub(crate) fn acknowledged(&self, members: usize) -> bool {
        let found = self.fleet.confirmation(Instant::now());
        found.acknowledged && found.members == members
    }
}

pub(crate) fn identity(pod: &str) -> Identity {
    Identity {
        node: "node-1".into(),
        pod: pod.into(),
        service_account: "penstock-system/penstock-proxy".into(),
        role: Role::Proxy,
    }
}

struct Table(Tokens);

impl Authenticate for Table {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, AuthError>> {
        let found = self.0.lock().get(token).cloned();
        let found = match token {
            "unavailable" => Err(AuthError::Unavailable("the API server is away".into())),
            _ => found.ok_or_else(|| AuthError::Invalid("another audience".into())),
        };
        std::future::ready(found).boxed()
    }
}

struct Shelves(Shelf);

impl Artifacts for Shelves {
    fn artifact<'a>(
        &'a self,
        request: &'a ArtifactRequest,
    ) -> BoxFuture<'a, Result<Bytes, ArtifactError>> {
        let found = self.0.lock().get(&request.digest).cloned();
        let found = found.ok_or_else(|| ArtifactError::Unknown(request.digest.clone()));
        std::future::ready(found).boxed()
    }
}

/// A configuration with so many backends, whose endpoints have a port.
pub(crate) fn state(backends: usize, port: u32) -> State {
    let pair = |i| {
        let name = format!("n/b{i}:80");
        let endpoint = Endpoint { host: "10.0.0.1".into(), port };
        [
            ResourceKind::Backend(Backend { name: name.clone(), protocol: 0 }),
            ResourceKind::Endpoints(Endpoints { backend: name, endpoints: vec![endpoint] }),
        ]
    };
    (0..backends).flat_map(pair).collect()
}

/// The same with a filter.
pub(crate) fn with_filter(mut state: State, digest: &str) -> State {
    let filter = Filter { name: "n/filter".into(), module: digest.into(), ..Filter::default() };
    state.insert(ResourceKind::Filter(filter));
    state
}

/// Waits until something is so, for ten seconds.
#[track_caller]
pub(crate) fn eventually(
    mut is_so: impl FnMut() -> bool,
    what: &'static str,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        for _ in 0..1000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within ten seconds at {caller}: {what}");
    }
}

/// Runs a test with tasks of its own thread. One that fails while a data plane is stopped does not wait
/// for it.
pub(crate) fn on_this_thread(test: impl Future<Output = ()>) {
    struct Unwaited(Option<Runtime>);
    impl Drop for Unwaited {
        fn drop(&mut self) {
            if let Some(runtime) = self.0.take() {
                runtime.shutdown_background();
            }
        }
    }
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = LocalSet::new();
    let runtime = Unwaited(Some(runtime));
    tasks.block_on(runtime.0.as_ref().expect("not dropped"), test);
}
