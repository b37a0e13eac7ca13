//! One stream of one node.

use super::{
    auth::Gatekeeper,
    fleet::{Fleet, Target},
    mailboxes::Told,
    options::ServeOptions,
};
use crate::{
    Identity, Push, Role, SILENCE, Session, StreamId, Violation,
    wire::{self, FromNode, NodeMessage, OperatorMessage, Update},
};
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use penstock_config::address::wire::Malformed;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Request, Response, Status, Streaming, server::StreamingService};

/// For the first message.
const HELLO: Duration = Duration::from_secs(5);

/// Without a word for so long, the stream is ended. The node has left the serving set by then.
const CUT_OFF: Duration = SILENCE.saturating_mul(3);

/// Messages that wait for the connection. Each is made when there is room.
const QUEUE: usize = 1;

/// `rpc Stream`.
#[derive(Clone)]
pub(super) struct StreamMethod {
    pub(super) fleet: Fleet,
    pub(super) gatekeeper: Gatekeeper,
    pub(super) options: ServeOptions,
    pub(super) closing: watch::Receiver<bool>,
}

/// How a stream ends.
#[derive(Debug)]
enum End {
    /// The node ends.
    Goodbye,
    /// The connection is gone.
    Broken(String),
    /// The node broke the protocol.
    Violation(Violation),
    /// Another replica leads.
    NotLeader,
    /// The node opened another stream.
    Replaced,
    /// The node has to prove itself again.
    Aged,
    /// The server ends.
    Closing,
}

impl StreamingService<NodeMessage> for StreamMethod {
    type Response = OperatorMessage;
    type ResponseStream = BoxStream<'static, Result<OperatorMessage, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<NodeMessage>>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { method.open(request).await })
    }
}

impl StreamMethod {
    async fn open(
        self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<BoxStream<'static, Result<OperatorMessage, Status>>>, Status> {
        let target = self.fleet.targets();
        if !target.borrow().is_leading() {
            return Err(End::NotLeader.status());
        }
        let identified = self.gatekeeper.identify(request.metadata(), request.extensions()).await;
        let who = identified.inspect_err(|status| {
            if status.code() == Code::Unavailable {
                self.fleet.not_examined();
            }
        })?;
        let (outbound, mut queue) = mpsc::channel(QUEUE);
        let inbound = request.into_inner();
        let stream = Stream { inbound, outbound, target, told: None };
        tokio::spawn(self.run(who, stream));
        let messages = stream::poll_fn(move |context| queue.poll_recv(context));
        Ok(Response::new(messages.boxed()))
    }

    async fn run(self, who: Identity, mut stream: Stream) {
        let end = match self.hello(&who, &mut stream).await {
            Ok((id, mut talk)) => {
                tracing::info!(node = who.node, pod = who.pod, role = %who.role, "a node connected");
                let end = self.talk(&who, &id, &mut talk, &mut stream).await;
                self.fleet.closed(&id, matches!(end, End::Goodbye));
                end
            }
            Err(end) => end,
        };
        end.log(&who);
        if !matches!(end, End::Goodbye | End::Broken(_)) {
            // Waits for the queue, but not for ever: a client that reads nothing gets no farewell.
            let _ = timeout(HELLO, stream.outbound.send(Err(end.status()))).await;
        }
    }

    async fn hello(&self, who: &Identity, stream: &mut Stream) -> Result<(StreamId, Talk), End> {
        let first = timeout(HELLO, stream.receive()).await;
        let message = first.map_err(|_| Violation::HelloMissing(HELLO.as_secs()))??;
        let Some(FromNode::Hello(hello)) = message.said else {
            return Err(Violation::HelloExpected.into());
        };
        let session = Session::open(who, &hello)?;
        let id = self.fleet.opened(who, &hello, wire::version(&hello.version));
        if who.role == Role::Agent {
            let mut told = self.fleet.addresses().subscribe(&who.node);
            told.mark_changed();
            stream.told = Some(told);
        }
        Ok((id, Talk { session, push: None, part: None, told: None }))
    }

    async fn talk(
        &self,
        who: &Identity,
        id: &StreamId,
        talk: &mut Talk,
        stream: &mut Stream,
    ) -> End {
        let mut closing = self.closing.clone();
        let mut aged = pin!(sleep(self.options.stream_age));
        let mut cut_off = Instant::now() + CUT_OFF;
        loop {
            if let Err(end) = stream.prepare(who, talk) {
                return end;
            }
            let outbound = stream.outbound.clone();
            tokio::select! {
                message = stream.inbound.message() => match received(message) {
                    Ok(message) => {
                        cut_off = Instant::now() + CUT_OFF;
                        if let Err(end) = self.hear(who, id, talk, message) {
                            return end;
                        }
                    }
                    Err(end) => return end,
                },
                changed = stream.target.changed() => if changed.is_err() {
                    return End::Closing;
                },
                told = changed(&mut stream.told) => talk.told = told,
                permit = outbound.reserve(), if talk.has_more() => match permit {
                    Ok(permit) => talk.send(permit),
                    Err(_) => return End::Broken("the node reads no more".into()),
                },
                () = outbound.closed() => return End::Broken("the node reads no more".into()),
                () = sleep_until(cut_off) => return Violation::Silent(CUT_OFF.as_secs()).into(),
                () = &mut aged => return End::Aged,
                _ = closing.wait_for(|closing| *closing) => return End::Closing,
            }
        }
    }

    fn hear(
        &self,
        who: &Identity,
        id: &StreamId,
        talk: &mut Talk,
        message: NodeMessage,
    ) -> Result<(), End> {
        if !self.fleet.heard(id) {
            return Err(End::Replaced);
        }
        match message.said {
            Some(FromNode::Hello(_)) => return Err(Violation::HelloRepeated.into()),
            Some(FromNode::Answer(answer)) => {
                let said = talk.session.answer(answer)?;
                tracing::debug!(pod = who.pod, version = %said.0, refused = said.1.len(), "acknowledged");
                self.fleet.said(id, who.role, said);
            }
            Some(FromNode::Report(report)) => {
                if let Some(said) = talk.session.report(report)? {
                    self.fleet.said(id, who.role, said);
                }
            }
            Some(FromNode::Addresses(_)) if who.role != Role::Agent => {
                return Err(Violation::AddressesOf(who.role).into());
            }
            Some(FromNode::Addresses(report)) => {
                let report = report.try_into().map_err(|Malformed(of)| Violation::Malformed(of))?;
                self.fleet.addresses().post(&who.node, report);
            }
            Some(FromNode::Goodbye(_)) => return Err(End::Goodbye),
            Some(FromNode::Heartbeat(_)) | None => {}
        }
        Ok(())
    }
}

/// The ends of a stream.
struct Stream {
    inbound: Streaming<NodeMessage>,
    outbound: mpsc::Sender<Result<OperatorMessage, Status>>,
    target: watch::Receiver<Target>,
    /// For an agent.
    told: Option<watch::Receiver<Told>>,
}

impl Stream {
    async fn receive(&mut self) -> Result<NodeMessage, End> {
        received(self.inbound.message().await)
    }

    /// Has the next part ready, where one is due.
    fn prepare(&mut self, who: &Identity, talk: &mut Talk) -> Result<(), End> {
        let target = self.target.borrow_and_update();
        if !target.is_leading() {
            return Err(End::NotLeader);
        }
        if let Some(published) = target.of(who.role)
            && talk.push.is_none()
        {
            talk.push = talk.session.next(published);
        }
        drop(target);
        talk.fill();
        Ok(())
    }
}

/// What is said on a stream.
struct Talk {
    session: Session,
    /// The update that is being sent.
    push: Option<Push>,
    /// Its part that waits for room.
    part: Option<Update>,
    /// What the node is to be told of addresses.
    told: Told,
}

impl Talk {
    fn fill(&mut self) {
        if self.part.is_none() {
            self.part = self.push.as_mut().and_then(Iterator::next);
        }
    }

    fn has_more(&self) -> bool {
        self.part.is_some() || self.told.is_some()
    }

    fn send(&mut self, permit: mpsc::Permit<'_, Result<OperatorMessage, Status>>) {
        if let Some(told) = self.told.take() {
            return permit.send(Ok(Arc::unwrap_or_clone(told).into()));
        }
        let Some(part) = self.part.take() else {
            return;
        };
        if part.last {
            self.push = None;
            self.session.sent();
        }
        permit.send(Ok(part.into()));
    }
}

/// Waits for the next that a node is to be told of addresses; for ever where it has none.
async fn changed(told: &mut Option<watch::Receiver<Told>>) -> Told {
    if let Some(told) = told
        && told.changed().await.is_ok()
    {
        return told.borrow_and_update().clone();
    }
    // The node is gone; its stream ends in its own way.
    std::future::pending().await
}

fn received(message: Result<Option<NodeMessage>, Status>) -> Result<NodeMessage, End> {
    match message {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(End::Broken("it ended without a goodbye".into())),
        Err(status) => Err(match status.code() {
            Code::OutOfRange => Violation::MessageTooLarge(wire::MAX_NODE_MESSAGE).into(),
            Code::DataLoss => Violation::Undecodable(status.message().into()).into(),
            _ => End::Broken(status.message().into()),
        }),
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        End::Violation(violation)
    }
}

impl End {
    fn status(&self) -> Status {
        match self {
            End::Goodbye => Status::ok(""),
            End::Broken(cause) => Status::cancelled(cause),
            End::Violation(violation) => {
                let message = format!("{}: {violation}", violation.reason());
                match violation {
                    Violation::WrongNode { .. }
                    | Violation::WrongPod { .. }
                    | Violation::WrongRole { .. } => Status::permission_denied(message),
                    _ => Status::invalid_argument(message),
                }
            }
            End::NotLeader => Status::unavailable("NotLeader: this replica is not the leader"),
            End::Replaced => Status::aborted("Replaced: the pod opened another stream"),
            End::Aged => Status::unavailable("Aged: prove yourself again"),
            End::Closing => Status::unavailable("Closing: this replica ends"),
        }
    }

    fn log(&self, who: &Identity) {
        let (node, pod, role) = (&who.node, &who.pod, who.role);
        match self {
            End::Violation(violation) => {
                let reason = violation.reason();
                tracing::warn!(%node, %pod, %role, reason, "a node broke the protocol: {violation}");
            }
            End::Broken(cause) => {
                tracing::info!(%node, %pod, %role, "the connection of a node is gone: {cause}");
            }
            end => tracing::info!(%node, %pod, %role, "the stream of a node ended: {end:?}"),
        }
    }
}
