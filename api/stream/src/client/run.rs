//! A node's connections to the operator, one after the other.

use super::{
    backoff::Backoff,
    connect::{ConnectError, Operator},
    modules::LoadModules,
    node::{Diverged, Event, Node},
    options::{Apply, ClientOptions, Link},
};
use crate::{
    ReplicaError,
    codec::{Protobuf, STREAM},
    wire::{self, FromNode, FromOperator, Goodbye, Heartbeat, NodeMessage, OperatorMessage},
};
use futures_util::stream;
use http::uri::PathAndQuery;
use penstock_config::address::{NodeAddresses, Report, wire::Malformed};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Request, Status, Streaming, client::Grpc};

/// Between signs of life.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Before the second attempt to connect, and between later ones.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// For the operator to begin a stream: it examines the token.
const OPENING: Duration = Duration::from_secs(15);

/// For the operator to see that the node ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Messages that wait for the connection.
const QUEUE: usize = 8;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("this process ends")]
    Shutdown,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the operator says: {0}")]
    Operator(String),
    #[error("the operator has ended the stream")]
    Ended,
    #[error("the operator did not begin a stream in time")]
    Opening,
    #[error("the operator's word on addresses means nothing: {0}")]
    Addresses(Malformed),
    #[error(transparent)]
    Update(#[from] ReplicaError),
    #[error(transparent)]
    Diverged(#[from] Diverged),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        End::Operator(status.message().into())
    }
}

/// Keeps the data plane as the operator says. Connects, and connects again whenever the connection
/// ends; what the data plane has serves on meanwhile. What is stored serves when the operator has
/// brought nothing newer within a second. Returns after `shutdown`, when what is under way is applied
/// and saved.
pub async fn run<A: Apply>(
    mut options: ClientOptions,
    apply: A,
    modules: Option<Arc<dyn LoadModules>>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut node = Node::start(apply, modules, &mut options).await;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let mut connection = Connection { options: &options, backoff: &mut backoff };
        let end = connection.run(&mut node, shutdown.as_mut()).await;
        options.tell(|link| {
            link.connected = false;
            link.trouble = Some(end.to_string());
        });
        if matches!(end, End::Shutdown) {
            break;
        }
        let wait = backoff.wait();
        tracing::warn!(?wait, "no configuration comes from the operator: {end}");
        tokio::select! {
            () = alone(&mut node, &options, sleep(wait)) => {}
            () = shutdown.as_mut() => break,
        }
    }
    node.finish().await;
}

impl ClientOptions {
    fn tell(&self, change: impl FnOnce(&mut Link)) {
        if let Some(link) = &self.link {
            link.send_modify(change);
        }
    }
}

/// Waits for something that does not need the node; the stored configuration serves when its time has
/// come meanwhile.
async fn alone<A: Apply, T>(
    node: &mut Node<A>,
    options: &ClientOptions,
    wait: impl Future<Output = T>,
) -> T {
    let mut wait = pin!(wait);
    loop {
        tokio::select! {
            done = wait.as_mut() => return done,
            () = node.stored() => restore(node, options).await,
        }
    }
}

async fn restore<A: Apply>(node: &mut Node<A>, options: &ClientOptions) {
    node.serve_stored().await;
    let version = node.serves();
    options.tell(|link| (link.version, link.restored) = (version, version.is_some()));
}

/// One connection.
struct Connection<'a> {
    options: &'a ClientOptions,
    backoff: &'a mut Backoff,
}

impl Connection<'_> {
    async fn run<A: Apply>(
        &mut self,
        node: &mut Node<A>,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let begin = async {
            let connect = Operator::connect(self.options);
            let operator = alone(node, self.options, connect).await?;
            let hello = node.hello(self.options).await;
            let begin = begin(&operator, FromNode::Hello(hello));
            let (say, inbound) = alone(node, self.options, begin).await?;
            Ok((operator, say, inbound))
        };
        let (operator, say, mut inbound) = tokio::select! {
            begun = begin => match begun {
                Ok(begun) => begun,
                Err(end) => return end,
            },
            () = shutdown.as_mut() => return End::Shutdown,
        };
        self.options.tell(|link| (link.connected, link.trouble) = (true, None));
        tracing::info!(endpoint = self.options.endpoint, "connected to the operator");
        let end = tokio::select! {
            end = self.talk(node, &operator, &say, &mut inbound) => end,
            () = shutdown => End::Shutdown,
        };
        if matches!(end, End::Shutdown) {
            // Waits for the operator to end the stream: then it has heard.
            let _ = say.try_send(FromNode::Goodbye(Goodbye {}).into());
            let rest = async { while let Ok(Some(_)) = inbound.message().await {} };
            let _ = timeout(GOODBYE, rest).await;
        }
        end
    }

    async fn talk<A: Apply>(
        &mut self,
        node: &mut Node<A>,
        operator: &Operator,
        say: &mpsc::Sender<NodeMessage>,
        inbound: &mut Streaming<OperatorMessage>,
    ) -> End {
        let mut addresses = Addresses::begin(self.options);
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbound.message(), if node.is_idle() => {
                    let received = match message {
                        Ok(Some(message)) => message.said,
                        Ok(None) => return End::Ended,
                        Err(status) => return status.into(),
                    };
                    self.backoff.reset();
                    let received = match received {
                        Some(FromOperator::Update(update)) => {
                            node.receive(update, operator).map_err(End::from)
                        }
                        Some(FromOperator::Addresses(told)) => addresses.told(told),
                        None => Ok(()),
                    };
                    if let Err(end) = received {
                        return end;
                    }
                }
                said = addresses.say(say) => if let Err(end) = said {
                    return end;
                },
                event = node.event() => match event {
                    Event::Stored => restore(node, self.options).await,
                    event => if let Err(end) = self.act(node, operator, say, event) {
                        return end;
                    },
                },
                _ = heartbeat.tick() => {
                    // A queue that is full proves less than nothing; the connection will tell.
                    let _ = say.try_send(FromNode::Heartbeat(Heartbeat {}).into());
                }
            }
        }
    }

    fn act<A: Apply>(
        &mut self,
        node: &mut Node<A>,
        operator: &Operator,
        say: &mpsc::Sender<NodeMessage>,
        event: Event,
    ) -> Result<(), End> {
        match event {
            Event::Say(message) => {
                let version = node.serves();
                self.options.tell(|link| (link.version, link.restored) = (version, false));
                // Nobody reads for longer than many heartbeats: the connection is no good.
                let said = say.try_send(message.into());
                return said.map_err(|_| End::Ended);
            }
            Event::Diverged(diverged) => return Err(diverged.into()),
            // The caller's: it takes a while.
            Event::Stored => {}
            Event::Save => node.save(),
            Event::Fetch => node.fetch(operator),
            Event::Loaded(loaded) => node.use_loaded(&loaded),
        }
        Ok(())
    }
}

/// What is said and heard of addresses on one connection.
struct Addresses<'a> {
    told: Option<&'a mpsc::UnboundedSender<NodeAddresses>>,
    report: Option<watch::Receiver<Report>>,
}

impl<'a> Addresses<'a> {
    /// The operator that one connects to has heard nothing yet.
    fn begin(options: &'a ClientOptions) -> Self {
        let port = options.addresses.as_ref();
        let mut report = port.map(|port| port.report.clone());
        if let Some(report) = &mut report {
            report.mark_changed();
        }
        Self { told: port.map(|port| &port.told), report }
    }

    fn told(&self, told: wire::Addresses) -> Result<(), End> {
        let told = told.try_into().map_err(End::Addresses)?;
        // Nobody is there any more: this process ends.
        self.told.map_or(Ok(()), |port| port.send(told).map_err(|_| End::Shutdown))
    }

    /// Says the newest when it changed and there is room. Can be dropped at any time.
    async fn say(&mut self, say: &mpsc::Sender<NodeMessage>) -> Result<(), End> {
        let Some(report) = &mut self.report else {
            return std::future::pending().await;
        };
        if !report.has_changed().unwrap_or(false) && report.changed().await.is_err() {
            return std::future::pending().await;
        }
        // Until it is sent it counts as changed: what is dropped here is not lost.
        report.mark_changed();
        let room = say.reserve().await.map_err(|_| End::Ended)?;
        let message = wire::AddressReport::from(&*report.borrow_and_update());
        room.send(FromNode::Addresses(message).into());
        Ok(())
    }
}

async fn begin(
    operator: &Operator,
    hello: FromNode,
) -> Result<(mpsc::Sender<NodeMessage>, Streaming<OperatorMessage>), End> {
    let (say, mut said) = mpsc::channel(QUEUE);
    let _ = say.try_send(NodeMessage::from(hello));
    let mut request = Request::new(stream::poll_fn(move |context| said.poll_recv(context)));
    request.metadata_mut().insert("authorization", operator.authorization.clone());
    let mut grpc = Grpc::new(operator.channel.clone())
        .max_encoding_message_size(wire::MAX_NODE_MESSAGE)
        .max_decoding_message_size(wire::MAX_OPERATOR_MESSAGE);
    let path = PathAndQuery::from_static(STREAM);
    let codec = Protobuf::<NodeMessage, OperatorMessage>::default();
    let open = async {
        grpc.ready().await.map_err(|error| End::Operator(error.to_string()))?;
        Ok::<_, End>(grpc.streaming(request, path, codec).await?.into_inner())
    };
    let inbound = timeout(OPENING, open).await.map_err(|_| End::Opening)??;
    Ok((say, inbound))
}
