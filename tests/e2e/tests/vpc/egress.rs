//! What leaves the VPC, and ports of nodes.

use anyhow::{Context as _, Result, anyhow, ensure};
use penstock_e2e::{VpcSite, get, node};
use penstock_test_cluster::{Node, VPC_RANGE, conformance::ECHO_IMAGE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd as _,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub(crate) const ALL: &[super::Scenario] = &[
    ("to the outside with masquerade", outside),
    ("a port of the node leads to its pod, from everywhere", host_port),
    ("what a pod sends is limited by its annotation", bandwidth),
];

/// The address by which the cluster's clients, which are outside, reach the VPC.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 87, 0, 2);
const HOST_PORT: u16 = 8099;

/// A pod that runs: its node and its address.
type Pod = (Node, IpAddr);

/// Runs something on a thread in a network namespace; gives what it says first.
fn inside<T: Send + 'static>(
    netns: &str,
    task: impl FnOnce(mpsc::Sender<T>) -> Result<()> + Send + 'static,
) -> Result<T> {
    let namespace = File::open(Path::new("/run/netns").join(netns))?;
    let (say, said) = mpsc::channel();
    let thread = thread::spawn(move || -> Result<()> {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        task(say)
    });
    match said.recv() {
        Ok(said) => Ok(said),
        Err(_) => match thread.join().map_err(|_| anyhow!("it panicked"))? {
            Ok(()) => Err(anyhow!("it said nothing")),
            Err(error) => Err(error),
        },
    }
}

/// A server in a namespace that answers every request with the address from where it came, until the
/// process ends.
fn mirror(netns: &str, address: IpAddr) -> Result<SocketAddr> {
    inside(netns, move |say| {
        let listener = TcpListener::bind((address, 0))?;
        let _ = say.send(listener.local_addr()?);
        for stream in listener.incoming().flatten() {
            let peer = stream.peer_addr()?.ip().to_string();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = peer.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{peer}"
            );
        }
        Ok(())
    })
}

fn curl(site: &VpcSite, from: &Pod, to: impl std::fmt::Display) -> Result<String> {
    let url = format!("curl --silent --show-error --fail --max-time 5 http://{to}/");
    site.in_pod(&from.0, from.1, &url)
}

fn outside(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-outside";
    site.namespace(namespace, &["echo"])?;
    site.kubectl(&["-n", namespace, "scale", "deployment/echo", "--replicas=4"])?;
    site.kubectl(&["-n", namespace, "rollout", "status", "deployment/echo", "--timeout=60s"])?;
    let pods = super::pods::pods(site, namespace)?;
    // Outside, and in the VPC: the router itself.
    let out = mirror(&site.cluster().client_netns(), OUTSIDE.into())?;
    let router = site.cluster().control_address();
    let within = mirror(&site.cluster().control_netns(), router.into())?;
    let sees = |of_node: bool| -> Result<()> {
        for pod in &pods {
            let seen: IpAddr = curl(site, pod, out)?.parse()?;
            let wanted = if of_node { IpAddr::from(pod.0.address.0) } else { pod.1 };
            ensure!(seen == wanted, "{} is seen as {seen} outside", pod.1);
            let seen: IpAddr = curl(site, pod, within)?.parse()?;
            ensure!(seen == pod.1, "{} is seen as {seen} in the VPC", pod.1);
            // And from there: a load balancer keeps clients' addresses.
            let answer = get((pod.1, 3000).into(), "pod", "/")?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        Ok(())
    };
    sees(false)?;
    // Here a node's default route leads past the VPC; the one to outside shall lead through it.
    let nodes = site.cluster().nodes();
    let way = |verb: &str| -> Result<()> {
        for node in &nodes {
            node::run(node, &format!("ip route {verb} 10.87.0.0/30 via {router} dev eth0"))?;
        }
        Ok(())
    };
    way("replace")?;
    let cidr = format!("ipv4NativeRoutingCIDR={VPC_RANGE}");
    site.upgrade(&["--set", "enableIPv4Masquerade=true", "--set", &cidr])?;
    let on = site.eventually("nodes masquerade", || sees(true));
    site.upgrade(&[])?;
    let off = on.and_then(|()| site.eventually("nodes masquerade no more", || sees(false)));
    way("delete")?;
    off?;
    for node in &nodes {
        let rules = node::run(node, "nft list table ip penstock-pods")?;
        ensure!(!rules.contains("masquerade"), "{rules}");
    }
    site.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}

/// A pod, and another one, in a namespace that is made anew.
fn two(site: &VpcSite, namespace: &str, annotation: &str, port: &str) -> Result<()> {
    site.namespace(namespace, &["other"])?;
    site.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{ name: one, namespace: {namespace}, labels: {{ app: one }}, annotations: {{ {annotation} }} }}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: echo
      image: {ECHO_IMAGE}
      env:
        - {{ name: POD_NAME, value: one }}
        - {{ name: NAMESPACE, value: {namespace} }}
      ports: [{{ containerPort: 3000{port} }}]
      readinessProbe: {{ tcpSocket: {{ port: 3000 }}, periodSeconds: 1 }}
"
    ))?;
    let wait = ["wait", "pod/one", "--for=condition=Ready", "--timeout=60s"];
    site.kubectl(&[&["-n", namespace][..], &wait].concat()).map(drop)
}

/// The pod `one`, and the others.
fn one(site: &VpcSite, namespace: &str) -> Result<(Pod, Vec<Pod>)> {
    let address = site.object(namespace, "pod", "one")?["status"]["podIP"].clone();
    let address: IpAddr = address.as_str().context("no address")?.parse()?;
    let all = super::pods::pods(site, namespace)?;
    let (mut one, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|pod| pod.1 == address);
    Ok((one.pop().context("no pod")?, others))
}

/// Whether the pod `one` says what reached it.
fn is_one(said: &str) -> bool {
    serde_json::from_str::<Value>(said).is_ok_and(|said| said["pod"] == "one")
}

fn host_port(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-port";
    two(site, namespace, "", &format!(", hostPort: {HOST_PORT}"))?;
    site.kubectl(&["-n", namespace, "scale", "deployment/other", "--replicas=4"])?;
    site.kubectl(&["-n", namespace, "rollout", "status", "deployment/other", "--timeout=60s"])?;
    let (one, others) = one(site, namespace)?;
    let at = SocketAddr::from((one.0.address.0, HOST_PORT));
    let answer = get(at, "pod", "/")?;
    ensure!(answer.status == 200, "from outside: {answer:?}");
    for from in others.iter().chain([&one]) {
        let said = curl(site, from, at)?;
        ensure!(is_one(&said), "from {}: {said}", from.1);
    }
    let there = others.iter().any(|pod| pod.0.name() == one.0.name());
    let elsewhere = others.iter().any(|pod| pod.0.name() != one.0.name());
    ensure!(there && elsewhere, "all pods are on one node");
    for from in site.cluster().nodes() {
        let to = if from.name() == one.0.name() {
            format!("127.0.0.1:{HOST_PORT}")
        } else {
            at.to_string()
        };
        let said = node::run(&from, &format!("curl --silent --fail --max-time 5 http://{to}/"))?;
        ensure!(is_one(&said), "from {}: {said}", from.name());
    }
    // Its own loopback.
    curl(site, &one, "127.0.0.1:3000")?;
    site.kubectl(&["-n", namespace, "delete", "pod", "one", "--wait=true"])?;
    site.eventually("the port leads nowhere", || {
        ensure!(get(at, "pod", "/").is_err(), "somebody answers");
        Ok(())
    })?;
    site.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}

/// How long a pod takes to send so many bytes to its node.
fn sends(site: &VpcSite, pod: &Pod, bytes: u64) -> Result<Duration> {
    let address = pod.0.address.0;
    let (done, is_done) = mpsc::channel();
    let at: SocketAddr = inside(&pod.0.machine.netns(), move |say| {
        let listener = TcpListener::bind((address, 0))?;
        let _ = say.send(listener.local_addr()?);
        let mut stream = listener.accept()?.0;
        let start = Instant::now();
        let _ = done.send((std::io::copy(&mut stream, &mut std::io::sink())?, start.elapsed()));
        Ok(())
    })?;
    let send = format!("head -c {bytes} /dev/zero >/dev/tcp/{}/{}", at.ip(), at.port());
    site.in_pod(&pod.0, pod.1, &format!("bash -c \"{send}\""))?;
    let (came, took) = is_done.recv_timeout(Duration::from_secs(60))?;
    ensure!(came == bytes, "{came} of {bytes}");
    Ok(took)
}

/// The container runtime allows 2^32 - 1 bits at once, 537 MB, whatever the annotation says (containerd,
/// `toCNIBandWidth`): what is sent beyond that is limited.
const AT_ONCE: u64 = 537_000_000;

fn bandwidth(site: &VpcSite) -> Result<()> {
    let nodes = site.cluster().nodes();
    let tries = "ip link add pstprobe type ifb
                 trap 'ip link delete pstprobe' EXIT
                 tc qdisc add dev pstprobe root tbf rate 1mbit burst 16kb latency 25ms";
    if let Err(why) = node::run(nodes.first().context("no node")?, tries) {
        println!("SKIPPED: this kernel cannot limit what pods send: {why:#}");
        return Ok(());
    }
    let namespace = "e2e-vpc-bandwidth";
    two(site, namespace, "kubernetes.io/egress-bandwidth: 400M", "")?;
    let (one, others) = one(site, namespace)?;
    let bytes = AT_ONCE + 200_000_000;
    let slow = sends(site, &one, bytes)?;
    let fast = sends(site, others.first().context("no other pod")?, bytes)?;
    println!(
        "{bytes} bytes: {slow:?} at 50 MB/s after {AT_ONCE} at once, {fast:?} without a limit"
    );
    // 200 MB at 50 MB/s.
    ensure!(slow >= Duration::from_millis(3_600), "{slow:?}");
    ensure!(fast < slow, "{fast:?} without a limit, {slow:?} with one");
    site.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}
