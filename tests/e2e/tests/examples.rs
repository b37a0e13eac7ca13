//! The examples do what their pages say.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{filters_folder, penstock, repository};
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

fn penstock_on_example(command: &str, certificates: &Path) -> Result<Command> {
    let mut penstock = Command::new(penstock()?);
    penstock.args([command, "-f"]).arg(repository().join("examples/tls"));
    penstock.arg(certificates.join("certificates.yaml"));
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
    filters_folder()?;
    let folder = tempfile::tempdir()?;
    make_certificates(folder.path())?;
    let checked = penstock_on_example("check", folder.path())?.output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let (port, offset) = free_port_above(TLS_PORT)?;
    let mut gateway = penstock_on_example("run", folder.path())?;
    gateway.args(["--workers", "1", "--port-offset", &offset.to_string()]);
    let gateway = gateway.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _gateway = Ended(gateway.spawn()?);
    let end = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < end, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // No backend is up: an answer of the gateway is the sign that one is let in.
    for (name, identity, expected) in [
        ("www.shop.example", None, "HTTP/1.1 50"),
        ("www.shop.example", Some("other"), "HTTP/1.1 50"),
        ("api.shop.example", None, "alert certificate required"),
        ("api.shop.example", Some("other"), "alert access denied"),
        ("api.shop.example", Some("client"), "HTTP/1.1 50"),
    ] {
        let output = ask(folder.path(), port, name, identity)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(said.contains(expected), "{name} as {identity:?}: {said}");
    }
    Ok(())
}

/// A free port, and how far it is above another.
fn free_port_above(base: u16) -> Result<(u16, u16)> {
    let port = penstock_e2e::free_address().port();
    Ok((port, port.checked_sub(base).context("the kernel chose a low port")?))
}
