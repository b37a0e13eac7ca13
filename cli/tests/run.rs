//! `penstock run` as a process, on real sockets.

mod support;

use penstock_test_ports::free_port;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};
use support::{Process, backend, get, get_until, site, write};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn it_serves_follows_changes_and_serves_on_while_a_file_is_broken() {
    let (one, two) = (backend("one", Duration::ZERO), backend("two", Duration::ZERO));
    let port = free_port();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("site.yaml");
    write(&file, site(port, one));
    let mut penstock = Process::start(&["run", "-f", dir.path().to_str().expect("UTF-8")]);
    penstock.expect("accepted  HTTPRoute default/app: attached to default/web");
    penstock.expect(&format!("listening on 127.0.0.1:{port}"));
    get_until(local(port), "/", (200, "one"));

    write(&file, site(port, two));
    get_until(local(port), "/", (200, "two"));

    write(&file, site(port, one).replace("listeners:", "listener:"));
    let said = penstock.expect("unknown");
    assert!(said.contains("site.yaml:11:3: Gateway default/web: spec"), "{said}");
    penstock.expect("what was served is served on");
    get_until(local(port), "/", (200, "two"));

    write(&file, site(port, one));
    penstock.expect("all files can be read again");
    get_until(local(port), "/", (200, "one"));

    fs::remove_file(&file).expect("removed");
    write(
        &dir.path().join("base.yaml"),
        site(port, one).split("---\n").take(3).collect::<Vec<_>>().join("---\n"),
    );
    penstock.expect("removed   HTTPRoute default/app");
    get_until(local(port), "/gone", (404, &get(local(port), "/gone").expect("an answer").1));
}

#[test]
fn at_the_start_what_is_well_is_served_beside_what_is_broken() {
    let port = free_port();
    let dir = tempfile::tempdir().expect("a folder");
    write(&dir.path().join("a.yaml"), site(port, backend("well", Duration::ZERO)));
    write(&dir.path().join("b.yaml"), "a: [1\n");
    let mut penstock = Process::start(&["run", "-f", dir.path().to_str().expect("UTF-8")]);
    let said = penstock.expect("b.yaml:1:4: unclosed bracket");
    assert!(!said.contains("not applied"));
    penstock.expect("listening on");
    get_until(local(port), "/", (200, "well"));
}

#[test]
fn an_occupied_port_is_told_with_a_remedy_and_taken_when_it_is_free() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (taken, free) = (other.local_addr().expect("an address").port(), free_port());
    let dir = tempfile::tempdir().expect("a folder");
    let two = format!("listeners: [{{name: free, protocol: HTTP, port: {free}}}, ");
    let text = site(taken, backend("app", Duration::ZERO)).replace("listeners: [", &two);
    write(&dir.path().join("site.yaml"), text);
    let mut penstock = Process::start(&["run", "-f", dir.path().to_str().expect("UTF-8")]);
    let said = penstock.expect("is in use by another process");
    assert!(said.contains("listener http") && said.contains("--port-offset"), "{said}");
    get_until(local(free), "/", (200, "app"));

    drop(other);
    penstock.signal("HUP");
    penstock.expect(&format!("listening on 127.0.0.1:{taken}"));
    get_until(local(taken), "/", (200, "app"));
}

#[test]
fn sigterm_finishes_the_requests_in_flight_and_ends() {
    let port = free_port();
    let dir = tempfile::tempdir().expect("a folder");
    write(&dir.path().join("site.yaml"), site(port, backend("slow", Duration::from_secs(1))));
    let mut penstock = Process::start(&["run", "-f", dir.path().to_str().expect("UTF-8")]);
    penstock.expect("listening on");
    let client = thread::spawn(move || get(local(port), "/"));
    thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    penstock.signal("TERM");
    penstock.expect("ending: requests in flight are finished");
    assert_eq!(client.join().expect("a client"), Some((200, "slow".into())));
    penstock.expect("ended");
    assert_eq!(penstock.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "it waited for nothing");
    assert_eq!(get(local(port), "/"), None);
}

#[test]
fn the_admin_port_tells_health_metrics_and_the_configuration() {
    let (port, admin) = (free_port(), free_port());
    let dir = tempfile::tempdir().expect("a folder");
    write(&dir.path().join("site.yaml"), site(port, backend("app", Duration::ZERO)));
    let mut penstock = Process::start(&[
        "run",
        "-f",
        dir.path().to_str().expect("UTF-8"),
        "--admin",
        &local(admin).to_string(),
        "-o",
        "json",
    ]);
    penstock.expect("\"event\":\"listening\"");
    get_until(local(port), "/", (200, "app"));
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(local(admin), path).expect("an answer").0, 200, "{path}");
    }
    let (_, metrics) = get(local(admin), "/metrics").expect("an answer");
    assert!(metrics.contains("penstock_"), "{metrics}");
    let (_, config) = get(local(admin), "/config").expect("an answer");
    assert!(config.contains("default/web/http"), "{config}");
}

#[test]
fn a_filter_that_cannot_be_used_answers_500_on_its_rule_alone() {
    let app = backend("app", Duration::ZERO);
    let port = free_port();
    let dir = tempfile::tempdir().expect("a folder");
    let rule = format!(
        "rules:
  - matches: [{{path: {{type: PathPrefix, value: /filtered}}}}]
    filters:
    - {{type: ExtensionRef, extensionRef: {{group: penstock.dev, kind: WasmFilter, name: f}}}}
    backendRefs: [{{name: app, port: {app}}}]
  - backendRefs: [{{name: app, port: {app}}}]
---
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{name: f}}
spec: {{module: {{file: {{path: f.wasm}}}}}}
"
    );
    let text = site(port, app);
    let text = format!("{}{rule}", &text[..text.find("rules:").expect("rules")]);
    write(&dir.path().join("site.yaml"), text);
    let mut penstock = Process::start(&["run", "-f", dir.path().to_str().expect("UTF-8")]);
    penstock.expect("ResolvedRefs (ModuleNotFound): module file f.wasm");
    penstock.expect("listening on");
    get_until(local(port), "/", (200, "app"));
    assert_eq!(get(local(port), "/filtered").expect("an answer").0, 500);
    write(&dir.path().join("f.wasm"), "no component");
    penstock.expect("Accepted (ModuleInvalid)");
    assert_eq!(get(local(port), "/filtered").expect("an answer").0, 500);
}

#[test]
fn a_path_that_does_not_exist_ends_the_start_with_a_remedy() {
    let output =
        support::penstock().args(["run", "-f", "no/such/folder"]).output().expect("penstock runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no/such/folder cannot be read: check the path given with -f"), "{said}");
}

#[test]
fn the_quickstart_answers_as_written_beside_it() {
    let modules = support::root().join("filters/dist/header-rules.wasm");
    assert!(modules.exists(), "build the filters first: cargo xtask filters");
    let output = support::penstock()
        .args(["demo", "examples/quickstart", "--once"])
        .output()
        .expect("penstock runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("every answer is as expected"), "{said}");
}
