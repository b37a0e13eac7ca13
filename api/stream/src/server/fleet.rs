//! All nodes at once.

use super::mailboxes::Mailboxes;
use crate::{
    Confirmation, Identity, Members, NodeView, Published, Refused, Role, StreamId,
    confirm::confirmation_of, wire::Hello,
};
use parking_lot::Mutex;
use penstock_config::{State, Version};
use std::{sync::Arc, time::Instant};
use tokio::sync::{Notify, watch};

/// What nodes are told and what they said. A handle: clones mean the same fleet.
#[derive(Clone, Debug, Default)]
pub struct Fleet(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    target: watch::Sender<Target>,
    members: Mutex<Members>,
    addresses: Mailboxes,
    /// When a token could not be examined last.
    unexamined: Mutex<Option<Instant>>,
    said: Notify,
}

/// What nodes are to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// Since when this replica holds the lease.
    leading: Option<Instant>,
    published: Option<[Arc<Published>; 2]>,
}

impl Target {
    pub(super) fn is_leading(&self) -> bool {
        self.leading.is_some()
    }

    /// What a role is to have; `None` before anything was published: then a node keeps what it has.
    pub(super) fn of(&self, role: Role) -> Option<&Arc<Published>> {
        let [proxy, agent] = self.published.as_ref()?;
        Some(match role {
            Role::Proxy => proxy,
            Role::Agent => agent,
        })
    }
}

impl Fleet {
    /// A fleet that is told nothing, of a replica that does not lead.
    pub fn new() -> Self {
        Self::default()
    }

    /// This is the configuration now. Nodes are sent what changed for them, and `traceparent` with it
    /// (see [`Update::traceparent`](crate::wire::Update::traceparent); may be empty).
    pub fn publish(&self, state: Arc<State>, traceparent: &str) {
        // Made outside of the lock that every stream reads under. There is one publisher.
        let before = self.0.target.borrow().clone();
        let new = [Role::Proxy, Role::Agent].map(|role| {
            let published = match before.of(role) {
                Some(before) => Published::after(before, role, &state),
                None => Published::new(role, &state),
            };
            Arc::new(published.traced(traceparent))
        });
        self.0.target.send_modify(|target| target.published = Some(new));
    }

    /// Whether this replica holds the lease. A standby sends every node away and forgets what it said.
    pub fn set_leading(&self, leading: bool) {
        self.0.target.send_if_modified(|target| {
            if target.is_leading() == leading {
                return false;
            }
            target.leading = leading.then(Instant::now);
            if !leading {
                *self.0.members.lock() = Members::default();
                self.0.addresses.clear();
            }
            true
        });
    }

    /// Since when this replica leads. Nodes find a new leader within some seconds; before that its
    /// serving set is empty without meaning anything.
    pub fn leading_since(&self) -> Option<Instant> {
        self.0.target.borrow().leading
    }

    /// All nodes that were heard of lately.
    pub fn views(&self, now: Instant) -> Vec<NodeView> {
        self.0.members.lock().views(now).cloned().collect()
    }

    /// When somebody who may be a node was last turned away because nobody could examine the token: the
    /// silence of a node says little then.
    pub fn unexamined(&self) -> Option<Instant> {
        *self.0.unexamined.lock()
    }

    /// A token could not be examined.
    pub(super) fn not_examined(&self) {
        *self.0.unexamined.lock() = Some(Instant::now());
    }

    /// What the serving set says about what was published last.
    pub fn confirmation(&self, now: Instant) -> Confirmation {
        let target = self.0.target.borrow().clone();
        let Some(published) = target.of(Role::Proxy) else {
            return Confirmation::default();
        };
        let members = self.0.members.lock();
        confirmation_of(members.views(now), &published.state, published.version, now)
    }

    /// Waits until a node came, went, or said what it serves. One that waits is told what happened
    /// since it last waited; there is one such.
    pub async fn changed(&self) {
        self.0.said.notified().await;
    }

    /// What nodes are told of addresses, and what they said.
    pub fn addresses(&self) -> &Mailboxes {
        &self.0.addresses
    }

    pub(super) fn targets(&self) -> watch::Receiver<Target> {
        self.0.target.subscribe()
    }

    pub(super) fn opened(
        &self,
        identity: &Identity,
        hello: &Hello,
        serves: Option<Version>,
    ) -> StreamId {
        let stream = self.0.members.lock().opened(identity, hello, serves, Instant::now());
        self.0.said.notify_one();
        stream
    }

    pub(super) fn heard(&self, stream: &StreamId) -> bool {
        let mut members = self.0.members.lock();
        members.heard(stream, Instant::now());
        members.is_current(stream)
    }

    /// A node said what it serves.
    pub(super) fn said(&self, stream: &StreamId, role: Role, said: (Version, Vec<Refused>)) {
        let current = self.0.target.borrow().of(role).map(|published| published.version);
        let mut members = self.0.members.lock();
        members.said(stream, said, current, Instant::now());
        drop(members);
        self.0.said.notify_one();
    }

    pub(super) fn closed(&self, stream: &StreamId, goodbye: bool) {
        self.0.members.lock().closed(stream, goodbye);
        self.0.said.notify_one();
    }
}
