//! The proxy's end of the conversation with the agent of its node.

use crate::Proxy;
use parking_lot::Mutex;
use penstock_handover::{Channel, HandoverError, Socket, ToAgent, ToProxy};
use std::{
    collections::BTreeMap,
    net::{IpAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

/// Between attempts to reach the agent.
const RETRY: Duration = Duration::from_millis(200);

/// Holds the listening sockets that the agent gave, and gives them back to a new one.
///
/// They are accepted on once the proxy has a configuration: until then whoever dials waits, or another
/// proxy that holds the same sockets serves.
#[derive(Debug)]
pub struct Handover {
    path: PathBuf,
    pod: String,
    addresses: Vec<IpAddr>,
    workers: usize,
    proxy: Arc<Proxy>,
    state: Mutex<State>,
    /// Held while the proxy is told which sockets to accept on.
    steering: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<Socket, OwnedFd>,
    channel: Option<Arc<Channel>>,
    /// This conversation gave sockets.
    given: bool,
    /// The proxy has a configuration.
    configured: bool,
    /// What this conversation gave is accepted on.
    accepted: bool,
    /// The agent was told so.
    told: bool,
    /// An agent was told so once.
    served: bool,
    leaving: bool,
}

impl Handover {
    /// For the agent that listens at a path.
    pub fn new(
        path: PathBuf,
        pod: String,
        addresses: Vec<IpAddr>,
        workers: usize,
        proxy: Arc<Proxy>,
    ) -> Self {
        Self {
            path,
            pod,
            addresses,
            workers,
            proxy,
            state: Mutex::default(),
            steering: Mutex::default(),
        }
    }

    /// Talks to one agent after the other until [`Handover::leave`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self: &Arc<Self>) -> std::io::Result<thread::JoinHandle<()>> {
        let this = self.clone();
        thread::Builder::new().name("handover".into()).spawn(move || this.run())
    }

    fn run(&self) {
        let mut complained = false;
        while !self.state.lock().leaving {
            let ended = match Channel::connect(&self.path) {
                Ok(channel) => {
                    complained = false;
                    let ended = self.converse(Arc::new(channel));
                    let mut state = self.state.lock();
                    (state.channel, state.told) = (None, false);
                    ended
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended
                && !std::mem::replace(&mut complained, true)
            {
                tracing::warn!("no sockets from the agent; what is held serves on: {error}");
            }
            thread::sleep(RETRY);
        }
    }

    fn converse(&self, channel: Arc<Channel>) -> Result<(), HandoverError> {
        {
            let _quiet = self.steering.lock();
            let mut state = self.state.lock();
            if state.leaving {
                return Ok(());
            }
            (state.given, state.accepted, state.told) = (false, false, false);
            state.channel = Some(channel.clone());
            let hello = ToAgent::Hello {
                pod: self.pod.clone(),
                addresses: self.addresses.clone(),
                workers: self.workers,
                sockets: state.held.keys().copied().collect(),
            };
            let fds: Vec<_> = state.held.values().map(AsFd::as_fd).collect();
            channel.send(&hello, &fds)?;
        }
        while let Some((message, fds)) = channel.receive::<ToProxy>()? {
            match message {
                ToProxy::Sockets(names) => self.take(names, fds)?,
                ToProxy::Refused { message } => {
                    tracing::error!("the agent gives no sockets: {message}");
                }
            }
        }
        Ok(())
    }

    /// Holds exactly these from now on.
    fn take(&self, names: Vec<Socket>, fds: Vec<OwnedFd>) -> std::io::Result<()> {
        {
            let mut state = self.state.lock();
            state.held.retain(|name, _| names.contains(name));
            for (name, fd) in names.into_iter().zip(fds) {
                state.held.entry(name).or_insert(fd);
            }
            state.given = true;
            tracing::info!(count = state.held.len(), "sockets from the agent");
        }
        self.accept()
    }

    /// The proxy has a configuration: it can serve.
    pub fn configured(&self) {
        let before = std::mem::replace(&mut self.state.lock().configured, true);
        if !before && let Err(error) = self.accept() {
            tracing::error!("cannot accept on the sockets from the agent: {error}");
        }
    }

    /// Accepts on what is held, as soon as there is something to answer with.
    fn accept(&self) -> std::io::Result<()> {
        let _alone = self.steering.lock();
        let sockets: Vec<(u16, TcpListener)> = {
            let state = self.state.lock();
            if !state.given || !state.configured || state.leaving {
                return Ok(());
            }
            let copy = |(name, fd): (&Socket, &OwnedFd)| {
                Ok((name.port, TcpListener::from(fd.try_clone()?)))
            };
            state.held.iter().map(copy).collect::<std::io::Result<_>>()?
        };
        self.proxy.steer(sockets);
        self.state.lock().accepted = true;
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let mut state = self.state.lock();
        if !state.accepted || state.told || state.leaving {
            return;
        }
        if let Some(channel) = &state.channel {
            // Where it cannot be said the conversation is over, and the next one begins anew.
            state.told = channel.send(&ToAgent::Serving, &[]).is_ok();
            state.served |= state.told;
        }
    }

    /// Whether connections come in, as far as it is up to this end. It stays so while an agent is
    /// replaced: what is held serves on.
    pub fn serves(&self) -> bool {
        self.state.lock().served
    }

    /// Whether the sockets would end with this process: it serves, and no agent has them.
    pub fn alone(&self) -> bool {
        let state = self.state.lock();
        state.served && !state.told
    }

    /// Tells the agent that the proxy drains.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        state.leaving = true;
        if let Some(channel) = state.channel.take() {
            // An agent that is gone need not know.
            let _ = channel.send(&ToAgent::Leaving, &[]);
            channel.close();
        }
    }
}
