//! Operators and nodes of a test.

use crate::{
    objects,
    server::{Server, unique},
};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Node, Pod, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use penstock_config::{Delta, Key, State};
use penstock_controller::{
    Listening, addresses::AddressOptions, args::Options, identity::Accounts, lease::Timing,
    run_and_tell,
};
use penstock_stream::{AddressPort, Applied, Apply, ClientOptions, Link, Refused, Role, run};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// A namespace of Penstock itself, with what the chart would make there.
pub(crate) struct Rig {
    pub(crate) client: Client,
    /// Namespace of Penstock.
    pub(crate) system: String,
    /// Namespace of the test's objects.
    pub(crate) user: String,
    pub(crate) folder: tempfile::TempDir,
    /// What the replicas that start now are told of addresses.
    pub(crate) addresses: Option<AddressOptions>,
}

/// Gateways of tests that failed before they cleaned: the next test would see their routes.
static LEFT: Mutex<Vec<serde_json::Value>> = Mutex::new(Vec::new());

/// A replica.
pub(crate) struct Replica {
    pub(crate) at: Listening,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Rig {
    /// Fresh namespaces.
    pub(crate) async fn new(server: &Server) -> Self {
        let client = server.client();
        let left = std::mem::take(&mut *LEFT.lock());
        for gateway in left {
            objects::delete(&client, &gateway).await;
        }
        let (system, user) = (unique("system"), unique("user"));
        for name in [&system, &user] {
            objects::apply(&client, objects::namespace(name)).await;
        }
        for name in ["penstock-proxy", "penstock-agent"] {
            objects::apply(
                &client,
                json!({
                    "apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": {"name": name, "namespace": system},
                }),
            )
            .await;
        }
        let folder = tempfile::tempdir().expect("a folder");
        Self { client, system, user, folder, addresses: None }
    }

    /// Makes the objects of one Gateway with a Service.
    pub(crate) async fn base(&self) {
        LEFT.lock().push(objects::gateway(&self.user, 80));
        objects::apply(&self.client, objects::class()).await;
        objects::apply(&self.client, objects::gateway(&self.user, 80)).await;
        objects::apply(&self.client, objects::service(&self.user)).await;
        objects::apply(&self.client, objects::endpoints(&self.user)).await;
    }

    /// Removes what others would see.
    pub(crate) async fn clean(&self) {
        objects::delete(&self.client, &objects::gateway(&self.user, 80)).await;
        objects::delete(&self.client, &objects::class()).await;
        LEFT.lock().clear();
    }

    /// Starts a replica.
    pub(crate) async fn operator(&self, name: &str) -> Replica {
        self.operator_as(name, self.client.clone()).await
    }

    /// Starts a replica that uses another client.
    pub(crate) async fn operator_as(&self, name: &str, client: Client) -> Replica {
        let options = Options {
            namespace: self.system.clone(),
            lease: "penstock-operator".into(),
            me: name.into(),
            timing: Timing::of(Duration::from_secs(5)),
            stream_bind: "127.0.0.1:0".parse().expect("an address"),
            stream_service: "penstock-stream".into(),
            pod_ip: Some("192.0.2.10".parse().expect("an address")),
            metrics_bind: "127.0.0.1:0".parse().expect("an address"),
            accounts: Accounts {
                namespace: self.system.clone(),
                proxy: "penstock-proxy".into(),
                agent: "penstock-agent".into(),
            },
            grace: Duration::from_secs(10),
            refresh: Duration::from_secs(300),
            node_taint: String::new(),
            agent_absence: Duration::from_secs(60),
            addresses: self.addresses.clone(),
            fetch: penstock_modules::FetchOptions::default(),
            compiler: None,
        };
        let (stop, shutdown) = watch::channel(false);
        let (tell, told) = oneshot::channel();
        let task = tokio::spawn(run_and_tell(
            options,
            client,
            shutdown,
            Box::new(|at| tell.send(at).expect("somebody waits")),
        ));
        Replica { at: told.await.expect("it starts"), stop, task }
    }

    /// A projected token of a pod of an account on a node, as the kubelet mounts one.
    pub(crate) async fn token(
        &self,
        account: &str,
        node: &str,
        pod: &str,
        audience: &str,
    ) -> String {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": node}})).expect("a Node");
        match nodes.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.system);
        let object = serde_json::from_value(json!({
            "metadata": {"name": pod},
            "spec": {
                "nodeName": node, "serviceAccountName": account,
                "containers": [{"name": "c", "image": "none"}],
            },
        }));
        let made = pods.create(&PostParams::default(), &object.expect("a Pod")).await;
        let made = made.expect("a Pod");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.system);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![audience.to_owned()]),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(pod.to_owned()),
                    uid: made.metadata.uid,
                }),
                expiration_seconds: Some(3600),
            }),
            ..TokenRequest::default()
        };
        let token = accounts.create_token_request(account, &PostParams::default(), &request).await;
        token.expect("a token").status.expect("a status").token.expect("a token")
    }

    /// Starts a proxy's client that acknowledges everything but what it is told to refuse.
    pub(crate) async fn node(&self, replica: Listening, name: &str) -> FakeNode {
        let token = self.token("penstock-proxy", "node-1", name, "penstock-stream").await;
        self.node_with(replica, name, &token).await
    }

    /// The same with a token.
    pub(crate) async fn node_with(&self, replica: Listening, name: &str, token: &str) -> FakeNode {
        let options = self.client_options(replica, "node-1", name, token).await;
        FakeNode::start(options)
    }

    /// Starts an agent that reports and hears of addresses.
    pub(crate) async fn agent(
        &self,
        replica: Listening,
        node: &str,
        name: &str,
        addresses: AddressPort,
    ) -> FakeNode {
        let token = self.token("penstock-agent", node, name, "penstock-stream").await;
        let options = self.client_options(replica, node, name, &token).await;
        let addresses = Some(addresses);
        FakeNode::start(ClientOptions { role: Role::Agent, addresses, ..options })
    }

    async fn client_options(
        &self,
        replica: Listening,
        node: &str,
        name: &str,
        token: &str,
    ) -> ClientOptions {
        let ca = self.ca().await;
        let file = |end: &str| -> PathBuf { self.folder.path().join(format!("{name}.{end}")) };
        std::fs::write(file("token"), token).expect("a file");
        std::fs::write(file("ca"), ca).expect("a file");
        ClientOptions {
            endpoint: format!("https://{}", replica.stream),
            server_name: format!("penstock-stream.{}.svc", self.system),
            ca: file("ca"),
            token: file("token"),
            node: node.into(),
            pod: name.into(),
            role: Role::Proxy,
            store: None,
            addresses: None,
            link: None,
            follow: |_, _| {},
        }
    }

    /// The CA that nodes mount.
    async fn ca(&self) -> String {
        let trust = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "penstock-trust", "namespace": self.system},
        });
        let there =
            objects::wait(&self.client, &trust, "the CA", |v| v["data"]["ca.crt"].is_string())
                .await;
        there["data"]["ca.crt"].as_str().expect("text").to_owned()
    }
}

impl Replica {
    /// Ends it as SIGTERM would.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.expect("no panic").expect("a clean end");
    }

    /// Waits until it has listed everything and says so.
    pub(crate) async fn ready(&self) {
        let end = std::time::Instant::now() + objects::PATIENCE;
        loop {
            let (status, page) = self.page("/readyz").await;
            if status == 200 {
                return;
            }
            assert!(std::time::Instant::now() < end, "{status}: {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A page of its port.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.at.metrics).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, text)
    }

    /// A number of its metrics, 0 where it is not there; sums over the labels.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, page) = self.page("/metrics").await;
        let lines = page.lines().filter(|l| l.starts_with(name) && l.contains(labels));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// A proxy that only says that it does.
pub(crate) struct FakeNode {
    pub(crate) state: Arc<Mutex<Served>>,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
}

/// What it has, and what it will not have.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) state: State,
    pub(crate) updates: usize,
    /// By the beginning of the name of the resource.
    pub(crate) refuse: BTreeMap<String, String>,
}

struct Applier(Arc<Mutex<Served>>);

impl Apply for Applier {
    fn apply(&mut self, delta: &Delta) -> Applied {
        let mut served = self.0.lock();
        served.updates += 1;
        served.state.apply(delta).expect("it fits");
        let refused = served.state.iter().filter_map(|resource| {
            let Key { name, .. } = &resource.key;
            let (_, why) = served.refuse.iter().find(|(begin, _)| name.starts_with(*begin))?;
            Some(Refused::new(resource.key.clone(), "UnsupportedValue", why))
        });
        Applied { version: served.state.version(), refused: refused.collect() }
    }
}

impl FakeNode {
    fn start(options: ClientOptions) -> Self {
        let state = Arc::new(Mutex::new(Served::default()));
        let (link, linked) = watch::channel(Link::default());
        let options = ClientOptions { link: Some(link), ..options };
        let (stop, stopped) = oneshot::channel::<()>();
        let apply = Applier(state.clone());
        let task = tokio::spawn(async move {
            run(options, apply, None, async {
                // A sender that is gone means the same.
                let _ = stopped.await;
            })
            .await;
        });
        Self { state, link: linked, stop: Some(stop), task }
    }

    /// How many resources it has whose key begins so.
    pub(crate) fn count(&self, begin: &str) -> usize {
        let served = self.state.lock();
        served.state.iter().filter(|r| r.key.to_string().starts_with(begin)).count()
    }

    /// Says goodbye.
    pub(crate) async fn end(mut self) {
        drop(self.stop.take());
        self.task.await.expect("no panic");
    }
}
