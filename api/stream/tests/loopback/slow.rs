//! A slow node costs the operator nothing.

use crate::{
    node::Disk,
    operator::{Operator, eventually, on_this_thread, state},
    raw,
    trust::Authority,
};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

#[test]
fn what_was_overtaken_while_a_node_was_busy_is_skipped() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        eventually(|| node.link.borrow().connected, "connected").await;
        node.plane.stop(true);
        for port in 1..200 {
            operator.publish(&state(1, port));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        node.plane.stop(false);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert!(node.plane.serves(&state(1, 199)));
        assert_eq!(node.plane.look().changes.len(), 2, "the first and the last");
    });
}

#[test]
fn a_node_is_alive_while_it_applies() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        operator.publish(&state(1, 1));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        node.plane.stop(true);
        operator.publish(&state(1, 2));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let found = operator.fleet.confirmation(Instant::now());
            assert_eq!((found.members, found.acknowledged), (1, false), "it holds the change up");
        }
        node.plane.stop(false);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
    });
}

/// A client that reads nothing: at most what it was being sent and what is newest are held.
#[test]
fn configurations_that_were_overtaken_are_not_held_for_a_node_that_reads_nothing() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let client = raw::Client::connect(&authority, operator.port).await;
        let stalled = client.open("good", [raw::hello("node-1", "pod-1", 1)]).await;
        let connected = || !operator.fleet.views(Instant::now()).is_empty();
        eventually(connected, "a stream").await;
        let mut published: Vec<Weak<_>> = Vec::new();
        for port in 1..40 {
            // Some megabytes: far more than a connection buffers.
            let state = Arc::new(state(10_000, port));
            published.push(Arc::downgrade(&state));
            operator.fleet.publish(state, "");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held = || published.iter().filter(|state| state.strong_count() > 0).count();
        assert!(held() <= 2, "{} of 39 configurations are held", held());
        drop((stalled, client));
        eventually(|| held() == 1, "only the newest").await;
    });
}
