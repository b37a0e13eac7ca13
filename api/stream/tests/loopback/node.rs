//! A node.

use crate::{
    plane::Plane,
    trust::{Authority, NAME},
};
use futures_util::FutureExt;
use penstock_stream::{ClientOptions, Link, Role, Store, run};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// The files of a node; they outlive its processes.
pub(crate) struct Disk {
    directory: TempDir,
}

/// A running node process.
pub(crate) struct Node {
    pub(crate) plane: Plane,
    pub(crate) link: watch::Receiver<Link>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Disk {
    pub(crate) fn new(authority: &Authority) -> Self {
        let disk = Self { directory: tempfile::tempdir().expect("a directory") };
        disk.trust(authority);
        disk.token("good");
        disk
    }

    pub(crate) fn trust(&self, authority: &Authority) {
        std::fs::write(self.path("ca.crt"), authority.pem()).expect("written");
    }

    pub(crate) fn token(&self, token: &str) {
        std::fs::write(self.path("token"), token).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path("store"), &self.path("tmpfs/key")).expect("a store")
    }

    pub(crate) fn options(&self, port: u16) -> ClientOptions {
        ClientOptions {
            endpoint: format!("https://127.0.0.1:{port}"),
            server_name: NAME.into(),
            ca: self.path("ca.crt"),
            token: self.path("token"),
            node: "node-1".into(),
            pod: "pod-1".into(),
            role: Role::Proxy,
            store: None,
            addresses: None,
            link: None,
            follow: |_, _| {},
        }
    }

    /// A process without a store.
    pub(crate) fn start(&self, port: u16) -> Node {
        Node::start(self.options(port))
    }

    /// A process with one.
    pub(crate) fn start_stored(&self, port: u16) -> Node {
        Node::start(ClientOptions { store: Some(self.store()), ..self.options(port) })
    }
}

impl Node {
    pub(crate) fn start(mut options: ClientOptions) -> Self {
        let plane = Plane::default();
        let (sender, link) = watch::channel(Link::default());
        options.link = Some(sender);
        let (stop, stopped) = oneshot::channel::<()>();
        let modules = Some(Arc::new(plane.clone()) as _);
        let running =
            tokio::task::spawn_local(run(options, plane.clone(), modules, stopped.map(drop)));
        Self { plane, link, stop: Some(stop), running }
    }

    /// Ends as on SIGTERM.
    pub(crate) async fn stop(mut self) -> Plane {
        drop(self.stop.take());
        let ended = tokio::time::timeout(Duration::from_secs(10), self.running).await;
        ended.expect("the node ends").expect("it does not panic");
        self.plane
    }

    /// Ends as on SIGKILL.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    pub(crate) fn trouble(&self) -> String {
        self.link.borrow().trouble.clone().unwrap_or_default()
    }
}
