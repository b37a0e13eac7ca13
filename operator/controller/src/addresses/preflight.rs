//! What stands in the way of addresses, asked of EC2 before anything is changed: by a command, and once by
//! each leader.

use super::{instance::instance, metrics::AddressMetrics, options::AddressOptions};
use crate::args::PreflightFormat;
use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use penstock_ec2::{Described, Ec2, IAM_ACTIONS, LOOKS};
use penstock_eni::{
    Action, Failure, Finding, Home, Instance, Reason, SecurityGroup, Seen, Settings, Subnets,
    Tried, attempts, findings, nobodys,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::Ipv4Addr,
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// For Kubernetes to name nodes.
const KUBERNETES: Duration = Duration::from_secs(10);

/// How long a new leader leaves EC2 to nodes that need addresses.
const SETTLE: Duration = Duration::from_secs(2);

/// Nodes that are read: of each zone one is made use of.
const NODES: u32 = 1000;

/// Zones that nodes are looked at in: no region has more.
const ZONES: usize = 8;

/// Tags of what is made need a permission that is asked for with the interface.
const TAGS: &str = "CreateTags";

/// What the chart calls a cluster that has no name.
const UNNAMED: &str = "preflight";

/// Subnets and security groups.
type Selected = (Option<Subnets>, Option<BTreeMap<String, SecurityGroup>>);

/// What was found out.
#[derive(Clone, Debug)]
pub struct Preflight {
    cluster: String,
    region: Option<String>,
    findings: Vec<Finding>,
    /// Calls that would be permitted.
    permitted: BTreeSet<&'static str>,
    /// Calls that there was nothing to try on.
    untried: BTreeSet<&'static str>,
    notes: Vec<String>,
}

/// Asks. `client`: where nodes are read from, or why they cannot be.
///
/// # Errors
/// The roots that EC2 is to be believed by cannot be read.
pub async fn preflight(
    options: &AddressOptions,
    client: anyhow::Result<Client>,
) -> anyhow::Result<Preflight> {
    let mut notes = Vec::new();
    let mut cluster = options.cluster.clone();
    let nodes = match client {
        Ok(client) => {
            if cluster.name.is_empty() {
                cluster.name = uid(&client).await.unwrap_or_default();
            }
            timeout(KUBERNETES, nodes(&client)).await.context("it does not answer").flatten()
        }
        Err(error) => Err(error),
    };
    if cluster.name.is_empty() {
        UNNAMED.clone_into(&mut cluster.name);
    }
    let nodes = nodes.unwrap_or_else(|error| {
        notes.push(format!(
            "the nodes of the cluster are not known ({error}): changes are not tried, and subnets and \
             groups are looked for in all VPCs"
        ));
        Vec::new()
    });
    if nodes.is_empty() && notes.is_empty() {
        notes.push(
            "the cluster has no node that is an EC2 instance yet: changes are not tried, and subnets and \
             groups are looked for in all VPCs"
                .to_owned(),
        );
    }
    let ec2 = Ec2::new(cluster, options.access.clone()).await?;
    let mut found = ask(&options.settings, &ec2, &nodes).await;
    found.notes = notes;
    Ok(found)
}

/// The same by a leader, which logs and counts what it finds. Nothing waits for it.
pub(super) async fn look(client: Client, settings: Settings, ec2: Ec2, metrics: AddressMetrics) {
    sleep(SETTLE).await;
    let nodes = match timeout(KUBERNETES, nodes(&client)).await {
        Ok(Ok(nodes)) => nodes,
        Ok(Err(error)) => return tracing::warn!(%error, "what EC2 permits was not asked"),
        Err(_) => return tracing::warn!("what EC2 permits was not asked: nodes are not known"),
    };
    let found = ask(&settings, &ec2, &nodes).await;
    metrics.found(found.findings.iter().map(|finding| finding.reason));
    for Finding { reason, about, cause, remedy } in &found.findings {
        tracing::error!(reason, about, remedy, "addresses: {cause}");
    }
    if found.findings.is_empty() {
        tracing::info!("EC2 permits what was asked of it");
    }
}

async fn nodes(client: &Client) -> anyhow::Result<Vec<Instance>> {
    let api: Api<Node> = Api::all(client.clone());
    let all = api.list(&ListParams::default().limit(NODES)).await?;
    Ok(all.iter().filter_map(instance).collect())
}

/// What a cluster without a name is called.
async fn uid(client: &Client) -> Option<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    timeout(KUBERNETES, api.get("kube-system")).await.ok()?.ok()?.uid()
}

async fn ask(settings: &Settings, ec2: &Ec2, nodes: &[Instance]) -> Preflight {
    let region = ec2.region();
    let mut seen = Seen::default();
    match &region {
        Ok(_) => look_at(settings, ec2, nodes, &mut seen).await,
        Err(failure) => seen.tried.push(Tried {
            call: LOOKS[0],
            about: String::new(),
            result: Err(failure.clone()),
        }),
    }
    let tried: BTreeSet<&str> = seen.tried.iter().map(|tried| tried.call).collect();
    let failed: BTreeSet<&str> =
        seen.tried.iter().filter(|tried| tried.result.is_err()).map(|tried| tried.call).collect();
    let all = IAM_ACTIONS.iter().filter_map(|action| action.strip_prefix("ec2:"));
    let untried = all.filter(|call| *call != TAGS && !tried.contains(call)).collect();
    Preflight {
        cluster: ec2.cluster().name.clone(),
        region: region.ok(),
        findings: findings(settings, &seen),
        permitted: tried.difference(&failed).copied().collect(),
        untried,
        notes: Vec::new(),
    }
}

/// Tries each call, and looks at what the settings select.
async fn look_at(settings: &Settings, ec2: &Ec2, nodes: &[Instance], seen: &mut Seen) {
    for call in LOOKS {
        let result = ec2.may_look(call).await;
        let hopeless = result.as_ref().is_err_and(is_hopeless);
        seen.tried.push(Tried { call, about: String::new(), result });
        if hopeless {
            return;
        }
    }
    for node in one_of_each_zone(nodes) {
        if let Ok(enis) = ec2.interfaces(&node.id).await {
            let (instance, zone) = (node.id.clone(), node.zone.clone());
            seen.homes.push(Home { instance, zone, enis });
        }
    }
    (seen.subnets, seen.groups) = selected(settings, ec2, &seen.homes).await;
    let owned = ec2.owned().await.ok().flatten();
    let nobodys = seen.subnets.as_ref().map(nobodys);
    for (instance, action) in attempts(settings, seen, owned.as_ref()) {
        let of_addresses = matches!(action, Action::Assign { .. } | Action::Unassign { .. });
        // Which address nobody has is known of subnets alone.
        let address = match nobodys {
            Some(address) => address,
            None if of_addresses => continue,
            None => Ipv4Addr::UNSPECIFIED,
        };
        let result = ec2.may(&instance, &action, address).await;
        seen.tried.push(Tried { call: action.name(), about: action.about(), result });
    }
}

/// Subnets and groups of the nodes' VPCs, and those that the settings name wherever they are; all of the
/// region where no node is known. `None`: they may not be looked at.
async fn selected(settings: &Settings, ec2: &Ec2, homes: &[Home]) -> Selected {
    let mut all = Described::default();
    let vpcs: BTreeSet<&str> =
        homes.iter().flat_map(|home| &home.enis).map(|eni| eni.vpc.as_str()).collect();
    for vpc in &vpcs {
        let Ok(found) = ec2.vpc(vpc).await else { return (None, None) };
        all.subnets.extend(found.subnets);
        all.groups.extend(found.groups);
    }
    let is_new = |known: bool| vpcs.is_empty() || !known;
    let subnets = settings.subnet_ids.iter().filter(|id| is_new(all.subnets.contains_key(*id)));
    let subnets: BTreeSet<String> = subnets.cloned().collect();
    let groups = settings.security_groups.iter().filter(|id| is_new(all.groups.contains_key(*id)));
    let groups: BTreeSet<String> = groups.cloned().collect();
    let mut found = (Some(all.subnets), Some(all.groups));
    if vpcs.is_empty() || !subnets.is_empty() {
        let more = ec2.subnets_by_id(&subnets).await.ok();
        found.0 = found.0.zip(more).map(|(all, more)| all.into_iter().chain(more).collect());
    }
    if vpcs.is_empty() || !groups.is_empty() {
        let more = ec2.groups_by_id(&groups).await.ok();
        found.1 = found.1.zip(more).map(|(all, more)| all.into_iter().chain(more).collect());
    }
    found
}

/// What makes every other call fail alike.
fn is_hopeless(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::NoCredentials | Reason::NoRegion | Reason::NoAnswer)
}

fn one_of_each_zone(nodes: &[Instance]) -> impl Iterator<Item = &Instance> {
    let zones: BTreeMap<&str, &Instance> =
        nodes.iter().map(|node| (node.zone.as_str(), node)).collect();
    zones.into_values().take(ZONES)
}

impl Preflight {
    /// Whether nothing stands in the way.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    /// As it is printed.
    ///
    /// # Errors
    /// None that a test has seen: JSON of what is text.
    pub fn text(&self, form: PreflightFormat) -> serde_json::Result<String> {
        match form {
            PreflightFormat::Text => Ok(self.for_people()),
            PreflightFormat::Json => Ok(serde_json::to_string_pretty(&self.json())? + "\n"),
        }
    }

    fn for_people(&self) -> String {
        let region = self.region.as_deref().unwrap_or("an unknown region");
        let mut text = format!("EC2 of {region}, for the interfaces of cluster {}\n", self.cluster);
        let mut list = |what: &str, calls: &BTreeSet<&str>| {
            if !calls.is_empty() {
                let calls: Vec<&str> = calls.iter().copied().collect();
                let _ = writeln!(text, "{what}: {}", calls.join(", "));
            }
        };
        list("permitted", &self.permitted);
        list("not tried yet", &self.untried);
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = match self.findings.len() {
            0 => writeln!(text, "nothing stands in the way"),
            1 => writeln!(text, "1 problem:"),
            n => writeln!(text, "{n} problems:"),
        };
        for finding in &self.findings {
            let _ = writeln!(text, "  {finding}");
        }
        text
    }

    fn json(&self) -> Value {
        let problem = |Finding { reason, about, cause, remedy }: &Finding| json!({"object": about, "reason": reason, "cause": cause, "remedy": remedy});
        json!({
            "well": self.is_well(),
            "cluster": self.cluster,
            "region": self.region,
            "permitted": self.permitted,
            "notTried": self.untried,
            "notes": self.notes,
            "problems": self.findings.iter().map(problem).collect::<Vec<_>>(),
        })
    }
}
