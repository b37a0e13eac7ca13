//! Addresses of nodes, against a real API server and the model of EC2.

use crate::{
    objects,
    rig::{FakeNode, Replica, Rig},
    test, wait, wait_for_event_in,
};
use kube::Client;
use penstock_config::address::{NodeAddresses, Report};
use penstock_controller::{
    addresses::{AddressOptions, preflight},
    args::PreflightFormat,
};
use penstock_ec2::{Access, Cluster};
use penstock_eni::{Limits, Settings};
use penstock_stream::AddressPort;
use penstock_test_eni::{
    http::{Policy, Server},
    model::{Model, ModelSubnet, Space},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

const NODE: &str = "node-eni";
const INSTANCE: &str = "i-0123456789abcdef0";

/// A VPC with one subnet of this size, and an instance in it.
fn ec2(cidr: &str) -> Server {
    let mut model = Model::new();
    let subnet = ModelSubnet {
        zone: "eu-central-1a".into(),
        vpc: "vpc-1".into(),
        space: Space::new(cidr),
        tags: [].into(),
    };
    model.subnets.insert("subnet-1".into(), subnet);
    model.groups.insert("sg-1".into(), "vpc-1".into());
    let limits = Limits::one_card(3, 10, true);
    model.launch(INSTANCE, limits, "subnet-1", &["sg-1"]).expect("there is room");
    Server::on_a_thread(model, SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port")
}

fn options(ec2: &Server) -> AddressOptions {
    AddressOptions {
        settings: Settings::default(),
        cluster: Cluster { name: "test".into(), tags: [].into() },
        access: Access {
            region: Some("eu-central-1".into()),
            endpoint: Some(ec2.url()),
            keys: Some(("key".into(), "secret".into())),
        },
    }
}

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"node.kubernetes.io/instance-type": "m5.large"}},
        "spec": {"providerID": format!("aws:///eu-central-1a/{INSTANCE}")},
    })
}

fn status() -> Value {
    json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "PenstockNode", "metadata": {"name": NODE}})
}

/// What a node hears, until it is so.
async fn told(
    hears: &mut mpsc::UnboundedReceiver<NodeAddresses>,
    is_so: impl Fn(&NodeAddresses) -> bool,
) -> NodeAddresses {
    let told = async {
        loop {
            let told = hears.recv().await.expect("the agent runs");
            if is_so(&told) {
                return told;
            }
        }
    };
    timeout(Duration::from_secs(30), told).await.expect("it is told in time")
}

fn addresses(told: &NodeAddresses) -> u32 {
    told.interfaces.values().flat_map(|i| &i.units).map(|unit| unit.size()).sum()
}

/// An operator that looks after the addresses of a node.
async fn operator(server: &crate::server::Server, ec2: &Server) -> (Rig, Replica) {
    let mut rig = Rig::new(server).await;
    objects::install(&rig.client, objects::definitions()).await;
    rig.addresses = Some(options(ec2));
    objects::apply(&rig.client, node()).await;
    let replica = rig.operator("a").await;
    (rig, replica)
}

/// The end of it. The object goes with its Node, of which this API server has no collector.
async fn ended(client: &Client, agent: FakeNode, replica: Replica) {
    agent.end().await;
    replica.end().await;
    objects::delete(client, &status()).await;
    objects::delete(client, &node()).await;
}

/// What a leader asked EC2 has come to a finding.
async fn found(replica: &Replica, reason: &str) {
    let end = Instant::now() + objects::PATIENCE;
    let label = format!("reason=\"{reason}\"");
    while replica.metric("penstock_operator_ec2_findings", &label).await < 1.0 {
        assert!(Instant::now() < end, "{}", replica.page("/metrics").await.1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_node_gets_what_its_agent_asks_for_and_its_object_shows_it() {
    test(|server| async move {
        let ec2 = ec2("10.0.0.0/24");
        let (rig, replica) = operator(server, &ec2).await;
        let client = rig.client.clone();
        let (says, report) = watch::channel(Report::default());
        let (tell, mut hears) = mpsc::unbounded_channel();
        let port = AddressPort { report, told: tell };
        let agent = rig.agent(replica.at, NODE, "agent-1", port).await;

        let first = told(&mut hears, |told| addresses(told) == 8).await;
        assert_eq!(first.interfaces.len(), 1);
        let interface = first.interfaces.values().next().unwrap();
        assert_eq!(interface.gateway.to_string(), "10.0.0.1");
        assert!(first.epoch.term > 0, "a lease that is made anew begins high");
        let calls = |name: &str| ec2.calls().get(name).copied().unwrap_or_default();
        assert_eq!(calls("AssignPrivateIpAddresses"), 1);

        // More pods than the first interface has room for.
        let begun = Instant::now();
        let known = first.interfaces.clone();
        says.send_replace(Report { pending: 12, known, seen: first.epoch, ..Report::default() });
        let second = told(&mut hears, |told| addresses(told) >= 12).await;
        println!("demand was met after {:.1?}", begun.elapsed());
        assert_eq!(second.interfaces.len(), 2);
        for name in
            ["CreateNetworkInterface", "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute"]
        {
            assert!(calls(name) <= 1, "{name}: {:?}", ec2.calls());
        }
        let shown = wait(&client, &status(), "twelve addresses", |v| {
            v["status"]["addresses"]["pending"] == 12 && v["status"]["addresses"]["interfaces"] == 2
        })
        .await;
        assert_eq!(shown["status"]["instanceType"], "m5.large");
        assert_eq!(shown["status"]["vpc"], "vpc-1");
        assert_eq!(shown["metadata"]["ownerReferences"][0]["kind"], "Node");
        assert_eq!(shown["status"]["addresses"]["capacity"], 27);
        // Brought up to date every other second.
        let end = Instant::now() + objects::PATIENCE;
        while replica.metric("penstock_operator_addresses", "free").await < 8.0 {
            assert!(Instant::now() < end, "{}", replica.page("/metrics").await.1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(replica.metric("penstock_operator_ec2_calls_total", "result=\"ok\"").await >= 4.0);

        ended(&client, agent, replica).await;
    });
}

/// With `--nocapture` it prints what `make bench BENCH=addresses` shows.
#[test]
fn a_nodes_demand_is_a_call_of_ec2_at_once_and_not_by_a_timer() {
    test(|server| async move {
        let ec2 = ec2("10.0.0.0/24");
        let (rig, replica) = operator(server, &ec2).await;
        let client = rig.client.clone();
        let (says, report) = watch::channel(Report::default());
        let (tell, mut hears) = mpsc::unbounded_channel();
        let port = AddressPort { report, told: tell };
        let agent = rig.agent(replica.at, NODE, "agent-1", port).await;
        let mut now = told(&mut hears, |told| addresses(told) == 8).await;
        let mut took = Vec::new();
        for pending in [10, 12, 14, 16, 18, 20, 22, 24] {
            let begun = Instant::now();
            let (known, seen) = (now.interfaces.clone(), now.epoch);
            says.send_replace(Report { pending, known, seen, ..Report::default() });
            now = told(&mut hears, |told| addresses(told) >= pending).await;
            took.push(ec2.mutated(begun).expect("there was a call") - begun);
        }
        took.sort();
        let millis: Vec<_> = took.iter().map(|t| t.as_secs_f64() * 1000.0).collect();
        println!(
            "demand to the first call of EC2: median {:.2} ms, longest {:.2} ms",
            millis[millis.len() / 2],
            millis[millis.len() - 1]
        );
        assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
        ended(&client, agent, replica).await;
    });
}

#[test]
fn a_node_that_gets_no_addresses_says_why_and_how_many_are_missing() {
    test(|server| async move {
        // Eleven addresses, of which the instance has one.
        let ec2 = ec2("10.0.0.0/28");
        ec2.permit(Policy::of_the_chart().without("ec2:DescribeNetworkInterfaces"));
        let (rig, replica) = operator(server, &ec2).await;
        let client = rig.client.clone();
        // What cannot be looked at is said, and looked at again.
        wait(&client, &status(), "the refusal", |v| {
            let message = v["status"]["problem"]["message"].to_string();
            v["status"]["problem"]["reason"] == "Unauthorized"
                && message.contains("ec2:DescribeNetworkInterfaces on *")
                && message.contains("charts/penstock/iam-policy.json")
        })
        .await;
        found(&replica, "Unauthorized").await;
        ec2.permit(Policy::of_the_chart());
        let report = Report { pending: 20, ..Report::default() };
        let (_says, report) = watch::channel(report);
        let (tell, mut hears) = mpsc::unbounded_channel();
        let port = AddressPort { report, told: tell };
        let agent = rig.agent(replica.at, NODE, "agent-1", port).await;
        told(&mut hears, |told| addresses(told) > 0).await;
        let shown = wait(&client, &status(), "the problem", |v| {
            v["status"]["problem"]["reason"] == "NoSubnet"
        })
        .await;
        let missing = shown["status"]["problem"]["missing"].as_u64().unwrap();
        assert!((10..20).contains(&missing), "{shown:#}");
        let event = wait_for_event_in(&rig, "default", "Node", NODE).await;
        assert!(event.to_string().contains("addresses are missing"), "{event:#}");
        ended(&client, agent, replica).await;
    });
}

#[test]
fn a_permission_that_is_missing_for_a_new_interface_is_named_by_the_node_that_needs_one() {
    test(|server| async move {
        let ec2 = ec2("10.0.0.0/24");
        ec2.permit(Policy::of_the_chart().without("ec2:CreateTags"));
        let (rig, replica) = operator(server, &ec2).await;
        let client = rig.client.clone();
        // More than the first interface takes.
        let (_says, report) = watch::channel(Report { pending: 20, ..Report::default() });
        let (tell, _hears) = mpsc::unbounded_channel();
        let port = AddressPort { report, told: tell };
        let agent = rig.agent(replica.at, NODE, "agent-1", port).await;
        let shown = wait(&client, &status(), "the refusal", |v| {
            v["status"]["problem"]["reason"] == "Refused"
        })
        .await;
        let message = shown["status"]["problem"]["message"].as_str().unwrap();
        for words in [
            "CreateNetworkInterface failed: Unauthorized: arn:aws:sts::111122223333:assumed-role/",
            "may not ec2:CreateTags on arn:aws:ec2:eu-central-1:111122223333:network-interface/*",
            "charts/penstock/iam-policy.json",
        ] {
            assert!(message.contains(words), "no {words:?} in {message}");
        }
        assert!(!message.contains("Encoded"), "{message}");
        ended(&client, agent, replica).await;
    });
}

#[test]
fn what_stands_in_the_way_is_asked_with_the_nodes_that_there_are() {
    test(|server| async move {
        let client = server.client();
        objects::install(&client, objects::definitions()).await;
        let ec2 = ec2("10.0.0.0/24");
        ec2.permit(Policy::of_the_chart());
        objects::apply(&client, node()).await;
        let ask = async |options: &AddressOptions| {
            let found = preflight(options, Ok(client.clone())).await.expect("asked");
            let json = found.text(PreflightFormat::Json).expect("JSON");
            serde_json::from_str::<Value>(&json).expect("JSON")
        };
        let found = ask(&options(&ec2)).await;
        assert_eq!(found["well"], true, "{found:#}");
        assert_eq!((&found["region"], &found["cluster"]), (&json!("eu-central-1"), &json!("test")));
        // No interface of this cluster is there to try these on.
        let own = [
            "AttachNetworkInterface",
            "DeleteNetworkInterface",
            "DetachNetworkInterface",
            "ModifyNetworkInterfaceAttribute",
        ];
        assert_eq!(found["notTried"], json!(own));
        assert_eq!(found["permitted"].as_array().map(Vec::len), Some(8), "{found:#}");

        let mut wrong = options(&ec2);
        wrong.settings.subnet_tags = [("role".to_owned(), "pod".to_owned())].into();
        wrong.settings.security_groups = ["sg-9".to_owned()].into();
        let found = ask(&wrong).await;
        let problems = found["problems"].as_array().expect("problems");
        let told: Vec<_> =
            problems.iter().map(|p| (p["object"].clone(), p["reason"].clone())).collect();
        assert_eq!(
            told,
            [
                (json!("eni.nodeSpec.subnetTags"), json!("NoSubnet")),
                (json!("eni.nodeSpec.securityGroups"), json!("NoSuchSecurityGroup")),
            ]
        );
        let cause = problems[0]["cause"].as_str().unwrap();
        assert!(cause.contains("VPC vpc-1 and zone eu-central-1a"), "{cause}");
        assert!(cause.contains("role=pod selects nothing (nothing has the tag role)"), "{cause}");
        objects::delete(&client, &node()).await;
    });
}
