//! The operator goes, and comes back or another one comes.

use crate::{
    node::Disk,
    operator::{Operator, eventually, on_this_thread, state},
    trust::Authority,
};
use penstock_stream::ServeOptions;

#[test]
fn a_standby_sends_nodes_away_until_it_leads() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        operator.fleet.set_leading(false);
        operator.publish(&state(1, 1));
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        eventually(|| node.trouble().contains("NotLeader"), "sent away").await;
        assert!(node.plane.look().changes.is_empty());
        operator.fleet.set_leading(true);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        operator.fleet.set_leading(false);
        eventually(|| node.trouble().contains("NotLeader"), "sent away in the middle").await;
        assert!(operator.fleet.views(std::time::Instant::now()).is_empty());
        assert!(operator.fleet.leading_since().is_none());
        assert!(node.plane.serves(&state(1, 1)), "it serves on");
    });
}

#[test]
fn another_replica_with_the_same_configuration_changes_nothing() {
    on_this_thread(async {
        let authority = Authority::new();
        let first = Operator::start(&authority).await;
        let port = first.port;
        first.publish(&state(50, 1));
        let disk = Disk::new(&authority);
        let node = disk.start(port);
        eventually(|| first.acknowledged(1), "acknowledged").await;
        first.stop().await;
        eventually(|| !node.link.borrow().connected, "alone").await;
        assert!(node.plane.serves(&state(50, 1)));

        let second = Operator::with(&authority, port, ServeOptions::default()).await;
        eventually(|| node.link.borrow().connected, "connected").await;
        assert!(node.plane.serves(&state(50, 1)), "it has published nothing yet: nothing changes");
        second.publish(&state(50, 1));
        eventually(|| second.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [100], "the data plane was left alone");
        second.publish(&state(51, 1));
        eventually(|| second.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [100, 2]);
    });
}

#[test]
fn a_rotated_certificate_breaks_nothing_and_a_new_ca_is_read_when_it_is_needed() {
    on_this_thread(async {
        let (old, new) = (Authority::new(), Authority::new());
        let operator = Operator::start(&old).await;
        let disk = Disk::new(&old);
        let node = disk.start(operator.port);
        operator.publish(&state(1, 1));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        operator.tls.send_replace(new.server(crate::trust::NAME));
        operator.publish(&state(1, 2));
        eventually(|| operator.acknowledged(1), "the connection that was there goes on").await;
        assert!(node.link.borrow().connected);

        operator.fleet.set_leading(false);
        operator.fleet.set_leading(true);
        eventually(|| node.trouble().contains("certificate"), "the new CA is not trusted yet")
            .await;
        disk.trust(&new);
        operator.publish(&state(1, 3));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert!(node.plane.serves(&state(1, 3)));
    });
}

#[test]
fn an_operator_of_another_name_is_not_believed() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        operator.tls.send_replace(authority.server("elsewhere.svc"));
        operator.publish(&state(1, 1));
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        eventually(|| node.trouble().contains("not valid for name"), "refused").await;
        assert!(node.plane.look().changes.is_empty());
    });
}

#[test]
fn what_is_missing_on_the_node_is_named() {
    on_this_thread(async {
        let authority = Authority::new();
        let disk = Disk::new(&authority);
        let node = disk.start(1);
        eventually(|| node.trouble().contains("cannot connect to 127.0.0.1:1"), "address").await;
        disk.token(" \n");
        eventually(|| node.trouble().contains("token holds no token"), "token").await;
        std::fs::write(disk.path("ca.crt"), "no PEM").expect("written");
        eventually(|| node.trouble().contains("ca.crt: the trust anchors hold no"), "CA").await;
        std::fs::remove_file(disk.path("ca.crt")).expect("removed");
        eventually(|| node.trouble().contains("cannot read"), "no CA").await;
    });
}
