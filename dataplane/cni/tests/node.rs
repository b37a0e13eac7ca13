//! The plugin as a runtime starts it, with an agent's clerk, in namespaces of the test. Needs root.

mod support;

use serde_json::json;
use std::{collections::BTreeSet, thread, time::Duration};
use support::{Node, Pod, run};

#[test]
fn pods_are_added_checked_and_removed_as_the_specification_says() {
    let node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.plugin("STATUS", &pods[0], json!({})).fails(50);
    node.tell(1, &["10.0.0.16/28"]);
    node.plugin("STATUS", &pods[0], json!({})).ok();
    let added = node.plugin("ADD", &pods[0], json!({})).ok();
    let first = node.add(&pods[0]);
    assert_eq!(added["ips"][0]["address"], format!("{first}/32"), "asked twice, given once");
    let second = node.add(&pods[1]);
    assert_ne!(first, second);
    pods[0].listen(first);
    pods[1].reaches(first);

    node.plugin("CHECK", &pods[0], json!({"prevResult": added})).ok();
    let stranger = json!({"prevResult": {"ips": [{"address": "10.0.0.99/32"}]}});
    let message = node.plugin("CHECK", &pods[0], stranger).fails(100);
    assert!(message.contains("10.0.0.99"), "{message}");
    node.plugin("CHECK", &pods[2], json!({})).fails(3);
    run(&format!("ip -n {} link set eth0 down", pods[0].namespace.0));
    let message = node.plugin("CHECK", &pods[0], json!({})).fails(100);
    assert!(message.contains("eth0 is down"), "{message}");

    assert_eq!(node.devices(), 2);
    for _ in 0..2 {
        node.plugin("DEL", &pods[0], json!({})).ok();
    }
    assert_eq!(node.devices(), 1);
    node.eventually(|counts| counts.used == 1);
    // What the runtime does not know any more is nobody's.
    let valid = json!({"cni.dev/valid-attachments": []});
    node.plugin("GC", &pods[0], valid).ok();
    node.eventually(|counts| counts.used == 0);
    let versions = node.plugin("VERSION", &pods[0], json!({})).ok();
    assert!(versions["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")));
    node.plugin("ADD", &pods[2], json!({"cniVersion": "7.0.0"})).fails(1);
}

#[test]
fn a_plugin_waits_for_an_agent_that_restarts_and_nothing_is_forgotten() {
    let mut node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.tell(1, &["10.0.0.16/28"]);
    let first = node.add(&pods[0]);
    node.stop();
    let waits = node.plugin("ADD", &pods[1], json!({}));
    // A pod can be removed meanwhile; the agent finds out.
    thread::sleep(Duration::from_millis(500));
    node.start();
    let second = waits.ok()["ips"][0]["address"].as_str().unwrap().to_owned();
    assert_ne!(second, format!("{first}/32"));
    assert_eq!(node.add(&pods[0]), first);
    assert_eq!(node.agent().report.borrow().in_use(), 2);

    // A file that means nothing: what pods have is taken from their devices.
    node.stop();
    std::fs::write(node.file(), "{").unwrap();
    node.start();
    node.tell(2, &["10.0.0.16/28"]);
    node.eventually(|counts| counts.used == 2);
    let third = node.add(&pods[2]);
    let all: BTreeSet<String> = [format!("{first}/32"), second, format!("{third}/32")].into();
    assert_eq!(all.len(), 3, "{all:?}");
    let aside = std::fs::read_dir(node.file().parent().unwrap()).unwrap();
    let names: Vec<_> = aside.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains("unreadable")), "{names:?}");
}

#[test]
fn a_pod_for_which_there_is_no_address_waits_and_then_is_told_why() {
    let node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.tell(1, &["10.0.0.17"]);
    node.add(&pods[0]);
    let waits = node.plugin("ADD", &pods[1], json!({}));
    node.eventually(|counts| counts.waiting == 1);
    assert_eq!(node.agent().report.borrow().pending, 1, "the operator hears of it");
    node.tell(2, &["10.0.0.17", "10.0.0.18"]);
    assert_eq!(waits.ok()["ips"][0]["address"], "10.0.0.18/32");
    let message = node.plugin("ADD", &pods[2], json!({})).fails(11);
    assert!(message.contains("2 of 2 are in use"), "{message}");
    // One whose runtime gave up waits no more.
    let mut ended = node.plugin("ADD", &pods[2], json!({}));
    node.eventually(|counts| counts.waiting == 1);
    ended.0.kill().unwrap();
    let _ = ended.0.wait();
    node.eventually(|counts| counts.waiting == 0);
}

/// With `--nocapture` it prints what `make bench BENCH=addresses` shows. The bound is that of a busy
/// machine and a build for tests.
#[test]
fn two_hundred_pods_at_once_all_get_addresses_of_their_own() {
    const PODS: usize = 200;
    let blocks: Vec<_> =
        (0..2 * PODS / 16 + 1).map(|n| format!("10.0.{}.{}/28", n / 16, n % 16 * 16)).collect();
    let blocks: Vec<_> = blocks.iter().map(String::as_str).collect();
    let processors = thread::available_parallelism().unwrap().get();
    for (name, at_a_time) in [("as many as processors", processors), ("all at once", PODS)] {
        let node = Node::new();
        node.tell(1, &blocks);
        let pods: Vec<_> = (0..PODS).map(|n| Pod::new(&n.to_string())).collect();
        let took = node.burst(&pods, at_a_time);
        node.eventually(|counts| counts.used == PODS);
        assert_eq!(node.devices(), PODS);
        let inside = node.inside() * 1000.0;
        let millis = |n: usize| took[n].as_secs_f64() * 1000.0;
        println!(
            "ADD of {PODS} pods, {name}: inside {inside:.1} ms, plugin {:.1} ms, median {:.1} ms",
            millis(PODS * 99 / 100),
            millis(PODS / 2)
        );
        assert!(took[PODS * 99 / 100] < Duration::from_secs(10), "{took:?}");
    }
}
