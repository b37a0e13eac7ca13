//! What agents say of addresses and are told of them.

use crate::{
    hostile::{end, expect},
    node::{Disk, Node},
    operator::{Operator, eventually, identity, on_this_thread, state},
    raw::{Client, hello},
    trust::Authority,
};
use penstock_config::address::{Epoch, Interface, NodeAddresses, Report};
use penstock_stream::{
    AddressPort, ClientOptions, Identity, Role,
    wire::{AddressReport, FromNode},
};
use std::net::Ipv4Addr;
use tokio::sync::{mpsc, watch};
use tonic::Code;

fn told(count: u32) -> NodeAddresses {
    let interface = Interface {
        id: "eni-1".into(),
        mac: "02:00:00:00:00:01".into(),
        card: 0,
        index: 1,
        primary: Ipv4Addr::new(10, 0, 0, 5),
        subnet: "subnet-1".into(),
        gateway: Ipv4Addr::new(10, 0, 0, 1),
        units: ["10.0.0.16/28".parse().unwrap()].into(),
    };
    NodeAddresses {
        epoch: Epoch { term: 1, count },
        interfaces: [(interface.id.clone(), interface)].into(),
        ..NodeAddresses::default()
    }
}

fn said(pending: u32) -> Report {
    Report { pending, ..Report::default() }
}

/// An agent of the node `node-1`.
struct Agent {
    node: Node,
    says: watch::Sender<Report>,
    hears: mpsc::UnboundedReceiver<NodeAddresses>,
}

impl Agent {
    fn start(disk: &Disk, operator: &Operator, report: Report) -> Self {
        let agent = Identity { role: Role::Agent, ..identity("pod-1") };
        operator.tokens.lock().insert("good".into(), agent);
        let (says, report) = watch::channel(report);
        let (told, hears) = mpsc::unbounded_channel();
        let addresses = Some(AddressPort { report, told });
        let options = disk.options(operator.port);
        let node = Node::start(ClientOptions { role: Role::Agent, addresses, ..options });
        Self { node, says, hears }
    }
}

#[test]
fn demand_arrives_at_once_and_a_node_is_told_what_it_missed() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let addresses = operator.fleet.addresses();
        // Before it was ever connected.
        addresses.tell("node-1", &told(1));
        let disk = Disk::new(&authority);
        let mut agent = Agent::start(&disk, &operator, said(0));
        assert_eq!(agent.hears.recv().await, Some(told(1)));
        assert_eq!(addresses.reports().await, [("node-1".to_owned(), said(0))].into());

        agent.says.send_replace(said(3));
        assert_eq!(addresses.reports().await["node-1"].pending, 3);
        addresses.tell("node-1", &told(2));
        assert_eq!(agent.hears.recv().await, Some(told(2)));
        addresses.tell("node-2", &told(7));
        operator.publish(&state(1, 1));
        eventually(|| !agent.node.plane.look().changes.is_empty(), "configured").await;
        assert!(agent.hears.try_recv().is_err(), "another node's addresses are not for this one");
    });
}

#[test]
fn a_new_leader_hears_all_of_it_again_and_tells_nothing_of_an_earlier_one() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let addresses = operator.fleet.addresses();
        let disk = Disk::new(&authority);
        let mut agent = Agent::start(&disk, &operator, said(3));
        assert_eq!(addresses.reports().await["node-1"].pending, 3);
        addresses.tell("node-1", &told(1));
        assert_eq!(agent.hears.recv().await, Some(told(1)));
        operator.fleet.set_leading(false);
        eventually(|| agent.node.trouble().contains("NotLeader"), "sent away").await;
        operator.fleet.set_leading(true);
        assert_eq!(addresses.reports().await["node-1"].pending, 3, "although nothing changed");
        assert!(agent.hears.try_recv().is_err());
        addresses.tell("node-1", &told(2));
        assert_eq!(agent.hears.recv().await, Some(told(2)));
    });
}

#[test]
fn a_proxy_that_reports_addresses_and_a_report_that_means_nothing_end_the_stream() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let client = Client::connect(&authority, operator.port).await;
        let report = FromNode::Addresses((&said(1)).into()).into();
        let status = end(client.open("good", [hello("node-1", "pod-1", 1), report]).await).await;
        expect(&status, Code::InvalidArgument, "AddressesOf");

        let agent = Identity { role: Role::Agent, ..identity("pod-1") };
        operator.tokens.lock().insert("good".into(), agent);
        let nothing = FromNode::Addresses(AddressReport::default()).into();
        let status = end(client.open("good", [hello("node-1", "pod-1", 2), nothing]).await).await;
        expect(&status, Code::InvalidArgument, "Malformed");
    });
}
