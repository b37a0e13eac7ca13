//! Compiled modules come before what uses them.

use crate::{
    node::Disk,
    operator::{Operator, eventually, on_this_thread, state, with_filter},
    trust::Authority,
};
use bytes::Bytes;
use std::time::Instant;

fn digest(of: u8) -> String {
    format!("sha256:{}", format!("{of:02x}").repeat(32))
}

#[test]
fn a_module_is_loaded_before_the_filter_that_uses_it_is_applied() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let module: Bytes = [&b"signed"[..], &vec![7; 3_000_000]].concat().into();
        operator.shelf.lock().insert(digest(1), module.clone());
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        operator.publish(&with_filter(state(1, 1), &digest(1)));
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert_eq!(operator.fleet.confirmation(Instant::now()).refused, []);
        assert_eq!(node.plane.look().modules.get(&digest(1)), Some(&module));
    });
}

#[test]
fn a_module_that_cannot_be_loaded_refuses_its_filter_and_comes_later() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let put = |module: &'static [u8]| {
            operator.shelf.lock().insert(digest(1), module.into());
        };
        put(b"unsigned");
        let disk = Disk::new(&authority);
        let node = disk.start(operator.port);
        operator.publish(&with_filter(state(1, 1), &digest(1)));
        eventually(|| operator.acknowledged(1), "the rest serves").await;
        let refused = || operator.fleet.confirmation(Instant::now()).refused;
        assert_eq!(refused()[0].key.to_string(), "filter n/filter");
        put(b"signed");
        eventually(|| refused().is_empty(), "loaded later, without a change").await;
        assert!(operator.acknowledged(1));
        assert_eq!(node.plane.look().changes, [3, 1], "only the filter was applied again");
    });
}

#[test]
fn modules_are_kept_with_the_configuration() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        for of in [1, 2] {
            operator.shelf.lock().insert(digest(of), b"signed".as_slice().into());
        }
        let disk = Disk::new(&authority);
        let node = disk.start_stored(operator.port);
        for of in [1, 2] {
            operator.publish(&with_filter(state(1, 1), &digest(of)));
            eventually(|| operator.acknowledged(1), "acknowledged").await;
        }
        node.stop().await;
        let port = operator.port;
        operator.stop().await;

        let node = disk.start_stored(port);
        let serves = || node.plane.serves(&with_filter(state(1, 1), &digest(2)));
        eventually(serves, "it serves what is stored").await;
        assert_eq!(node.plane.look().modules.keys().collect::<Vec<_>>(), [&digest(2)]);
    });
}
