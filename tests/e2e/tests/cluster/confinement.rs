//! What a process may do that parses what strangers send.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Site, node};
use penstock_test_cluster::Node;
use rustix::net::sockopt::set_ipv6_unicast_hops;

pub(crate) const ALL: &[super::Scenario] = &[
    ("the proxy has a network of its own, no privilege and no way to write or to the API", proxy),
    ("the agent has the capabilities that it needs and no other", agent),
    ("the metadata of the instance is out of the proxy's reach, whatever the hop limit", metadata),
];

const NAMESPACE: &str = "e2e-confinement";
const PROXY: &str = "penstock-proxy";
const AGENT: &str = "penstock-agent";
/// `CAP_NET_ADMIN`, `CAP_NET_RAW`, `CAP_PERFMON`, `CAP_BPF` (linux/capability.h).
const CAPABILITIES: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
/// Where instances of EC2 find their metadata.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

fn proxy(site: &Site) -> Result<()> {
    for node in &site.cluster().nodes() {
        let pid = node::process(node, PROXY)?;
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            expect(node, pid, capabilities, "0000000000000000")?;
        }
        expect(node, pid, "Seccomp", "2")?;
        expect(node, pid, "NoNewPrivs", "1")?;
        expect(node, pid, "Uid", "65532\t65532\t65532\t65532")?;
        expect(node, pid, "Gid", "65532\t65532\t65532\t65532")?;
        for namespace in ["net", "mnt", "pid", "ipc", "uts"] {
            let of = |pid: &str| node::run(node, &format!("readlink /proc/{pid}/ns/{namespace}"));
            ensure!(of(&pid.to_string())? != of("self")?, "it shares the node's {namespace}");
        }
        // Even root of the node cannot write there.
        let written = node::run(node, &format!("touch /proc/{pid}/root/file 2>&1 || true"))?;
        ensure!(written.contains("Read-only file system"), "{written:?}");
        // The one token that it has is for the operator, and the API server takes it for nobody's.
        let secrets = format!("/proc/{pid}/root/var/run/secrets");
        ensure!(node::run(node, &format!("ls {secrets}"))?.trim() == "penstock", "more secrets");
        let token = node::run(node, &format!("cat {secrets}/penstock/token"))?;
        let answer = as_bearer(site, token.trim())?;
        ensure!(answer.contains("Unauthorized"), "{answer}");
    }
    Ok(())
}

/// What the API server says to somebody with a token.
fn as_bearer(site: &Site, token: &str) -> Result<String> {
    let cluster = site.cluster();
    let view =
        site.kubectl(&["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
    let mut kubectl = cluster.client("kubectl");
    // Nothing of the administrator's.
    kubectl.env("KUBECONFIG", "/dev/null").args([
        "--insecure-skip-tls-verify",
        "get",
        "namespaces",
    ]);
    let output = kubectl.args(["--server", view.trim(), "--token", token]).output()?;
    ensure!(!output.status.success(), "it is let in");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn agent(site: &Site) -> Result<()> {
    for node in &site.cluster().nodes() {
        let pid = node::process(node, AGENT)?;
        for capabilities in ["CapPrm", "CapEff", "CapBnd"] {
            expect(node, pid, capabilities, &format!("{CAPABILITIES:016x}"))?;
        }
        expect(node, pid, "Seccomp", "2")?;
        expect(node, pid, "NoNewPrivs", "1")?;
        let written = node::run(node, &format!("touch /proc/{pid}/root/file 2>&1 || true"))?;
        ensure!(written.contains("Read-only file system"), "{written:?}");
    }
    Ok(())
}

fn expect(node: &Node, pid: u32, field: &str, expected: &str) -> Result<()> {
    let found = node::status(node, pid, field)?;
    ensure!(found == expected, "process {pid} of {}: {field} is {found}", node.name());
    Ok(())
}

/// The server of the metadata stands where the client is: one hop beyond the node, as in EC2. With a hop
/// limit of 1 its answers end at the node; with 2, the default of EKS's node groups, they reach pods.
fn metadata(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    let pod = ["get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[0].spec.nodeName}"];
    let name = site.kubectl(&pod)?;
    let nodes = site.cluster().nodes();
    let node = nodes.iter().find(|node| node.name() == name.trim()).context("no node")?;
    let other = echo_of(site, node)?;
    let proxy = node::process(node, PROXY)?;
    let _addresses = Addresses::add(site)?;
    for hops in [1, 2] {
        let _servers = METADATA.map(|address| Server::start(address, hops));
        for (address, server) in METADATA.iter().zip(&_servers) {
            ensure!(server.is_ok(), "no server at {address}: {server:?}");
            ensure!(reaches(node, 1, address)?, "the node reaches {address}, {hops} hops");
            let expected = hops > 1;
            ensure!(reaches(node, other, address)? == expected, "a pod, {address}, {hops} hops");
            ensure!(!reaches(node, proxy, address)?, "the proxy reaches {address}, {hops} hops");
        }
    }
    Ok(())
}

/// A process of the backend's pod.
fn echo_of(site: &Site, node: &Node) -> Result<u32> {
    let pod = ["get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[0].status.podIP}"];
    let address = site.kubectl(&pod)?;
    let script = format!(
        "for process in /proc/[0-9]*; do
           nsenter --net=$process/ns/net ip -o address 2>/dev/null | grep -qF 'inet {}/' || continue
           echo ${{process#/proc/}}
           break
         done",
        address.trim()
    );
    let pid = node::run(node, &script)?;
    pid.trim().parse().with_context(|| format!("no process at {address}: {pid:?}"))
}

/// Whether there is an answer within half a second, from the network of a process.
fn reaches(node: &Node, pid: u32, address: &str) -> Result<bool> {
    let ask = format!("exec 3<>/dev/tcp/{address}/80; echo ask >&3; cat <&3");
    let script = format!("nsenter --net=/proc/{pid}/ns/net timeout 0.5 bash -c '{ask}' || true");
    Ok(node::run(node, &script)?.contains("credentials"))
}

/// The addresses, on the loopback device of this thread's network, until they are dropped.
struct Addresses<'a>(&'a Site);

impl<'a> Addresses<'a> {
    fn add(site: &'a Site) -> Result<Self> {
        let this = Self(site);
        for address in METADATA {
            ensure!(this.change("add", address)?, "cannot add {address}");
        }
        Ok(this)
    }

    fn change(&self, how: &str, address: &str) -> Result<bool> {
        let mut ip = self.0.cluster().client("ip");
        let length = if address.contains(':') { 128 } else { 32 };
        let network = format!("{address}/{length}");
        ip.args(["address", how, &network, "dev", "lo"]);
        Ok(ip.status()?.success())
    }
}

impl Drop for Addresses<'_> {
    fn drop(&mut self) {
        for address in METADATA {
            let _ = self.change("delete", address);
        }
    }
}

/// Answers everybody, with a hop limit.
#[derive(Debug)]
struct Server {
    address: IpAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(address: &str, hops: u8) -> Result<Self> {
        let address: IpAddr = address.parse()?;
        let listener = TcpListener::bind((address, 80))?;
        match address {
            IpAddr::V4(_) => listener.set_ttl(hops.into())?,
            IpAddr::V6(_) => set_ipv6_unicast_hops(&listener, Some(hops))?,
        }
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Relaxed) {
                    break;
                }
                answer(stream);
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

fn answer(mut stream: TcpStream) {
    // A client that does not hear us says nothing.
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    if stream.read(&mut [0; 16]).is_ok() {
        let _ = stream.write_all(b"credentials\n");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = TcpStream::connect((self.address, 80));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
