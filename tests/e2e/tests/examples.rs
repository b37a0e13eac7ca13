//! The examples do what their pages say.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{
    Backend, Gateway, edge_on, eventually, filters_folder, free_address, get_at, penstock,
    repository,
};
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The port in `examples/tls/gateway.yaml`.
const TLS_PORT: u16 = 8443;

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn make_certificates(folder: &Path) -> Result<()> {
    let script = repository().join("examples/tls/certificates.sh");
    let output = Command::new(script).arg(folder).output().context("cannot run certificates.sh")?;
    ensure!(output.status.success(), "certificates.sh needs openssl: {output:?}");
    Ok(())
}

/// The example with a backend of the test's: what it says of ports and paths holds elsewhere too.
fn tls_example(backend: &Backend) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let (built, port) = (filters_folder()?, backend.address.port().to_string());
    for file in ["gateway.yaml", "routes.yaml", "filters.yaml"] {
        let text = std::fs::read_to_string(repository().join("examples/tls").join(file))?;
        let text = text.replace("../../filters/dist", &built.display().to_string());
        std::fs::write(folder.path().join(file), text.replace("3000", &port))?;
    }
    Ok(folder)
}

fn penstock_on_example(command: &str, site: &Path, certificates: &Path) -> Result<Command> {
    let mut penstock = Command::new(penstock()?);
    penstock.args([command, "-f"]).arg(site).arg(certificates.join("certificates.yaml"));
    Ok(penstock)
}

/// One handshake and one request by openssl, which is none of ours.
fn ask(folder: &Path, port: u16, name: &str, identity: Option<&str>) -> Result<Output> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-verify_return_error", "-CAfile", "server-ca.crt"]);
    client.args(["-connect", &format!("127.0.0.1:{port}"), "-servername", name]);
    if let Some(identity) = identity {
        client.args(["-cert", &format!("{identity}.crt"), "-key", &format!("{identity}.key")]);
    }
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = client.current_dir(folder).spawn().context("openssl is needed")?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    // A server that refuses the handshake may be gone before the request is written.
    let mut input = child.stdin.take().context("no standard input")?;
    let _ = std::io::Write::write_all(&mut input, request.as_bytes());
    let output = child.wait_with_output();
    drop(input);
    Ok(output?)
}

#[test]
fn the_tls_example_is_accepted_and_lets_in_whom_its_page_says() -> Result<()> {
    let backend = Backend::start("shop", Duration::ZERO)?;
    let site = tls_example(&backend)?;
    let folder = tempfile::tempdir()?;
    make_certificates(folder.path())?;
    let checked = penstock_on_example("check", site.path(), folder.path())?.output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let (port, offset) = free_port_above(TLS_PORT)?;
    let mut gateway = penstock_on_example("run", site.path(), folder.path())?;
    gateway.args(["--workers", "1", "--port-offset", &offset.to_string()]);
    let gateway = gateway.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _gateway = Ended(gateway.spawn()?);
    let end = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < end, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let expect = |name, identity, expected: &str| {
        let output = ask(folder.path(), port, name, identity)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(said.contains(expected), "{name} as {identity:?}: {said}");
        Ok(())
    };
    // The backend repeats the fields that it gets.
    let billing = "x-client: spiffe://shop.example/billing";
    expect("www.shop.example", None, "HTTP/1.1 200")?;
    expect("www.shop.example", Some("other"), "HTTP/1.1 200")?;
    expect("api.shop.example", None, "alert certificate required")?;
    expect("api.shop.example", Some("other"), "alert access denied")?;
    expect("api.shop.example", Some("client"), billing)?;

    // New authorities for both sides while it runs.
    make_certificates(folder.path())?;
    let patience = Duration::from_secs(20);
    eventually("new handshakes see the new certificate", patience, || {
        expect("api.shop.example", Some("client"), billing)
    })
}

/// The example `ab-split` as its page describes it: who has chosen gets what they chose, anybody else
/// always the same.
#[test]
fn the_a_b_split_sends_each_client_to_one_backend() -> Result<()> {
    let (blue, green) =
        (Backend::start("blue", Duration::ZERO)?, Backend::start("green", Duration::ZERO)?);
    let address = free_address();
    let service = |name: &str, backend: &Backend| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\n\
             spec: {{ ports: [{{ name: http, port: 80 }}] }}\n---\n{}",
            backend.endpoint_slice("default", name)
        )
    };
    let site = format!(
        "{}apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: split }}
spec:
  module: {{ file: {{ path: {} }} }}
  config: {{ backends: [{{ name: blue, weight: 1 }}, {{ name: green, weight: 1 }}] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: app }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
  - filters:
    - {{ type: ExtensionRef, extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: split }} }}
    backendRefs: [{{ name: blue, port: 80 }}, {{ name: green, port: 80 }}]
---
{}{}",
        edge_on(address.port()),
        filters_folder()?.join("ab-split.wasm").display(),
        service("blue", &blue),
        service("green", &green)
    );
    let _gateway = Gateway::start(&[("site.yaml", &site)], &[])?;
    let ask = |fields: &str| get_at(address, "shop.example", "/", fields).map(|answer| answer.body);
    for chosen in ["blue", "green"] {
        let cookie = format!("cookie: theme=dark; variant={chosen}\r\n");
        ensure!(ask(&cookie)? == chosen, "who has chosen {chosen} gets it");
    }
    let assigned = ask("")?;
    ensure!(["blue", "green"].contains(&assigned.as_str()), "{assigned}");
    for fields in ["", "cookie: variant=red\r\n", "cookie: other=green\r\n"] {
        for _ in 0..5 {
            ensure!(ask(fields)? == assigned, "who has not chosen stays where they are: {fields}");
        }
    }
    Ok(())
}

/// What the pages of the policies that come with Penstock show can be used as it stands.
#[test]
fn the_filters_of_the_reference_pages_are_accepted() -> Result<()> {
    let built = filters_folder()?;
    for page in ["header-rules", "path-rewrite", "tls-policy"] {
        let text = std::fs::read_to_string(repository().join(format!("filters/{page}/README.md")))?;
        let blocks: Vec<&str> = text.split("```yaml\n").skip(1).collect();
        ensure!(!blocks.is_empty(), "{page} shows no filter");
        for block in blocks {
            let (example, _) = block.split_once("```").context("the block does not end")?;
            let example = example.replace("filters/dist", &built.display().to_string());
            let folder = tempfile::tempdir()?;
            std::fs::write(folder.path().join("filter.yaml"), example)?;
            let checked =
                Command::new(penstock()?).args(["check", "-f"]).arg(folder.path()).output()?;
            let said = String::from_utf8_lossy(&checked.stdout);
            ensure!(checked.status.success() && said.contains("all accepted"), "{page}: {said}");
        }
    }
    Ok(())
}

/// A free port, and how far it is above another.
fn free_port_above(base: u16) -> Result<(u16, u16)> {
    let port = free_address().port();
    Ok((port, port.checked_sub(base).context("the kernel chose a low port")?))
}
