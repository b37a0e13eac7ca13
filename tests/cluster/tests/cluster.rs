//! The cluster itself: what tests rely on, and that nothing is left of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use penstock_test_cluster::{Cluster, Options, Remains, Signal};

/// Set in the process that makes a cluster only to be killed.
const VICTIM: &str = "PENSTOCK_TEST_VICTIM";

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // What an earlier, failed run has left is no matter of this one.
    Cluster::down(&dir).expect("no cluster is left there");
    dir
}

fn pods() -> &'static str {
    r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: echo }
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: echo
          image: docker.io/penstock/test-pod:dev
          args: [serve, "8080"]
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: { app: echo }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]
"#
}

/// Name and addresses (both families) of each pod, in the order of the nodes.
fn endpoints(cluster: &Cluster) -> Vec<Vec<String>> {
    let query = r#"jsonpath={range .items[*]}{.metadata.name}{range .status.podIPs[*]} {.ip}{end}{"\n"}{end}"#;
    let pods = cluster.kubectl(&["get", "pods", "--sort-by=.spec.nodeName", "-o", query]).unwrap();
    pods.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn url(address: &str, port: u16) -> String {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("{host}:{port}")
}

/// Asks from the client's namespace until there is an answer: rules reach a node some moments later, and
/// a pod whose node was away comes back after some seconds.
fn ask(cluster: &Cluster, address: &str, port: u16) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut curl = cluster.client("curl");
        let run = curl.args(["-sS", "--max-time", "2", &url(address, port)]).output().unwrap();
        if run.status.success() {
            return String::from_utf8(run.stdout).unwrap();
        }
        if Instant::now() > end {
            let state = cluster.kubectl(&["get", "pods,endpointslices", "-o", "wide"]).unwrap();
            let logs = cluster.nodes().into_iter().map(|node| node.machine.log("kubelet"));
            let logs = logs.collect::<Vec<_>>().join("\n");
            panic!("{address}: {}\n{state}\n{logs}", String::from_utf8_lossy(&run.stderr));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn apply(cluster: &Cluster, manifest: &str) {
    let file = cluster.dir().join("manifest.yaml");
    fs::write(&file, manifest).unwrap();
    let end = Instant::now() + Duration::from_secs(15);
    // A server that has just started may say that it has no service address yet.
    loop {
        match cluster.kubectl(&["apply", "-f", &file.display().to_string()]) {
            Err(error) if Instant::now() > end => panic!("{error:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
            Ok(_) => return,
        }
    }
}

#[test]
fn pods_of_two_nodes_and_the_client_reach_each_other_and_down_leaves_nothing() {
    let dir = folder("cluster-used");
    let cluster = Cluster::up(&Options { nodes: 2, dir: dir.clone(), vpc: false }).unwrap();
    apply(&cluster, pods());
    cluster.kubectl(&["rollout", "status", "daemonset/echo", "--timeout=60s"]).unwrap();
    let pods = endpoints(&cluster);
    let [one, two] = pods.as_slice() else { panic!("one pod on each node: {pods:?}") };
    assert_eq!(one.len(), 3, "a name and an address of each family: {one:?}");

    for address in &two[1..] {
        // From pod to pod, each with its own address.
        let target = url(address, 8080);
        let said = cluster.kubectl(&["exec", &one[0], "--", "/test-pod", "get", &target]).unwrap();
        let mut said = said.split_whitespace();
        assert_eq!(said.next(), Some(two[0].as_str()));
        assert!(one[1..].contains(&said.next().unwrap().to_owned()), "the pod's own address");
        // From the client to the pod, by the uplink of its node.
        let (client4, client6) = cluster.client_address();
        let client = if address.contains(':') { client6.to_string() } else { client4.to_string() };
        assert_eq!(ask(&cluster, address, 8080), format!("{} {client}\n", two[0]));
    }
    // By the name of a Service.
    cluster.kubectl(&["rollout", "status", "deployment/coredns", "-n", "kube-system"]).unwrap();
    let get = ["exec", &one[0], "--", "/test-pod", "get", "echo.default.svc.cluster.local:80"];
    let end = Instant::now() + Duration::from_secs(30);
    while !cluster.kubectl(&get).is_ok_and(|said| said.starts_with("echo-")) {
        assert!(Instant::now() < end, "{:?}", cluster.kubectl(&get));
        std::thread::sleep(Duration::from_millis(200));
    }
    for node in cluster.nodes() {
        // From the client to a node port, by each uplink and family.
        for address in [node.uplink.0.to_string(), node.uplink.1.to_string()] {
            assert!(ask(&cluster, &address, 30080).starts_with("echo-"), "{address}");
        }
    }

    let before = Cluster::remains(&dir).unwrap();
    assert!(before.processes.len() > 10, "{before:?}");
    assert_eq!(before.namespaces.len(), 4);
    assert!(!before.cgroups.is_empty());
    assert!(before.mounts.is_empty(), "mounts of nodes are their own: {before:?}");
    drop(cluster);
    assert_eq!(Cluster::remains(&dir).unwrap(), Remains::default());
}

#[test]
fn programs_stop_and_start_and_a_node_survives_the_loss_of_its_power() {
    let dir = folder("cluster-restarted");
    let cluster = Cluster::up(&Options { nodes: 1, dir, vpc: false }).unwrap();
    let patience = Duration::from_secs(60);

    let control = cluster.control();
    let before = control.pid("kube-apiserver").unwrap();
    control.stop("kube-apiserver", Signal::KILL).unwrap();
    assert!(cluster.kubectl(&["get", "nodes"]).is_err(), "the API server is away");
    control.start("kube-apiserver").unwrap();
    cluster.wait_for_nodes(patience).unwrap();
    assert_ne!(control.pid("kube-apiserver"), Some(before));

    apply(&cluster, pods());
    cluster.kubectl(&["rollout", "status", "daemonset/echo", "--timeout=60s"]).unwrap();
    let [node] = cluster.nodes().try_into().expect("one node");
    cluster.reboot(&node).unwrap();
    assert!(ask(&cluster, &node.uplink.0.to_string(), 30080).starts_with("echo-"));
}

#[test]
fn what_a_killed_up_has_begun_is_taken_away() {
    let dir = folder("cluster-crashed");
    if std::env::var_os(VICTIM).is_some() {
        let _killed_first = Cluster::up(&Options { nodes: 2, dir, vpc: false });
        panic!("nobody killed this process");
    }
    // Early, when there is one machine; late, when kubelets run.
    for machines in [1, 3] {
        let this_test = "what_a_killed_up_has_begun_is_taken_away";
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this_test, "--nocapture"])
            .env(VICTIM, "yes")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(120);
        let booted = |name: &str| dir.join(name).join("ready").exists();
        while ["control", "node1", "node2"].into_iter().filter(|name| booted(name)).count()
            < machines
        {
            assert!(Instant::now() < end, "no machine has come up");
            assert_eq!(victim.try_wait().unwrap(), None, "up ended by itself");
            std::thread::sleep(Duration::from_millis(10));
        }
        let second = Cluster::up(&Options { nodes: 1, dir: dir.clone(), vpc: false });
        assert!(second.is_err(), "one at a time");
        victim.kill().unwrap();
        victim.wait().unwrap();
        let left = Cluster::remains(&dir).unwrap();
        assert!(!left.processes.is_empty() && !left.namespaces.is_empty(), "{left:?}");
        Cluster::down(&dir).unwrap();
        assert_eq!(Cluster::remains(&dir).unwrap(), Remains::default());
    }
}

#[test]
fn a_folder_that_is_no_cluster_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("precious");
    fs::write(&file, "mine").unwrap();
    assert!(Cluster::down(dir.path()).is_err());
    assert!(Cluster::up(&Options { nodes: 1, dir: dir.path().to_owned(), vpc: false }).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}
