//! The parts, put together.

use super::{
    clerk::{Clerk, Counts, Input},
    install::Conflist,
    server,
    state::StateFile,
    wiring::NodeWiring,
};
use crate::{admin::AddressHealth, args::AddressArgs};
use anyhow::Context as _;
use penstock_config::address::{NodeAddresses, Report};
use penstock_stream::AddressPort;
use prometheus_client::metrics::histogram::Histogram;
use std::{path::PathBuf, sync::mpsc as threads, thread};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};

/// Seconds of an answer: from a fifth of a millisecond to as long as one may wait.
const SECONDS: [f64; 12] =
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0, 5.0, 20.0];

/// What gives addresses, set up.
pub(crate) struct Addresses {
    clerk: threads::Sender<Input>,
    thread: thread::JoinHandle<()>,
    told: mpsc::UnboundedReceiver<NodeAddresses>,
    counts: watch::Receiver<Counts>,
    configured: watch::Sender<bool>,
    conflist: Conflist,
    socket: PathBuf,
    plugin: PathBuf,
}

impl Addresses {
    /// Starts the thread. Gives what the stream and the port of health need.
    pub(crate) fn start(args: &AddressArgs) -> anyhow::Result<(Self, AddressPort, AddressHealth)> {
        let file = StateFile::open(&args.addresses_file)
            .with_context(|| format!("cannot keep {}", args.addresses_file.display()))?;
        let (reports, report) = watch::channel(Report::default());
        let (counting, counts) = watch::channel(Counts::default());
        let adds = Histogram::new(SECONDS);
        let wiring = Box::new(NodeWiring::new(args.masquerade_outside.clone()));
        let clerk = Clerk::new(file, wiring, reports, counting, adds.clone());
        let (say, inputs) = threads::channel();
        let thread =
            thread::Builder::new().name("addresses".into()).spawn(move || clerk.run(&inputs))?;
        let (tell, told) = mpsc::unbounded_channel();
        let (configured, is_configured) = watch::channel(false);
        let masquerade = args.masquerade_outside.is_some();
        let seen = counts.clone();
        let health = AddressHealth { counts: seen, configured: is_configured, adds, masquerade };
        let addresses = Self {
            clerk: say,
            thread,
            told,
            counts,
            configured,
            conflist: Conflist::new(&args.cni_bin, &args.cni_conf),
            socket: args.cni_socket.clone(),
            plugin: args.cni_plugin.clone(),
        };
        Ok((addresses, AddressPort { report, told: tell }, health))
    }

    /// The socket. The plugin is on the node before anybody could be told to start it.
    pub(crate) fn bind(&self) -> anyhow::Result<UnixListener> {
        self.conflist.install_plugin(&self.plugin)?;
        server::bind(&self.socket)
            .with_context(|| format!("cannot listen at {}", self.socket.display()))
    }

    /// Carries what is said to and fro; never ends.
    pub(crate) async fn run(&mut self, listener: UnixListener) {
        let clerk = self.clerk.clone();
        let serving = server::serve(listener, clerk.clone());
        let telling = async {
            while let Some(told) = self.told.recv().await {
                let _ = clerk.send(Input::Told(told));
            }
            std::future::pending::<()>().await;
        };
        let (conflist, socket, configured) = (&self.conflist, &self.socket, &self.configured);
        let counts = &mut self.counts;
        let configuring = async {
            if counts.wait_for(|counts| counts.told && counts.interfaces > 0).await.is_ok() {
                match conflist.write(socket) {
                    Ok(()) => {
                        tracing::info!("pods of this node get addresses");
                        configured.send_replace(true);
                        let _ = clerk.send(Input::Serving(true));
                    }
                    Err(error) => tracing::error!("{error}"),
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::join!(serving, telling, configuring);
    }

    /// Ends the thread. The configuration stays: plugins wait for the next agent.
    pub(crate) fn end(self) -> thread::Result<()> {
        let _ = self.clerk.send(Input::End);
        self.thread.join()
    }
}
