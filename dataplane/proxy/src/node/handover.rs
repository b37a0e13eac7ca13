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
#[derive(Debug)]
pub struct Handover {
    path: PathBuf,
    pod: String,
    addresses: Vec<IpAddr>,
    workers: usize,
    proxy: Arc<Proxy>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<Socket, OwnedFd>,
    channel: Option<Arc<Channel>>,
    /// The sockets of this conversation are accepted on.
    given: bool,
    /// The proxy has a configuration.
    configured: bool,
    /// The agent was told both.
    told: bool,
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
        Self { path, pod, addresses, workers, proxy, state: Mutex::default() }
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
                    self.converse(Arc::new(channel))
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
            let mut state = self.state.lock();
            if state.leaving {
                return Ok(());
            }
            (state.given, state.told) = (false, false);
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
        self.state.lock().channel = None;
        Ok(())
    }

    /// Accepts on exactly these.
    fn take(&self, names: Vec<Socket>, fds: Vec<OwnedFd>) -> Result<(), HandoverError> {
        let sockets: Vec<(u16, TcpListener)> = {
            let mut state = self.state.lock();
            state.held.retain(|name, _| names.contains(name));
            for (name, fd) in names.into_iter().zip(fds) {
                state.held.entry(name).or_insert(fd);
            }
            let copy = |(name, fd): (&Socket, &OwnedFd)| {
                Ok((name.port, TcpListener::from(fd.try_clone()?)))
            };
            state.held.iter().map(copy).collect::<std::io::Result<_>>()?
        };
        tracing::info!(count = sockets.len(), "sockets from the agent");
        self.proxy.steer(sockets);
        self.state.lock().given = true;
        self.tell();
        Ok(())
    }

    /// The proxy has a configuration: it can serve.
    pub fn configured(&self) {
        self.state.lock().configured = true;
        self.tell();
    }

    fn tell(&self) {
        let mut state = self.state.lock();
        if !state.given || !state.configured || state.told || state.leaving {
            return;
        }
        if let Some(channel) = &state.channel {
            // Where it cannot be said the conversation is over, and the next one begins anew.
            state.told = channel.send(&ToAgent::Serving, &[]).is_ok();
        }
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
