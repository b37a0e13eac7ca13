//! Network namespaces, a BPF file system and TCP peers for the tests. Needs root: a namespace, its
//! devices and programs in the kernel are nobody else's to make.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod frames;
pub(crate) mod site;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs::File, io};

use penstock_net::{ListenAddress, Steering, nat, routes, uninstall, workers};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const CLIENT: &str = "10.97.0.1";
pub(crate) const CLIENT6: &str = "fd97::1";
pub(crate) const NODE: &str = "10.97.0.2";
pub(crate) const NODE6: &str = "fd97::2";
/// Nobody's addresses: a Gateway's, behind the node.
pub(crate) const VIP: &str = "10.98.7.1";
pub(crate) const VIP6: &str = "fd98::7";
pub(crate) const POD: &str = "10.96.0.5";
pub(crate) const PORT: u16 = 8080;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs a command that must succeed.
pub(crate) fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace, gone when dropped.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new(role: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes network namespaces and loads programs into the kernel: run it as root"
        );
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pst-{}-{number}-{role}", std::process::id());
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        Self { name }
    }

    /// `ip` in this namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.name));
    }

    /// Runs something in this namespace, on a thread of its own.
    pub(crate) fn enter<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(task).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts something in this namespace, on a thread of its own.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = format!("/run/netns/{}", self.name);
        std::thread::spawn(move || {
            let namespace = File::open(path).unwrap();
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            task()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A BPF file system of the test's own, gone when dropped.
pub(crate) struct Pins {
    pub(crate) dir: PathBuf,
    _folder: tempfile::TempDir,
}

impl Pins {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        run(&format!("mount -t bpf bpffs {}", dir.display()));
        Self { dir, _folder: folder }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = uninstall(&self.dir);
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

/// A node with a client on its uplink, both families, routes and NAT rules made, the programs loaded and
/// on the uplink (`uplink`), a listener at (`VIP`, `PORT`) and (`VIP6`, `PORT`).
pub(crate) struct Bed {
    pub(crate) client: Namespace,
    pub(crate) node: Namespace,
    pub(crate) steering: Option<Steering>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) pins: Pins,
}

impl Bed {
    pub(crate) fn new(workers: usize) -> Self {
        let (client, node) = (Namespace::new("client"), Namespace::new("node"));
        run(&format!(
            "ip link add name uplink netns {} type veth peer name eth0 netns {}",
            node.name, client.name
        ));
        client.ip(&format!("addr add {CLIENT}/24 dev eth0"));
        client.ip(&format!("addr add {CLIENT6}/64 dev eth0 nodad"));
        client.ip("link set eth0 up");
        node.ip(&format!("addr add {NODE}/24 dev uplink"));
        node.ip(&format!("addr add {NODE6}/64 dev uplink nodad"));
        node.ip("link set uplink up");
        client.ip(&format!("route add default via {NODE}"));
        client.ip(&format!("-6 route add default via {NODE6}"));
        let pins = Pins::new();
        let dir = pins.dir.clone();
        let steering = node.enter(move || {
            routes::install().unwrap();
            nat::install(&[], &[]).unwrap();
            let mut steering = Steering::load(&dir).unwrap();
            steering.set_listeners(&listeners()).unwrap();
            steering.replace().unwrap();
            steering.attach("uplink").unwrap();
            steering
        });
        let workers = (0..workers).map(|index| Worker::start(&node, index as u32)).collect();
        let mut bed = Self { client, node, steering: Some(steering), workers, pins };
        bed.register();
        bed
    }

    /// Uses the programs in the node's namespace.
    pub(crate) fn steer<T: Send + 'static>(
        &mut self,
        task: impl FnOnce(&mut Steering) -> T + Send + 'static,
    ) -> T {
        steer_in(&self.node, &mut self.steering, task)
    }

    /// Tells the programs of the workers.
    pub(crate) fn register(&mut self) {
        let sockets: Vec<BorrowedFd<'_>> =
            self.workers.iter().map(|worker| worker.listener.as_fd()).collect();
        self.steering.as_mut().unwrap().set_workers(&sockets).unwrap();
    }

    /// Dials from the client's namespace.
    pub(crate) fn dial(&self, to: &str) -> io::Result<Answer> {
        dial(&self.client, to, PORT)
    }
}

pub(crate) fn listeners() -> [(ListenAddress, u16); 2] {
    [VIP, VIP6].map(|address| (ListenAddress::Ip(address.parse().unwrap()), PORT))
}

/// What a worker says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) worker: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The client's own address, as the client sees it.
    pub(crate) own: SocketAddr,
    pub(crate) took: Duration,
}

/// Connects, and asks the worker who is there.
pub(crate) fn dial(from: &Namespace, to: &str, port: u16) -> io::Result<Answer> {
    let to = SocketAddr::new(to.parse::<IpAddr>().unwrap(), port);
    from.enter(move || {
        let started = Instant::now();
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        ask(&mut stream).map(|answer| Answer { took: started.elapsed(), ..answer })
    })
}

/// Asks the worker at the other end who is there.
pub(crate) fn ask(stream: &mut TcpStream) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?")?;
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(Answer {
        worker: words[0].parse().unwrap(),
        peer: canonical(words[1].parse().unwrap()),
        local: canonical(words[2].parse().unwrap()),
        own: stream.local_addr()?,
        took: Duration::ZERO,
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A worker: accepts on a transparent socket and tells each client, for each byte, who is there. On `!` it
/// closes first.
pub(crate) struct Worker {
    pub(crate) listener: Arc<TcpListener>,
    pub(crate) accepted: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(node: &Namespace, index: u32) -> Self {
        let listener = Arc::new(node.enter(|| workers::listen().unwrap()));
        let (accepted, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (socket, count, end) = (listener.clone(), accepted.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match socket.accept() {
                    Ok((stream, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        std::thread::spawn(move || serve(stream, index));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self { listener, accepted, stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one client.
pub(crate) fn serve(mut stream: TcpStream, index: u32) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_nodelay(true);
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        if byte == *b"!" {
            return;
        }
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
        if stream.write_all(format!("{index} {peer} {local}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "{what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The pins of a folder, without what every BPF file system has (`maps.debug`, `progs.debug`).
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".debug")).collect();
    names.sort();
    names
}

/// Uses programs in the namespace that they are in.
pub(crate) fn steer_in<T: Send + 'static>(
    node: &Namespace,
    programs: &mut Option<Steering>,
    task: impl FnOnce(&mut Steering) -> T + Send + 'static,
) -> T {
    let mut steering = programs.take().unwrap();
    let (steering, result) = node.enter(move || {
        let result = task(&mut steering);
        (steering, result)
    });
    *programs = Some(steering);
    result
}
