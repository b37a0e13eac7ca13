//! A VPC of network namespaces: what is attached in the model is a device of the instance's namespace.
//!
//! The router is a namespace where each interface has a port of its own. It sends a port what is for the
//! addresses of its interface, without asking who has them, and drops what comes from a port with another
//! source, as a VPC does ("source/destination check" apart, which only looks at the instance's own).

use crate::{
    http::Server,
    metadata::{self, METADATA},
    model::Model,
};
use penstock_config::address::{InterfaceId, Unit};
use penstock_eni::Subnet;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Between looks at the model. A device appears that long after its attachment, or twice.
const LOOK: Duration = Duration::from_millis(100);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Network namespace of the router, as `ip netns` names it.
    pub router: String,
    /// Where EC2's API is served there.
    pub api: SocketAddr,
    /// Instances: the network namespace of each, and the router's port of its first interface.
    pub instances: BTreeMap<String, (String, String)>,
}

/// A VPC. It ends with the process.
#[derive(Clone, Debug)]
pub struct Vpc {
    server: Server,
}

impl Vpc {
    /// Serves the API, and brings devices to what the model says, from then on.
    ///
    /// # Errors
    /// No privilege, or no such namespace.
    pub fn start(plan: Plan, model: Model) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("vpc".into()).spawn(move || {
            let started = services(&plan, model);
            let server = started.as_ref().ok().cloned();
            let _ = tell.send(started);
            let Some(server) = server else { return };
            let mut wiring = Wiring { plan, ports: BTreeMap::new() };
            loop {
                let wanted = server.model(|model| wiring.wanted(model));
                wiring.bring(wanted);
                thread::sleep(LOOK);
            }
        })?;
        Ok(Self { server: told.recv().map_err(io::Error::other)?? })
    }

    /// The model and its API.
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// The API, and the instances' metadata, at the router.
fn services(plan: &Plan, model: Model) -> io::Result<Server> {
    enter(&plan.router)?;
    routers(&model);
    let server = Server::on_a_thread(model, plan.api)?;
    server.wants_key(metadata::KEYS.0);
    metadata::serve(server.clone(), METADATA)?;
    Ok(server)
}

fn enter(netns: &str) -> io::Result<()> {
    let namespace = File::open(format!("/run/netns/{netns}"))?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace.as_fd(), kind).map_err(Into::into)
}

/// A port of the router, as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    /// Namespace and name of the device at its other end; `None`: somebody else made it.
    device: Option<(String, String)>,
    mac: String,
    addresses: BTreeSet<String>,
}

struct Wiring {
    plan: Plan,
    ports: BTreeMap<InterfaceId, Port>,
}

impl Wiring {
    fn wanted(&self, model: &Model) -> BTreeMap<InterfaceId, Port> {
        let attached = model.interfaces.values().filter_map(|interface| {
            let (instance, at) = interface.attached.as_ref()?;
            let (netns, first) = self.plan.instances.get(instance)?;
            let is_first = at.card == 0 && at.index == 0;
            let units = interface.units().into_iter().map(|unit| match unit {
                Unit::Address(address) => format!("{address}/32"),
                Unit::Block(block) => block.to_string(),
            });
            let device = format!("eth{}", 16 * u32::from(at.card) + u32::from(at.index));
            let port = Port {
                name: if is_first { first.clone() } else { format!("{first}-{device}") },
                device: (!is_first).then(|| (netns.clone(), device)),
                mac: interface.mac.clone(),
                addresses: units.chain([format!("{}/32", interface.primary)]).collect(),
            };
            Some((interface.id.clone(), port))
        });
        attached.collect()
    }

    fn bring(&mut self, wanted: BTreeMap<InterfaceId, Port>) {
        let there = links();
        // A machine that was rebooted has lost its devices, and the router their ports.
        self.ports.retain(|_, port| there.contains(&port.name));
        if wanted == self.ports {
            return;
        }
        let mut script = String::new();
        for (id, port) in &self.ports {
            if wanted.get(id).is_none_or(|new| new.name != port.name) && port.device.is_some() {
                let _ = writeln!(script, "ip link delete {} 2>/dev/null || true", port.name);
            }
        }
        let mut done = BTreeMap::new();
        for (id, port) in &wanted {
            let old = self.ports.get(id).filter(|old| old.name == port.name);
            if old.is_none() && port.device.is_none() && !there.contains(&port.name) {
                // Its machine is off.
                continue;
            }
            port.script(old, &mut script);
            done.insert(id.clone(), port.clone());
        }
        filter(done.values(), &mut script);
        if sh(&script) {
            self.ports = done;
        }
    }
}

impl Port {
    fn script(&self, old: Option<&Port>, script: &mut String) {
        let (name, mac) = (&self.name, &self.mac);
        if old.is_none() {
            if let Some((netns, device)) = &self.device {
                let _ = writeln!(
                    script,
                    "ip link delete {name} 2>/dev/null || true
                     ip link add {name} type veth peer name {device} netns {netns}
                     ip -n {netns} link set {device} address {mac}
                     ip link set {name} up
                     echo 1 > /proc/sys/net/ipv4/conf/{name}/proxy_arp
                     echo 0 > /proc/sys/net/ipv4/neigh/{name}/proxy_delay"
                );
            }
            // Whoever has an address, its packets go to the interface's MAC.
            let _ = writeln!(script, "ip neigh replace 169.254.0.2 dev {name} lladdr {mac}");
        }
        let known = old.map(|old| old.addresses.clone()).unwrap_or_default();
        for gone in known.difference(&self.addresses) {
            let _ = writeln!(script, "ip route delete {gone} dev {name} 2>/dev/null || true");
        }
        for new in self.addresses.difference(&known) {
            let _ = writeln!(script, "ip route replace {new} via 169.254.0.2 dev {name} onlink");
        }
    }
}

/// The router has an address in each subnet, and that of the metadata.
fn routers(model: &Model) {
    let cidrs = model.subnets.values().map(|subnet| subnet.space.cidr());
    let subnets = cidrs.map(|cidr| Subnet { cidr, ..Subnet::default() });
    let addresses = subnets.filter_map(|subnet| subnet.router()).map(IpAddr::V4);
    let script: String = addresses
        .chain([METADATA.ip()])
        .map(|address| format!("ip address replace {address}/32 dev lo\n"))
        .collect();
    sh(&script);
}

/// Drops what comes from a port with a source that its interface has not.
fn filter<'a>(ports: impl Iterator<Item = &'a Port>, script: &mut String) {
    script.push_str("nft -f - <<'END'\ntable ip vpc\ndelete table ip vpc\ntable ip vpc {\n");
    script.push_str("chain source { type filter hook prerouting priority -300;\n");
    for port in ports {
        let addresses = port.addresses.iter().cloned().collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            script,
            "iifname \"{}\" ip saddr != {{ {addresses} }} counter drop",
            port.name
        );
    }
    script.push_str("}\n}\nEND\n");
}

fn links() -> BTreeSet<String> {
    let output = Command::new("ip").args(["-o", "link", "show"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split(": ").nth(1));
    names.filter_map(|name| name.split('@').next()).map(str::to_owned).collect()
}

/// Runs a script; what fails is said, and tried again with the next look.
fn sh(script: &str) -> bool {
    let run = || -> io::Result<bool> {
        let mut shell = Command::new("sh").arg("-e").stdin(Stdio::piped()).spawn()?;
        if let Some(mut input) = shell.stdin.take() {
            input.write_all(script.as_bytes())?;
        }
        Ok(shell.wait()?.success())
    };
    let done = run().unwrap_or(false);
    if !done {
        eprintln!("the VPC's router refuses:\n{script}");
    }
    done
}
