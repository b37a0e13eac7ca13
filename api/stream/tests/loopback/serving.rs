//! What is published is served, and confirmed by those who serve it.

use crate::{
    node::Disk,
    operator::{Operator, eventually, identity, on_this_thread, state},
    trust::Authority,
};
use parking_lot::Mutex;
use penstock_config::{Certificate, Frontend, Gateway, Key, Kind, ResourceKind, State};
use penstock_stream::{ClientOptions, Identity, Role, ServeOptions};
use std::time::{Duration, Instant};

#[test]
fn a_change_is_served_and_acknowledged() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        eventually(|| node.link.borrow().connected, "connected").await;
        assert!(node.plane.look().changes.is_empty(), "nothing is published, nothing is touched");
        for port in 1..20 {
            operator.publish(&state(3, port));
            eventually(|| operator.acknowledged(1), "acknowledged").await;
            assert!(node.plane.serves(&state(3, port)), "it was swapped before");
        }
        assert_eq!(node.plane.look().changes[0], 6);
        assert!(node.plane.look().changes[1..].iter().all(|size| *size == 3), "only what changed");
        let views = operator.fleet.views(Instant::now());
        assert_eq!((&*views[0].engine, &*views[0].target), ("engine-1", "x86-64-v3"));
        assert_eq!(node.link.borrow().version, Some(state(3, 19).version()));
    });
}

/// What [`ClientOptions::follow`] was given.
static FOLLOWED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_node_applies_within_the_trace_of_the_change_and_one_that_comes_later_does_not() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        operator.publish_traced(&state(3, 1), "before");
        let disk = Disk::new(&authority);
        let follow = |_: &tracing::Span, told: &str| FOLLOWED.lock().push(told.to_owned());
        let options = disk.options(operator.port);
        let _node = crate::node::Node::start(ClientOptions { follow, ..options });
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        operator.publish(&state(3, 2));
        eventually(|| operator.acknowledged(1), "acknowledged without a trace").await;
        // In several parts, the last of which says it.
        operator.publish_traced(&state(10_000, 3), "change");
        eventually(|| operator.acknowledged(1), "acknowledged in a trace").await;
        assert_eq!(*FOLLOWED.lock(), ["change"]);
    });
}

#[test]
fn an_empty_configuration_is_one() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        operator.publish(&State::default());
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [0], "the data plane knows that there is nothing");
    });
}

#[test]
fn what_a_node_refuses_is_known_by_name() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        let key = Key::new(Kind::Endpoints, "n/b1:80");
        node.plane.look().refuse.insert(key.clone());
        operator.publish(&state(3, 1));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        let refused = operator.fleet.confirmation(Instant::now()).refused;
        assert_eq!((&refused[0].key, &*refused[0].reason), (&key, "Unusable"));
        node.plane.look().refuse.clear();
        operator.publish(&state(3, 2));
        eventually(
            || {
                operator.acknowledged(1)
                    && operator.fleet.confirmation(Instant::now()).refused.is_empty()
            },
            "no longer refused",
        )
        .await;
    });
}

#[test]
fn an_agent_is_told_where_clients_come_in_and_nothing_else() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let agent = Identity { role: Role::Agent, ..identity("agent-1") };
        operator.tokens.lock().insert("agent".into(), agent);
        let disk = Disk::new(&authority);
        disk.token("agent");
        let options = disk.options(operator.port);
        let node = crate::node::Node::start(ClientOptions {
            pod: "agent-1".into(),
            role: Role::Agent,
            ..options
        });
        let told = [
            ResourceKind::Gateway(Gateway { name: "n/gw".into(), ..Gateway::default() }),
            ResourceKind::Frontend(Frontend {
                gateway: "n/gw".into(),
                port: 443,
                ..Default::default()
            }),
        ];
        let certificate = Certificate {
            name: "n/cert".into(),
            key_pem: b"secret".to_vec(),
            ..Certificate::default()
        };
        let secret = ResourceKind::Certificate(certificate);
        operator.publish(&told.iter().cloned().chain([secret]).collect());
        eventually(|| node.plane.serves(&told.iter().cloned().collect()), "told").await;
        assert!(!operator.acknowledged(1), "an agent serves no requests");
    });
}

#[test]
fn a_node_that_ends_leaves_at_once_and_one_that_is_cut_off_stays_a_while() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        operator.publish(&state(1, 1));
        let node = disk.start(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        node.stop().await;
        eventually(|| operator.fleet.views(Instant::now()).is_empty(), "gone").await;

        let node = disk.start(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        node.kill().await;
        let views = || operator.fleet.views(Instant::now());
        eventually(|| views().iter().all(|view| !view.connected), "cut off").await;
        assert!(operator.acknowledged(1), "it may be back in a moment");
        eventually(|| !operator.acknowledged(1), "silent").await;
    });
}

#[test]
fn a_node_proves_itself_again_from_time_to_time_and_serves_on() {
    on_this_thread(async {
        let authority = Authority::new();
        let options =
            ServeOptions { stream_age: Duration::from_millis(300), ..ServeOptions::default() };
        let operator = Operator::with(&authority, 0, options).await;
        let disk = Disk::new(&authority);
        operator.publish(&state(2, 1));
        let node = disk.start(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        disk.token("rotated");
        eventually(|| node.trouble().contains("TokenInvalid"), "the old token was not enough")
            .await;
        operator.tokens.lock().insert("rotated".into(), identity("pod-1"));
        eventually(|| node.link.borrow().connected, "connected again").await;
        operator.publish(&state(2, 2));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [4, 2], "nothing was sent twice");
    });
}
