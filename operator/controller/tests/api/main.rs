//! The operator against a real API server, with nodes that only say that they serve.

#![expect(clippy::disallowed_methods, reason = "here operators and nodes run on any thread")]

mod addresses;
mod rig;

use objects::{condition, route, wait};
use penstock_test_api_server::{objects, server};
use rig::Rig;
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use tokio::sync::Mutex;

/// One at a time: all see the same API server.
static TURN: Mutex<()> = Mutex::const_new(());

fn test<F: Future<Output = ()>>(run: impl FnOnce(&'static server::Server) -> F) {
    let server = server::shared();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let _turn = TURN.lock().await;
        run(server).await;
    });
}

fn listener<'a>(gateway: &'a Value, field: &str) -> &'a Value {
    &gateway["status"]["listeners"][0][field]
}

fn route_condition(route: &Value, type_: &str) -> String {
    condition(&route["status"]["parents"][0]["conditions"], type_)
}

#[test]
fn statuses_come_true_when_a_node_has_acknowledged_and_a_refusal_names_its_route() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let replica = rig.operator("a").await;
        let node = rig.node(replica.at, "proxy-1").await;

        let (good, bad) = (route(&rig.user, "good", "/good"), route(&rig.user, "bad", "/bad"));
        let refuse = (format!("{}/bad/", rig.user), "too clever".to_owned());
        node.state.lock().refuse.extend([refuse]);
        objects::apply(&client, good.clone()).await;
        objects::apply(&client, bad.clone()).await;
        wait(&client, &objects::class(), "the class", |v| {
            condition(&v["status"]["conditions"], "Accepted") == "True Accepted 1"
        })
        .await;
        wait(&client, &good, "the good route", |v| {
            route_condition(v, "Accepted") == "True Accepted 1"
                && route_condition(v, "ResolvedRefs") == "True ResolvedRefs 1"
                && route_condition(v, "PartiallyInvalid") == "none"
        })
        .await;
        let refused = wait(&client, &bad, "the bad route", |v| {
            route_condition(v, "PartiallyInvalid") == "True UnsupportedValue 1"
        })
        .await;
        assert!(refused.to_string().contains("too clever"), "{refused:#}");
        let gateway = objects::gateway(&rig.user, 80);
        wait(&client, &gateway, "both routes", |v| *listener(v, "attachedRoutes") == json!(2))
            .await;

        // Another generation.
        objects::apply(&client, objects::gateway(&rig.user, 81)).await;
        wait(&client, &gateway, "generation 2", |v| {
            condition(listener(v, "conditions"), "Programmed") == "True Programmed 2"
        })
        .await;
        assert!(node.count("rule ") >= 2, "it is told both");
        let event = wait_for_event(&rig, "HTTPRoute", "bad").await;
        assert!(event.to_string().contains("too clever"), "{event:#}");

        assert_eq!(replica.page("/livez").await.0, 200);
        assert_eq!(replica.page("/readyz").await.0, 200);
        assert_eq!(replica.metric("penstock_operator_leader", "").await, 1.0);
        assert_eq!(replica.metric("penstock_operator_stream_nodes", "proxy").await, 1.0);
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "penstock-stream-leader", "namespace": rig.system},
        });
        let slice = objects::get(&client, &slice).await;
        assert_eq!(slice["endpoints"][0]["addresses"][0], "192.0.2.10");
        node.end().await;
        replica.end().await;
        let lease = objects::get(&client, &lease(&rig)).await;
        assert_eq!(lease["spec"]["holderIdentity"], "", "given back");
        rig.clean().await;
    });
}

#[test]
fn a_thousand_routes_are_written_once_each_the_gateway_rarely_and_at_rest_nothing() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let replica = rig.operator("a").await;
        let node = rig.node(replica.at, "proxy-1").await;
        let gateway = objects::gateway(&rig.user, 80);
        wait(&client, &gateway, "the Gateway", |v| !listener(v, "attachedRoutes").is_null()).await;
        for n in 0..1000 {
            objects::apply(&client, route(&rig.user, &format!("r{n}"), &format!("/{n}"))).await;
        }
        wait(&client, &gateway, "all routes", |v| *listener(v, "attachedRoutes") == json!(1000))
            .await;
        let last = route(&rig.user, "r999", "/999");
        wait(&client, &last, "the last route", |v| {
            route_condition(v, "Accepted") == "True Accepted 1"
        })
        .await;
        let written = |kind: &'static str| {
            let labels = format!("kind=\"{kind}\",result=\"written\"");
            let replica = &replica;
            async move { replica.metric("penstock_operator_writes_total", &labels).await }
        };
        assert_eq!(written("HTTPRoute").await, 1000.0);
        assert!(written("Gateway").await <= 50.0, "{}", written("Gateway").await);
        assert_eq!(node.count("rule "), 1000);
        let before = replica.metric("penstock_operator_writes_total", "").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(replica.metric("penstock_operator_writes_total", "").await, before, "at rest");
        node.end().await;
        replica.end().await;
        rig.clean().await;
    });
}

#[test]
fn a_standby_takes_over_when_the_leader_ends_and_nothing_that_is_served_changes() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let first = rig.operator("a").await;
        wait(&client, &lease(&rig), "a leader", |v| v["spec"]["holderIdentity"] == "a").await;
        let second = rig.operator("b").await;
        let one = route(&rig.user, "one", "/one");
        objects::apply(&client, one.clone()).await;
        let node = rig.node(first.at, "proxy-1").await;
        wait(&client, &one, "the route", |v| route_condition(v, "Accepted") == "True Accepted 1")
            .await;
        assert_eq!(second.metric("penstock_operator_writes_total", "").await, 0.0, "on standby");
        // It lists everything for itself: the leader's answer may come before.
        second.ready().await;
        assert_eq!(second.metric("penstock_operator_writes_total", "").await, 0.0, "and warm");
        let rejected = rig.node(second.at, "proxy-2").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rejected.count("rule "), 0, "a standby serves no node");
        rejected.end().await;

        let served = node.state.lock().state.clone();
        first.end().await;
        wait(&client, &lease(&rig), "another leader", |v| v["spec"]["holderIdentity"] == "b").await;
        node.end().await;
        let node = rig.node(second.at, "proxy-3").await;
        let gateway = objects::gateway(&rig.user, 80);
        let two = route(&rig.user, "two", "/two");
        objects::apply(&client, two.clone()).await;
        wait(&client, &two, "the second route", |v| {
            route_condition(v, "Accepted") == "True Accepted 1"
        })
        .await;
        objects::delete(&client, &two).await;
        wait(&client, &gateway, "one route", |v| *listener(v, "attachedRoutes") == json!(1)).await;
        let end = std::time::Instant::now() + objects::PATIENCE;
        while node.state.lock().state.version() != served.version() {
            let difference = served.diff(&node.state.lock().state);
            assert!(std::time::Instant::now() < end, "not equal on every replica: {difference:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        node.end().await;
        second.end().await;
        rig.clean().await;
    });
}

#[test]
fn a_kind_that_is_installed_later_is_picked_up_and_one_that_goes_is_let_go() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        for definition in objects::definitions() {
            let value = serde_json::to_value(&definition).expect("JSON");
            objects::delete(&client, &value).await;
            wait(&client, &value, "no definition", Value::is_null).await;
        }
        let replica = rig.operator("a").await;
        replica.ready().await;
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let one = route(&rig.user, "one", "/one");
        objects::apply(&client, one.clone()).await;
        let node = rig.node(replica.at, "proxy-1").await;
        wait(&client, &one, "the route", |v| route_condition(v, "Accepted") == "True Accepted 1")
            .await;
        assert_eq!(node.count("rule "), 1);
        node.end().await;
        replica.end().await;
        rig.clean().await;
    });
}

#[test]
fn what_is_served_stays_while_the_api_server_is_away_and_goes_on_when_it_is_back() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let replica = rig.operator("a").await;
        let one = route(&rig.user, "one", "/one");
        objects::apply(&client, one.clone()).await;
        let node = rig.node(replica.at, "proxy-1").await;
        wait(&client, &one, "the route", |v| route_condition(v, "Accepted") == "True Accepted 1")
            .await;
        let version = || node.state.lock().state.version();
        // A status of one object comes before what follows from the others.
        let mut served = version();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let before = std::mem::replace(&mut served, version());
            if before == served {
                break;
            }
        }

        server.kill_api_server();
        // Longer than the lease: the replica does not lead any more.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(replica.metric("penstock_operator_leader", "").await, 0.0);
        assert_eq!(version(), served);
        tokio::task::spawn_blocking(|| server::shared().api_server()).await.expect("it starts");

        let two = route(&rig.user, "two", "/two");
        objects::apply(&client, two.clone()).await;
        wait(&client, &two, "a route made later", |v| {
            route_condition(v, "Accepted") == "True Accepted 1"
        })
        .await;
        assert_eq!(node.count("rule "), 2);
        let gateway = objects::get(&client, &objects::gateway(&rig.user, 80)).await;
        let programmed = condition(listener(&gateway, "conditions"), "Programmed");
        assert_eq!(programmed, "True Programmed 1");
        node.end().await;
        replica.end().await;
        rig.clean().await;
    });
}

#[test]
fn a_token_for_somebody_else_opens_no_stream() {
    test(|server| async move {
        let rig = Rig::new(server).await;
        let client = rig.client.clone();
        objects::install(&client, objects::definitions()).await;
        rig.base().await;
        let replica = rig.operator("a").await;
        wait(&client, &lease(&rig), "a leader", |v| v["spec"]["holderIdentity"] == "a").await;
        let other = rig.token("penstock-proxy", "node-1", "pod-1", "https://kubernetes").await;
        let garbled = format!("{other}x");
        for (pod, token) in [("pod-1", other.as_str()), ("pod-2", garbled.as_str())] {
            let mut node = rig.node_with(replica.at, pod, token).await;
            let refused = node.link.wait_for(|link| {
                link.trouble.as_ref().is_some_and(|trouble| trouble.contains("TokenInvalid"))
            });
            tokio::time::timeout(objects::PATIENCE, refused).await.expect("refused").expect("told");
            assert_eq!(node.count(""), 0, "it is told nothing");
            node.end().await;
        }
        replica.end().await;
        rig.clean().await;
    });
}

fn lease(rig: &Rig) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "penstock-operator", "namespace": rig.system},
    })
}

async fn wait_for_event(rig: &Rig, kind: &str, name: &str) -> Value {
    wait_for_event_in(rig, &rig.user, kind, name).await
}

async fn wait_for_event_in(rig: &Rig, namespace: &str, kind: &str, name: &str) -> Value {
    use k8s_openapi::api::events::v1::Event;
    let api: kube::Api<Event> = kube::Api::namespaced(rig.client.clone(), namespace);
    let end = std::time::Instant::now() + objects::PATIENCE;
    loop {
        let events = api.list(&kube::api::ListParams::default()).await.expect("a list");
        let found = events.items.into_iter().find(|event| {
            event.regarding.as_ref().is_some_and(|about| {
                about.kind.as_deref() == Some(kind) && about.name.as_deref() == Some(name)
            })
        });
        if let Some(event) = found {
            return serde_json::to_value(event).expect("JSON");
        }
        assert!(std::time::Instant::now() < end, "waiting for an event of {kind} {name}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
