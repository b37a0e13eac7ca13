//! Programs come, are replaced and go, with clients on the way.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use penstock_net::{Feature, Hook, Steering, egress, nat, pods, probe, routes, uninstall};
use support::{Bed, Namespace, Pins, VIP, VIP6, Worker, names, until};

/// Dials and asks, again and again, until it is told to stop; one that fails ends it.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(bed: &Bed) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let clients = [VIP, VIP6, VIP, VIP6].map(|vip| {
            let (stop, done) = (stop.clone(), done.clone());
            let to = (vip.parse::<std::net::IpAddr>().unwrap(), support::PORT).into();
            bed.client.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = std::net::TcpStream::connect_timeout(&to, support::PATIENCE)
                        .map_err(|error| format!("connect: {error}"))?;
                    for _ in 0..5 {
                        support::ask(&mut stream).map_err(|error| format!("ask: {error}"))?;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self { stop, done, clients: clients.into() }
    }

    /// Waits for some more connections.
    fn more(&self) {
        let before = self.done.load(Ordering::Relaxed);
        until("connections come", || self.done.load(Ordering::Relaxed) > before + 8);
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap().expect("every connection is served");
        }
    }
}

#[test]
fn the_program_is_replaced_under_load_and_no_connection_is_lost() {
    for hook in [Hook::Tcx, Hook::Clsact] {
        let mut bed = Bed::new(2);
        if hook == Hook::Clsact {
            bed.steer(|steering| steering.attach_by("uplink", Hook::Clsact).unwrap());
            // The link alone goes; `detach` would take both.
            std::fs::remove_file(only(&bed.pins, "tcx-")).unwrap();
        }
        let load = Load::start(&bed);
        load.more();
        for _ in 0..10 {
            // As a new agent does: loads its own, and puts it in the place of the old one, whose
            // process is gone by then.
            bed.steering = None;
            let dir = bed.pins.dir.clone();
            bed.steering = Some(bed.node.enter(move || {
                let mut steering = Steering::load(&dir).unwrap();
                steering.set_listeners(&support::listeners()).unwrap();
                steering.replace().unwrap();
                steering
            }));
            bed.register();
            load.more();
        }
        load.end();
        let pinned = names(&bed.pins.dir);
        assert_eq!(pinned.len(), 3, "one device, one namespace, one folder of maps: {pinned:?}");
    }
}

#[test]
fn workers_sockets_are_exchanged_under_load_and_no_connection_is_lost() {
    let mut bed = Bed::new(2);
    let load = Load::start(&bed);
    let mut old = Vec::new();
    for round in 0..6 {
        let count = 1 + round % 3;
        let workers = (0..count).map(|index| Worker::start(&bed.node, index)).collect();
        old.push(std::mem::replace(&mut bed.workers, workers));
        bed.register();
        load.more();
    }
    load.end();
}

#[test]
fn programs_steer_on_when_the_agent_is_gone() {
    let mut bed = Bed::new(1);
    bed.steering = None;
    assert!(bed.dial(VIP).is_ok());
    assert!(bed.dial(VIP6).is_ok());
}

#[test]
fn after_uninstall_nothing_is_left() {
    let mut bed = Bed::new(1);
    let rules = |bed: &Bed| -> Vec<String> {
        let commands = [
            "rule",
            "-6 rule",
            "route show table all type local",
            "-6 route show table all type local",
        ];
        commands
            .iter()
            .map(|arguments| {
                let mut ip = Command::new("ip");
                ip.args(["-n", &bed.node.name]).args(arguments.split(' '));
                String::from_utf8(ip.output().unwrap().stdout).unwrap()
            })
            .collect()
    };
    let installed = rules(&bed);
    assert!(installed[0].contains("fwmark 0x1000/0x3000 lookup 4096"), "{}", installed[0]);
    assert!(installed[1].contains("fwmark 0x1000/0x3000 lookup 4096"), "{}", installed[1]);
    bed.steer(|steering| {
        steering.attach_by("lo", Hook::Clsact).unwrap();
        let host = [VIP, VIP6].map(|vip| (vip.parse().unwrap(), None));
        routes::set_host(&host).unwrap();
        pods::install().unwrap();
        egress::set(Some(&["10.0.0.0/8".parse().unwrap()]), &[]).unwrap();
        // A second time changes nothing.
        routes::install().unwrap();
        routes::set_host(&host).unwrap();
    });
    for line in &rules(&bed)[..2] {
        assert_eq!(line.matches("lookup 4096").count(), 1, "{line}");
        assert_eq!(line.matches("iif lo ipproto tcp lookup 4097").count(), 1, "{line}");
    }
    assert!(bed.dial(VIP).is_ok());
    bed.steering = None;
    let dir = bed.pins.dir.clone();
    let tables = |bed: &Bed| {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &bed.node.name, "nft", "list", "tables"]);
        String::from_utf8(nft.output().unwrap().stdout).unwrap()
    };
    let before = tables(&bed);
    for table in ["inet penstock", "ip penstock-pods"] {
        assert!(before.contains(table), "{before}");
    }
    bed.node.enter(move || {
        // A second time finds nothing, and is content.
        for _ in 0..2 {
            uninstall(&dir).unwrap();
            routes::remove().unwrap();
            nat::remove().unwrap();
            egress::remove().unwrap();
            pods::remove().unwrap();
        }
    });
    assert_eq!(names(&bed.pins.dir), Vec::<String>::new());
    assert_eq!(tables(&bed), "");
    for line in rules(&bed) {
        let ours = ["4096", "4097", "2048", "0x40"];
        assert!(ours.iter().all(|ours| !line.contains(ours)), "{line}");
    }
    for device in ["uplink", "lo"] {
        let mut tc = Command::new("tc");
        tc.args(["-n", &bed.node.name, "filter", "show", "dev", device, "ingress"]);
        let output = String::from_utf8(tc.output().unwrap().stdout).unwrap();
        assert_eq!(output, "", "{device}");
    }
    let to = (VIP.parse::<std::net::IpAddr>().unwrap(), support::PORT).into();
    let patience = std::time::Duration::from_millis(300);
    let dial = bed.client.enter(move || std::net::TcpStream::connect_timeout(&to, patience));
    assert!(dial.is_err(), "nobody steers");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let mut bed = Bed::new(1);
    let error = bed.steer(|steering| steering.attach("eth9").unwrap_err());
    assert_eq!((error.reason(), error.to_string().contains("eth9")), ("Device", true));
}

#[test]
fn this_kernel_has_everything_and_a_folder_without_bpf_file_system_is_named() {
    let pins = Pins::new();
    let plain = tempfile::tempdir().unwrap();
    Namespace::new("probe").enter(move || {
        assert_eq!(probe(&pins.dir), []);
        let missing = probe(plain.path());
        assert_eq!(missing.iter().map(|m| m.feature).collect::<Vec<_>>(), [Feature::BpfFileSystem]);
        assert!(missing[0].to_string().contains("mount -t bpf"), "{}", missing[0]);
    });
}

/// The one pin whose name begins so.
fn only(pins: &Pins, begins: &str) -> std::path::PathBuf {
    let mut found = names(&pins.dir).into_iter().filter(|name| name.starts_with(begins));
    let name = found.next().expect("a pin");
    assert_eq!(found.next(), None);
    pins.dir.join(name)
}
