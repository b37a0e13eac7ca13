//! The control loop without files and sockets.

use super::*;
use crate::loader::{Snapshot, SourceFile, load};
use penstock_config::{Key, Kind};

const BASE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: penstock
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {type: ExternalName, externalName: localhost, ports: [{port: 3000}]}
";

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: app, port: 3000}]}]
";

fn objects(text: &str) -> Vec<Located> {
    let file = SourceFile { path: "dir/a.yaml".into(), content: text.as_bytes().into() };
    let loaded = load(&Snapshot { files: vec![file], diagnostics: Vec::new() });
    assert_eq!(loaded.diagnostics, []);
    loaded.objects
}

fn acknowledged() -> Confirmation {
    Confirmation { acknowledged: true, ..Confirmation::default() }
}

fn apply(controller: &mut Controller, text: &str) -> (Delta, Vec<String>) {
    controller.accept(objects(text));
    let planned = controller.plan(0);
    let delta = planned.delta.clone();
    let changes = controller.confirm(planned, acknowledged());
    (delta, changes.iter().map(show).collect())
}

fn show(change: &Change) -> String {
    match change {
        Change::Verdict(verdict) => verdict.to_string(),
        Change::Removed(id) => format!("removed {id}"),
    }
}

#[test]
fn only_what_changed_is_sent_and_told() {
    let mut controller = Controller::new(Mode::Standalone);
    let (_, told) = apply(&mut controller, &format!("{BASE}{ROUTE}"));
    assert_eq!(
        told,
        [
            "accepted  GatewayClass penstock",
            "accepted  Gateway default/web: listener http with 1 route",
            "accepted  HTTPRoute default/r: attached to default/web",
        ]
    );
    let (delta, told) = apply(&mut controller, &format!("{BASE}{ROUTE}"));
    assert!(delta.is_empty());
    assert_eq!(told, [] as [&str; 0]);

    let moved = format!("{BASE}{ROUTE}").replace("3000", "3001");
    let (delta, told) = apply(&mut controller, &moved);
    let upserts: Vec<String> = delta.upserts.iter().map(|r| r.key.to_string()).collect();
    assert_eq!(upserts.len(), 3, "backend, endpoints and rule: {upserts:?}");
    assert_eq!(told, [] as [&str; 0], "the status is the same");

    let (delta, told) = apply(&mut controller, BASE);
    assert_eq!(delta.upserts, []);
    assert_eq!(
        told,
        [
            "removed HTTPRoute default/r",
            "accepted  Gateway default/web: listener http with 0 routes"
        ]
    );
}

#[test]
fn what_the_proxy_refuses_is_told_and_tried_again() {
    let mut controller = Controller::new(Mode::Standalone);
    controller.accept(objects(BASE));
    let planned = controller.plan(0);
    let key = Key::new(Kind::Listener, "default/web/http");
    assert!(planned.delta.upserts.iter().any(|r| r.key == key));
    let refused = (key.clone(), "PortUnavailable".to_owned(), "port 80 is taken".to_owned());
    let confirmation = Confirmation { refused: vec![refused], ..acknowledged() };
    let told: Vec<String> = controller.confirm(planned, confirmation).iter().map(show).collect();
    assert!(told.iter().any(|t| t.contains("refused   Gateway default/web")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("listener http") && t.contains("port 80 is taken")));

    let again = controller.plan(0);
    assert_eq!(again.delta.upserts.iter().map(|r| &r.key).collect::<Vec<_>>(), [&key]);
    let told: Vec<String> = controller.confirm(again, acknowledged()).iter().map(show).collect();
    assert_eq!(told, ["accepted  Gateway default/web: listener http with 0 routes"]);
    assert!(controller.plan(0).delta.is_empty());
}

#[test]
fn a_generation_counts_the_changes_of_one_object() {
    let mut controller = Controller::new(Mode::Standalone);
    let generation = |c: &Controller, kind: &str| {
        let verdict = c.verdicts().find(|v| v.id.kind.name() == kind).expect("a verdict");
        verdict.status["conditions"][0]["observedGeneration"].clone()
    };
    apply(&mut controller, BASE);
    assert_eq!(generation(&controller, "Gateway"), 1);
    apply(&mut controller, &BASE.replace("port: 80", "port: 81"));
    assert_eq!(generation(&controller, "Gateway"), 2);
    assert_eq!(generation(&controller, "GatewayClass"), 1);
}

#[test]
fn a_missing_filter_is_told_at_its_route_and_everything_else_is_accepted() {
    let filter = "filters: [{type: ExtensionRef, extensionRef: {group: penstock.dev, kind: \
                  WasmFilter, name: nowhere}}], backendRefs";
    let text = format!("{BASE}{}", ROUTE.replace("backendRefs", filter));
    let mut controller = Controller::new(Mode::Standalone);
    let (_, told) = apply(&mut controller, &text);
    let route = told.iter().find(|t| t.contains("HTTPRoute")).expect("told");
    assert!(route.starts_with("refused   HTTPRoute default/r\n            parent default/web: ResolvedRefs (InvalidFilter): "), "{route}");
    assert!(route.contains("WasmFilter default/nowhere does not exist"), "{route}");
    assert_eq!(told.iter().filter(|t| t.starts_with("refused")).count(), 1);
}
