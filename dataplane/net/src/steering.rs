//! The programs and their maps.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf, SockMap};
use aya::programs::{SchedClassifier, SkLookup};
use aya::{Ebpf, EbpfLoader};
use penstock_ebpf_common::{
    ANY_ADDRESS, ListenerKey, MAX_LISTENERS, MAX_LOCAL, MAX_WORKERS, Ports, Reason, Settings,
    Worker, mapped,
};

use crate::error::NetError;
use crate::events::Events;
use crate::pins::Pins;
use crate::program::{
    COUNTERS, EVENTS, FIND, LISTENERS, LOCAL, MAPS, OBJECT, PODS, PORTS, SETTINGS, SOCKETS, STEER,
    WORKERS, program,
};

/// The programs and their maps, pinned under a folder.
///
/// Nothing is taken back when this is dropped: the programs steer on without it, and only
/// [`uninstall`](crate::uninstall()) ends them. To replace an older program: [`Steering::load`], then the listeners and
/// workers, then [`Steering::replace`].
pub struct Steering {
    pub(crate) pins: Pins,
    pub(crate) ebpf: Ebpf,
    listeners: HashMap<MapData, [u8; 20], u32>,
    ports: Array<MapData, [u8; Ports::SIZE]>,
    local: HashMap<MapData, [u8; 16], u32>,
    settings: Array<MapData, [u8; Settings::SIZE]>,
    pub(crate) pods: HashMap<MapData, [u8; 4], u32>,
    workers: Array<MapData, [u8; 16]>,
    sockets: SockMap<MapData>,
    counters: PerCpuArray<MapData, u64>,
    events: Option<RingBuf<MapData>>,
}

/// The address that clients dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// Each address of the node, see [`Steering::set_local`].
    Node,
    /// This one.
    Ip(IpAddr),
}

/// How many entries of a map were made, or made anew, and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Made.
    pub added: usize,
    /// Removed.
    pub removed: usize,
}

/// Packets since the maps were made, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters([u64; Reason::COUNT as usize]);

impl Counters {
    /// Of one reason.
    #[must_use]
    pub const fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Of all reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.0)
    }
}

impl Steering {
    /// Loads the programs; their maps are those that are pinned in this folder of a BPF file system,
    /// or made and pinned there. Programs that are attached already are left alone.
    ///
    /// # Errors
    /// No BPF file system, no privilege (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON), or the kernel lacks
    /// something: see [`crate::probe()`].
    pub fn load(dir: &Path) -> Result<Self, NetError> {
        let pins = Pins::open(dir)?;
        let mut loader = EbpfLoader::new();
        for map in MAPS {
            loader.map_pin_path(map, pins.map(map));
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| NetError::Load(Box::new(error)))?;
        let steer: &mut SchedClassifier = program(&mut ebpf, STEER)?;
        steer.load().map_err(NetError::program("loading the program for devices"))?;
        let find: &mut SkLookup = program(&mut ebpf, FIND)?;
        find.load().map_err(NetError::program("loading the program for the namespace"))?;
        Ok(Self {
            listeners: map(&mut ebpf, LISTENERS)?,
            ports: map(&mut ebpf, PORTS)?,
            local: map(&mut ebpf, LOCAL)?,
            settings: map(&mut ebpf, SETTINGS)?,
            pods: map(&mut ebpf, PODS)?,
            workers: map(&mut ebpf, WORKERS)?,
            sockets: map(&mut ebpf, SOCKETS)?,
            counters: map(&mut ebpf, COUNTERS)?,
            events: Some(map(&mut ebpf, EVENTS)?),
            pins,
            ebpf,
        })
    }

    /// Brings the listeners to these addresses and ports; others are not touched on the way.
    ///
    /// # Errors
    /// Too many, or the map was not written: then part of the change may have been made.
    pub fn set_listeners(
        &mut self,
        listeners: &[(ListenAddress, u16)],
    ) -> Result<Changes, NetError> {
        let wanted: BTreeSet<_> =
            listeners.iter().map(|&(address, port)| key(address, port).to_bytes()).collect();
        let there = keys(&self.listeners, LISTENERS)?;
        // A port is looked at before its listener comes, and until its last one is gone.
        self.set_ports(wanted.union(&there))?;
        let changes = bring_to(&mut self.listeners, LISTENERS, &wanted, MAX_LISTENERS)?;
        self.set_ports(&wanted)?;
        Ok(changes)
    }

    /// Brings the addresses that [`ListenAddress::Node`] means to these.
    ///
    /// # Errors
    /// As [`Self::set_listeners`].
    pub fn set_local(&mut self, addresses: &[IpAddr]) -> Result<Changes, NetError> {
        let wanted = addresses.iter().map(|&address| octets(address));
        bring_to(&mut self.local, LOCAL, &wanted.collect(), MAX_LOCAL)
    }

    /// Makes these the workers' listening sockets (see [`crate::workers::listen`]), by index. A socket
    /// that takes the place of another gets all that comes from then on; what waits in the other's
    /// queue stays there. What was beyond the last is given nothing any more.
    ///
    /// # Errors
    /// Too many, a socket that does not listen, or the map was not written.
    pub fn set_workers(&mut self, sockets: &[BorrowedFd<'_>]) -> Result<(), NetError> {
        let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
        if count > MAX_WORKERS {
            return Err(NetError::TooMany {
                what: "workers",
                count: sockets.len(),
                most: MAX_WORKERS,
            });
        }
        let before = self.read_settings()?;
        let least = self.least_load(before.workers)?;
        for (index, socket) in (0..).zip(sockets) {
            let socket = socket.as_raw_fd();
            self.sockets.set(index, &socket, 0).map_err(NetError::map(SOCKETS))?;
            let worker = self.worker(index)?;
            // A new one starts level with the least loaded: at zero it would get everything at once.
            let load = if worker.open == 1 { worker.load } else { least };
            self.set_worker(index, Worker { load, open: 1 })?;
        }
        self.write_settings(Settings { workers: count, ..before })?;
        for index in count..before.workers.min(MAX_WORKERS) {
            self.set_worker(index, Worker::default())?;
            // The socket may be closed already, and gone with that.
            let _ = self.sockets.clear_index(&index);
        }
        Ok(())
    }

    /// Says how many connections each worker has, by index; the programs count on from there.
    ///
    /// # Errors
    /// The map was not written.
    pub fn set_loads(&mut self, loads: &[u64]) -> Result<(), NetError> {
        let workers = self.read_settings()?.workers;
        for (index, &load) in (0..workers).zip(loads) {
            let open = self.worker(index)?.open;
            self.set_worker(index, Worker { load, open })?;
        }
        Ok(())
    }

    /// The loads as the programs see them now.
    ///
    /// # Errors
    /// The map was not read.
    pub fn loads(&self) -> Result<Vec<u64>, NetError> {
        let workers = self.read_settings()?.workers;
        (0..workers).map(|index| Ok(self.worker(index)?.load)).collect()
    }

    /// Has about one event in so many told (see [`Self::events`]); zero: none.
    ///
    /// # Errors
    /// The map was not written.
    pub fn set_sampling(&mut self, one_in: u32) -> Result<(), NetError> {
        let settings = self.read_settings()?;
        self.write_settings(Settings { sample: one_in, ..settings })
    }

    /// What became of packets.
    ///
    /// # Errors
    /// The map was not read.
    pub fn counters(&self) -> Result<Counters, NetError> {
        let mut sums = [0; Reason::COUNT as usize];
        for (number, sum) in (0..).zip(&mut sums) {
            let of_cpus = self.counters.get(&number, 0).map_err(NetError::map(COUNTERS))?;
            *sum = of_cpus.iter().sum();
        }
        Ok(Counters(sums))
    }

    /// The ring of events, once.
    pub fn events(&mut self) -> Option<Events> {
        self.events.take().map(Events::new)
    }

    /// The program for devices, for measuring it (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// Never, unless the embedded object is another's.
    pub fn program(&mut self) -> Result<&mut SchedClassifier, NetError> {
        program(&mut self.ebpf, STEER)
    }

    fn set_ports<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a [u8; 20]>,
    ) -> Result<(), NetError> {
        let mut ports = Ports::NONE;
        keys.into_iter().for_each(|key| ports.add(&ListenerKey::from_bytes(*key)));
        self.ports.set(0, ports.to_bytes(), 0).map_err(NetError::map(PORTS))
    }

    pub(crate) fn read_settings(&self) -> Result<Settings, NetError> {
        self.settings.get(&0, 0).map(Settings::from_bytes).map_err(NetError::map(SETTINGS))
    }

    pub(crate) fn write_settings(&mut self, settings: Settings) -> Result<(), NetError> {
        self.settings.set(0, settings.to_bytes(), 0).map_err(NetError::map(SETTINGS))
    }

    fn worker(&self, index: u32) -> Result<Worker, NetError> {
        self.workers.get(&index, 0).map(Worker::from_bytes).map_err(NetError::map(WORKERS))
    }

    fn set_worker(&mut self, index: u32, worker: Worker) -> Result<(), NetError> {
        self.workers.set(index, worker.to_bytes(), 0).map_err(NetError::map(WORKERS))
    }

    fn least_load(&self, workers: u32) -> Result<u64, NetError> {
        let mut least = None;
        for index in 0..workers.min(MAX_WORKERS) {
            let worker = self.worker(index)?;
            if worker.open == 1 {
                least = Some(least.map_or(worker.load, |least: u64| least.min(worker.load)));
            }
        }
        Ok(least.unwrap_or(0))
    }
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering").field("pins", &self.pins).finish_non_exhaustive()
    }
}

fn map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, NetError>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    use aya::maps::MapError;
    ebpf.take_map(name)
        .ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
        .and_then(M::try_from)
        .map_err(NetError::map(name))
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

fn key(address: ListenAddress, port: u16) -> ListenerKey {
    let address = match address {
        ListenAddress::Node => ANY_ADDRESS,
        ListenAddress::Ip(address) => octets(address),
    };
    ListenerKey::tcp(address, port)
}

fn keys<const N: usize>(
    map: &HashMap<MapData, [u8; N], u32>,
    name: &'static str,
) -> Result<BTreeSet<[u8; N]>, NetError> {
    map.keys().collect::<Result<_, _>>().map_err(NetError::map(name))
}

/// Brings a map that is a set to what is wanted: first what is missing, then what is too much.
fn bring_to<const N: usize>(
    map: &mut HashMap<MapData, [u8; N], u32>,
    name: &'static str,
    wanted: &BTreeSet<[u8; N]>,
    most: u32,
) -> Result<Changes, NetError> {
    if wanted.len() > most as usize {
        return Err(NetError::TooMany { what: name, count: wanted.len(), most });
    }
    let there = keys(map, name)?;
    let mut changes = Changes::default();
    // What is too much goes first only where both together would not fit.
    let crowded = wanted.union(&there).count() > most as usize;
    let (added, removed) = (wanted.difference(&there), there.difference(wanted));
    let mut remove = |map: &mut HashMap<MapData, [u8; N], u32>| {
        for entry in removed.clone() {
            map.remove(entry).map_err(NetError::map(name))?;
            changes.removed += 1;
        }
        Ok(())
    };
    if crowded {
        remove(map)?;
    }
    for entry in added {
        map.insert(entry, 1, 0).map_err(NetError::map(name))?;
        changes.added += 1;
    }
    if !crowded {
        remove(map)?;
    }
    Ok(changes)
}
