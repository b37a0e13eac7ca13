//! The loop around the desk.

use super::{
    calls::Caller,
    instance::instance,
    metrics::AddressMetrics,
    options::AddressOptions,
    preflight,
    publish::{self, NodeId, Outbox},
    status::status,
};
use crate::clock::Clock;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use penstock_ec2::{Cluster, Ec2};
use penstock_eni::{Desk, Effect, Event, Time};
use penstock_resources::penstock_node::PenstockNodeStatus;
use penstock_stream::Fleet;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};

/// How often metrics are brought up to date.
const LOOK: Duration = Duration::from_secs(2);

/// Which replica leads, and how.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    /// What this replica calls itself.
    pub(crate) me: String,
    /// Whether it leads.
    pub(crate) leading: watch::Receiver<bool>,
    /// In which term.
    pub(crate) terms: watch::Receiver<u32>,
    /// Told which nodes start pods with addresses of theirs.
    pub(crate) serving: watch::Sender<BTreeSet<String>>,
}

/// Looks after addresses whenever this replica leads; never ends.
pub(crate) async fn drive(
    options: AddressOptions,
    client: Client,
    clock: Clock,
    fleet: Fleet,
    metrics: AddressMetrics,
    mut lead: Lead,
) {
    let cluster = named(options.cluster.clone(), &client).await;
    tracing::info!(cluster = cluster.name, "interfaces of this cluster are told by its name");
    let ec2 = match Ec2::new(cluster, options.access.clone()).await {
        Ok(ec2) => ec2,
        Err(error) => {
            tracing::error!(%error, "nodes get no addresses");
            return;
        }
    };
    let outbox = Outbox::default();
    let caller = Caller { ec2, metrics: metrics.clone() };
    let writing = outbox.write(client.clone());
    let driving = async {
        loop {
            if lead.leading.wait_for(|leading| *leading).await.is_err() {
                std::future::pending::<()>().await;
            }
            let term = *lead.terms.borrow();
            tracing::info!(term, "addresses of nodes are looked after");
            let mut leader = Leader {
                desk: Desk::new(options.settings.clone(), term, Some(now(clock)), now(clock)),
                clock,
                client: client.clone(),
                me: lead.me.clone(),
                fleet: fleet.clone(),
                outbox: outbox.clone(),
                caller: caller.clone(),
                nodes: BTreeMap::new(),
                serving: lead.serving.clone(),
                calls: JoinSet::new(),
            };
            let (settings, ec2) = (options.settings.clone(), caller.ec2.clone());
            let look = preflight::look(client.clone(), settings, ec2, metrics.clone());
            leader.calls.spawn(look);
            tokio::select! {
                () = leader.lead() => {}
                _ = lead.leading.wait_for(|leading| !*leading) => {}
            }
            metrics.look(None);
            metrics.found(std::iter::empty());
            lead.serving.send_replace(BTreeSet::new());
        }
    };
    tokio::join!(writing, driving);
}

/// A cluster without a name has one that no other has and that never changes.
async fn named(mut cluster: Cluster, client: &Client) -> Cluster {
    let api: Api<Namespace> = Api::all(client.clone());
    while cluster.name.is_empty() {
        match api.get("kube-system").await {
            Ok(namespace) => cluster.name = namespace.uid().unwrap_or_default(),
            Err(error) => tracing::warn!(%error, "the name of the cluster is not known yet"),
        }
        if cluster.name.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    }
    cluster
}

fn now(clock: Clock) -> Time {
    Time(u64::try_from(clock.now().since_start.as_millis()).unwrap_or(u64::MAX))
}

/// A replica that leads.
struct Leader {
    desk: Desk,
    clock: Clock,
    client: Client,
    me: String,
    fleet: Fleet,
    outbox: Outbox,
    caller: Caller,
    /// Nodes that are instances, by name, with what was written of each.
    nodes: BTreeMap<String, (NodeId, Option<PenstockNodeStatus>)>,
    serving: watch::Sender<BTreeSet<String>>,
    calls: JoinSet<()>,
}

impl Leader {
    async fn lead(&mut self) {
        let (answers, mut answered) = mpsc::unbounded_channel();
        let api: Api<Node> = Api::all(self.client.clone());
        let mut nodes = pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = BTreeSet::new();
        let fleet = self.fleet.clone();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let due = self.desk.due() - now(self.clock);
            tokio::select! {
                event = nodes.next() => match event {
                    Some(Ok(event)) => self.watched(event, &mut listed, &answers),
                    Some(Err(error)) => tracing::warn!(%error, "the watch of nodes is interrupted"),
                    None => std::future::pending().await,
                },
                reports = fleet.addresses().reports() => {
                    for (node, report) in reports {
                        self.serves(&node, report.serving);
                        self.step(Event::Reported(node.clone(), report), &answers);
                        self.touch(&node);
                    }
                }
                Some((node, event)) = answered.recv() => {
                    self.step(event, &answers);
                    match node {
                        Some(node) => self.touch(&node),
                        None => self.touch_all(),
                    }
                }
                () = sleep(due) => {
                    self.step(Event::Tick, &answers);
                }
                _ = look.tick() => {
                    self.caller.metrics.look(Some(&self.desk));
                    self.touch_all();
                }
            }
        }
    }

    fn watched(
        &mut self,
        event: watcher::Event<Node>,
        listed: &mut BTreeSet<String>,
        answers: &Answers,
    ) {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(node) => {
                listed.insert(node.name_any());
                self.node(&node, answers);
            }
            watcher::Event::Apply(node) => self.node(&node, answers),
            watcher::Event::Delete(node) => self.gone(&node.name_any(), answers),
            watcher::Event::InitDone => {
                let gone: Vec<_> =
                    self.nodes.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.gone(name, answers));
                self.step(Event::NodesKnown, answers);
            }
        }
    }

    fn node(&mut self, node: &Node, answers: &Answers) {
        let Some(instance) = instance(node) else { return };
        let id = NodeId { name: node.name_any(), uid: node.uid().unwrap_or_default() };
        let name = id.name.clone();
        if self.nodes.get(&name).is_none_or(|(known, _)| *known != id) {
            self.nodes.insert(name.clone(), (id, None));
        }
        self.step(Event::Node(name.clone(), instance), answers);
        self.touch(&name);
    }

    fn serves(&self, node: &str, serving: bool) {
        self.serving.send_if_modified(|nodes| match serving {
            true => nodes.insert(node.to_owned()),
            false => nodes.remove(node),
        });
    }

    fn gone(&mut self, name: &str, answers: &Answers) {
        if self.nodes.remove(name).is_some() {
            self.step(Event::NodeGone(name.to_owned()), answers);
            self.serves(name, false);
            self.fleet.addresses().forget(name);
        }
    }

    fn step(&mut self, event: Event, answers: &Answers) {
        let now = now(self.clock);
        for effect in self.desk.step(event, now) {
            match effect {
                Effect::Tell(node, told) => self.fleet.addresses().tell(&node, &told),
                Effect::Problem(node, problem) => self.problem(&node, problem),
                call => self.call(call, now, answers),
            }
        }
    }

    fn call(&mut self, call: Effect, now: Time, answers: &Answers) {
        while self.calls.try_join_next().is_some() {}
        let (caller, answers) = (self.caller.clone(), answers.clone());
        let node = match &call {
            Effect::Call(key, ..) => Some(key.node.clone()),
            _ => None,
        };
        self.calls.spawn(async move {
            if let Some(event) = caller.make(call, now).await {
                // Nobody is there any more: another replica leads.
                let _ = answers.send((node, event));
            }
        });
    }

    fn problem(&mut self, node: &str, problem: Option<penstock_eni::Problem>) {
        let Some((id, _)) = self.nodes.get(node) else { return };
        let Some(problem) = problem else {
            tracing::info!(node, "pods of the node need not wait for addresses any more");
            return;
        };
        let reason = problem.reason.as_str();
        tracing::warn!(node, reason, missing = problem.missing, "{}", problem.message);
        let (client, me) = (self.client.clone(), self.me.clone());
        self.calls.spawn(publish::tell(client, me, id.clone(), problem));
    }

    /// Something may have become of a node: it is written where it did.
    fn touch(&mut self, node: &str) {
        let Some((id, written)) = self.nodes.get_mut(node) else { return };
        let Some(machine) = self.desk.machine(node) else { return };
        let new = status(machine, self.desk.trouble());
        if written.as_ref() != Some(&new) {
            self.outbox.post(id.clone(), new.clone());
            *written = Some(new);
        }
    }

    fn touch_all(&mut self) {
        let nodes: Vec<_> = self.nodes.keys().cloned().collect();
        nodes.iter().for_each(|node| self.touch(node));
    }
}

/// Answers of EC2, and the node that one is about.
type Answers = mpsc::UnboundedSender<(Option<String>, Event)>;
