//! The links between the machines. Everything is made inside network namespaces: the machine that
//! runs the tests gets no interface, no address and no route.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::layout::{CLIENT, CONTROL, Layout, NodePlan, VPC_RANGE};

/// Makes the namespaces of the control plane and of the client, and the link between them. In a VPC the
/// first one is the router too: each node has a port of its own there, and no two see each other.
pub(crate) fn base(layout: &Layout, vpc: bool) -> Result<()> {
    for name in ["control", "client"] {
        add(layout, name)?;
    }
    let client = layout.netns("client");
    let (control4, control6) = CONTROL;
    let (client4, client6) = CLIENT;
    let cluster = match vpc {
        false => format!(
            "ip link add cluster type bridge
             ip addr add {control4}/24 dev cluster
             ip addr add {control6}/64 dev cluster nodad
             ip link set cluster up"
        ),
        true => format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             ip addr add {control4}/32 dev lo
             ip addr add {control6}/128 dev lo nodad"
        ),
    };
    // Who is outside reaches addresses of a VPC by its router, and nodes by their uplinks.
    let (beyond, inside) = match vpc {
        false => (String::new(), format!("{control4}/32")),
        true => ("ip route add 10.88.0.0/24 via 10.87.0.2".to_owned(), VPC_RANGE.to_owned()),
    };
    run(
        &layout.netns("control"),
        &format!(
            "{cluster}
             ip link add client type veth peer name control netns {client}
             ip addr add 10.87.0.1/30 dev client
             ip link set client up
             {beyond}"
        ),
    )?;
    run(
        &client,
        &format!(
            "ip link add lan type bridge
             ip addr add {client4}/24 dev lan
             ip addr add {client6}/64 dev lan nodad
             ip link set lan up
             ip addr add 10.87.0.2/30 dev control
             ip link set control up
             ip route add {inside} via 10.87.0.1 src 10.87.0.2"
        ),
    )
}

/// Makes the namespace of a node, its link to the cluster and its uplink to the client.
pub(crate) fn node(layout: &Layout, node: NodePlan, vpc: bool) -> Result<()> {
    let name = node.name();
    add(layout, &name)?;
    let (control, client) = (layout.netns("control"), layout.netns("client"));
    let ((cluster4, cluster6), (uplink4, uplink6)) = (node.internal(), node.uplink());
    let (client4, client6) = CLIENT;
    run(
        &layout.netns(&name),
        &format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip link add eth0 type veth peer name {name} netns {control}
             ip addr add {cluster4}/24 dev eth0
             ip addr add {cluster6}/64 dev eth0 nodad
             ip link set eth0 up
             ip link add uplink type veth peer name {name} netns {client}
             ip addr add {uplink4}/24 dev uplink
             ip addr add {uplink6}/64 dev uplink nodad
             ip link set uplink up
             ip route add default via {client4}
             ip -6 route add default via {client6}"
        ),
    )?;
    if vpc {
        // The router answers for every address of the VPC, and asks a node only for its own.
        run(
            &control,
            &format!(
                "ip link set {name} up
                 echo 1 > /proc/sys/net/ipv4/conf/{name}/proxy_arp
                 echo 0 > /proc/sys/net/ipv4/neigh/{name}/proxy_delay
                 ip route add {cluster4}/32 dev {name}"
            ),
        )?;
        // What an instance is told of itself comes from the router too.
        let ways = [VPC_RANGE, "169.254.169.254"];
        let ways = ways.map(|to| format!("ip route add {to} via {} dev eth0\n", CONTROL.0));
        run(&layout.netns(&name), &ways.concat())?;
        return run(&client, &format!("ip link set {name} master lan up"));
    }
    run(&control, &format!("ip link set {name} master cluster up"))?;
    let [pods4, pods6] = node.pods();
    run(
        &client,
        &format!(
            "ip link set {name} master lan up
             ip route replace {pods4} via {uplink4}
             ip -6 route replace {pods6} via {uplink6}"
        ),
    )
}

/// Routes on one node to the pods of another, and from the control plane to all of them.
pub(crate) fn routes(layout: &Layout, nodes: &[NodePlan]) -> Result<()> {
    for from in nodes {
        run(&layout.netns(&from.name()), &routes_to(nodes.iter().filter(|to| *to != from)))?;
    }
    run(&layout.netns("control"), &routes_to(nodes.iter()))
}

/// Takes the namespace of a node away, and its links first: the kernel takes its time over the links of
/// a namespace that is gone, and their names are wanted again.
pub(crate) fn unplug(layout: &Layout, node: NodePlan) -> Result<()> {
    let name = node.name();
    for other in ["control", "client"] {
        run(&layout.netns(other), &format!("ip link delete {name}"))?;
    }
    delete(&layout.netns(&name))
}

/// Deletes a network namespace, with its ends of all links.
pub(crate) fn delete(netns: &str) -> Result<()> {
    let status = Command::new("ip").args(["netns", "delete", netns]).status()?;
    ensure!(status.success(), "cannot delete the network namespace {netns}");
    Ok(())
}

fn routes_to<'a>(nodes: impl Iterator<Item = &'a NodePlan>) -> String {
    let mut script = String::new();
    for node in nodes {
        let ([pods4, pods6], (via4, via6)) = (node.pods(), node.internal());
        script += &format!(
            "ip route replace {pods4} via {via4}\nip -6 route replace {pods6} via {via6}\n"
        );
    }
    script
}

fn add(layout: &Layout, machine: &str) -> Result<()> {
    let netns = layout.netns(machine);
    let status = Command::new("ip").args(["netns", "add", &netns]).status();
    let status = status.context("cannot run ip (Debian: iproute2)")?;
    ensure!(status.success(), "cannot make the network namespace {netns}");
    // Loose reverse-path filtering is what systemd sets. Addresses are usable at once: nobody else is
    // on these links.
    run(
        &netns,
        "for kind in all default; do
           echo 2 > /proc/sys/net/ipv4/conf/$kind/rp_filter
           echo 0 > /proc/sys/net/ipv6/conf/$kind/accept_dad
         done
         ip link set lo up",
    )
}

/// Runs a shell script in a network namespace; the first command that fails ends it.
fn run(netns: &str, script: &str) -> Result<()> {
    let mut shell = inside(netns, "sh")
        .arg("-e")
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run nsenter (Debian: util-linux)")?;
    if let Some(mut input) = shell.stdin.take() {
        input.write_all(script.as_bytes())?;
    }
    ensure!(shell.wait()?.success(), "in the network namespace {netns}, this failed:\n{script}");
    Ok(())
}

/// A program that will run in a network namespace and in nothing else of a machine. Not by
/// `ip netns exec`, which mounts a new /sys without control groups and BPF file system.
pub(crate) fn inside(netns: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--").arg(program);
    command
}
