//! Keeps sockets, proxies and the kernel together: one thread, one event after the other.

use crate::{Action, Event, Kernel, Listening, ProxyId, Roster, handover};
use parking_lot::Mutex;
use penstock_config::{State, Version};
use penstock_handover::{Channel, HandoverError, Socket, ToProxy};
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// Between looks at devices and addresses of the node: a new pod's packets are steered after that, or
/// sooner, see [`Input::Devices`].
const LOOK: Duration = Duration::from_millis(200);
/// How long connections wait for a proxy when the last has gone. Then packets pass unchanged.
pub const GRACE: Duration = Duration::from_secs(15);

/// What the keeper is told.
#[derive(Debug)]
pub enum Input {
    /// A proxy introduced itself.
    Hello {
        /// The conversation.
        proxy: ProxyId,
        /// To answer it.
        channel: Arc<Channel>,
        /// Name of its pod.
        pod: String,
        /// Addresses of its pod.
        addresses: Vec<IpAddr>,
        /// How many sockets it wants.
        workers: usize,
        /// Sockets that it holds.
        holds: Vec<(Socket, OwnedFd)>,
    },
    /// A proxy accepts.
    Serving(ProxyId),
    /// A proxy drains, or has ended.
    Gone(ProxyId),
    /// A configuration, and where to say that it is in force.
    Configure(State, mpsc::Sender<Version>),
    /// Devices may have come or gone.
    Devices,
    /// The agent ends. What is steered goes on.
    End,
}

/// What others may know.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Proxies that talk to this agent, and whether they serve.
    pub proxies: BTreeMap<String, bool>,
    /// How many sockets there are.
    pub sockets: usize,
    /// What the kernel refused last.
    pub trouble: Option<String>,
    /// Why nothing can be steered on this node at all.
    pub fallback: Option<String>,
    /// Packets by what became of them.
    pub packets: Vec<(&'static str, u64)>,
}

/// The thread's state.
pub struct Keeper {
    kernel: Box<dyn Kernel>,
    roster: Roster,
    sockets: BTreeMap<Socket, Listening>,
    proxies: BTreeMap<ProxyId, Proxy>,
    /// Sockets that a proxy gave back with its hello, until the roster has decided.
    offered: BTreeMap<Socket, Listening>,
    addresses: Vec<IpAddr>,
    /// The configuration, once one has come.
    state: Option<State>,
    alone_at: Option<Instant>,
    grace: Duration,
    status: Arc<Mutex<Status>>,
}

struct Proxy {
    channel: Arc<Channel>,
    pod: String,
    serving: bool,
}

impl Keeper {
    /// A keeper that knows of no proxy. One that an earlier agent had is expected within the grace
    /// period.
    pub fn new(kernel: Box<dyn Kernel>, grace: Duration, status: Arc<Mutex<Status>>) -> Self {
        Self {
            kernel,
            roster: Roster::default(),
            sockets: BTreeMap::new(),
            proxies: BTreeMap::new(),
            offered: BTreeMap::new(),
            addresses: Vec::new(),
            state: None,
            alone_at: Some(Instant::now() + grace),
            grace,
            status,
        }
    }

    /// Handles inputs until [`Input::End`], or until nobody can send any.
    pub fn run(mut self, inputs: &mpsc::Receiver<Input>) {
        let mut look = Instant::now();
        loop {
            let now = Instant::now();
            if self.alone_at.is_some_and(|at| at <= now) {
                self.alone_at = None;
                self.event(Event::Alone);
            }
            if look <= now {
                look = now + LOOK;
                let result = self.kernel.refresh();
                self.note(result);
                self.status.lock().packets = self.kernel.packets();
            }
            match inputs.recv_timeout(look.saturating_duration_since(Instant::now())) {
                Ok(Input::Devices) => look = Instant::now(),
                Ok(Input::End) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.input(input),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        for proxy in self.proxies.values() {
            proxy.channel.close();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Hello { proxy, channel, pod, addresses, workers, holds } => {
                self.proxies.insert(proxy, Proxy { channel, pod, serving: false });
                for (name, fd) in holds {
                    match Listening::adopt(name, fd) {
                        Ok(socket) => _ = self.offered.insert(name, socket),
                        Err(error) => tracing::warn!("{error}"),
                    }
                }
                let holds = self.offered.keys().copied().collect();
                self.event(Event::Hello { proxy, addresses, workers, holds });
                self.offered.clear();
            }
            Input::Serving(proxy) => {
                if let Some(proxy) = self.proxies.get_mut(&proxy) {
                    proxy.serving = true;
                    tracing::info!(pod = proxy.pod, "a proxy serves");
                }
                self.event(Event::Serving(proxy));
            }
            Input::Gone(proxy) => {
                if let Some(proxy) = self.proxies.remove(&proxy) {
                    tracing::info!(pod = proxy.pod, "a proxy has gone");
                }
                self.event(Event::Gone(proxy));
            }
            Input::Configure(state, done) => {
                let version = state.version();
                self.state = Some(state);
                let result = self.kernel.configure(self.state.as_ref(), &self.addresses);
                // Not acknowledged where the kernel refused: the operator must not say that clients
                // can come in.
                if self.note(result) {
                    let _ = done.send(version);
                }
            }
            Input::Devices | Input::End => {}
        }
        self.report();
    }

    fn event(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.roster.handle(event));
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.act(action) {
                actions.extend(self.roster.handle(event));
            }
        }
        if self.roster.served() {
            self.alone_at = None;
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Make(count) => return Some(Event::Made(self.make(count))),
            Action::Adopt(names) => {
                for name in names {
                    self.sockets.extend(self.offered.remove(&name).map(|socket| (name, socket)));
                }
            }
            Action::Give(proxy, names) => self.give(proxy, &names),
            Action::Steer(names) => {
                let sockets: Vec<_> = names.iter().filter_map(|n| self.sockets.get(n)).collect();
                let result = self.kernel.steer(&sockets);
                self.note(result);
            }
            Action::Addresses(addresses) => {
                self.addresses = addresses;
                let result = self.kernel.configure(self.state.as_ref(), &self.addresses);
                self.note(result);
            }
            Action::Close(names) => names.iter().for_each(|name| _ = self.sockets.remove(name)),
            Action::Await => self.alone_at = Some(Instant::now() + self.grace),
            Action::Refuse(proxy, message) => {
                tracing::warn!("a proxy is refused: {message}");
                if let Some(proxy) = self.proxies.get(&proxy) {
                    handover::refuse(&proxy.channel, message);
                }
            }
        }
        None
    }

    fn make(&mut self, count: usize) -> Vec<Socket> {
        let mut made = Vec::with_capacity(count);
        for _ in 0..count {
            match self.kernel.make() {
                Ok(socket) => {
                    made.push(socket.name);
                    self.sockets.insert(socket.name, socket);
                }
                Err(error) => {
                    self.status.lock().trouble = Some(error.to_string());
                    tracing::error!("{error}");
                    break;
                }
            }
        }
        made
    }

    fn give(&self, proxy: ProxyId, names: &[Socket]) {
        let Some(proxy) = self.proxies.get(&proxy) else { return };
        let known: Vec<_> = names.iter().filter_map(|name| self.sockets.get(name)).collect();
        let names = known.iter().map(|socket| socket.name).collect();
        let fds: Vec<_> = known.iter().map(|socket| socket.fd()).collect();
        if let Err(error) = proxy.channel.send(&ToProxy::Sockets(names), &fds) {
            self.lost(proxy, &error);
        }
    }

    /// The reader of the channel sees its end and says [`Input::Gone`].
    fn lost(&self, proxy: &Proxy, error: &HandoverError) {
        tracing::warn!(pod = proxy.pod, "{error}");
        proxy.channel.close();
    }

    /// Whether it went well.
    fn note(&self, result: Result<(), penstock_net::NetError>) -> bool {
        let trouble = result.err().map(|error| error.to_string());
        let mut status = self.status.lock();
        if let Some(trouble) = &trouble
            && status.trouble.as_ref() != Some(trouble)
        {
            tracing::error!("{trouble}");
        }
        status.trouble = trouble;
        status.trouble.is_none()
    }

    fn report(&self) {
        let mut status = self.status.lock();
        status.proxies = self.proxies.values().map(|p| (p.pod.clone(), p.serving)).collect();
        status.sockets = self.sockets.len();
    }
}
