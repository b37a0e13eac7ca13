//! Who the nodes are and what each said last.

use crate::{Refused, Role, wire::Hello};
use penstock_config::Version;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A node that was not heard of for so long has left the serving set.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A node process that has been silent for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Name of the Node that the token is bound to.
    pub node: String,
    /// Name of the pod that the token is bound to.
    pub pod: String,
    /// `namespace/name` of the ServiceAccount.
    pub service_account: String,
    /// The role that this ServiceAccount plays.
    pub role: Role,
}

/// What is known about a node process.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Who it is.
    pub identity: Identity,
    /// See [`Hello::engine`].
    pub engine: String,
    /// See [`Hello::target`].
    pub target: String,
    /// The version it last said it serves.
    pub version: Option<Version>,
    /// What it refuses of that.
    pub refused: Vec<Refused>,
    /// Whether it belongs to the serving set: it has once swapped to what was then current, and was
    /// not silent for [`SILENCE`] since.
    pub joined: bool,
    /// When it last said something.
    pub heard: Instant,
    /// Whether it has a stream.
    pub connected: bool,
}

/// All node processes that were heard of lately. Keyed by role and pod: a pod that connects again is
/// the same one, and its newest stream counts.
#[derive(Debug, Default)]
pub struct Members {
    members: BTreeMap<(Role, String), Member>,
    streams: u64,
}

#[derive(Debug)]
struct Member {
    view: NodeView,
    stream: u64,
}

/// Names a stream of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    member: (Role, String),
    stream: u64,
}

impl Members {
    /// A node opened a stream: it takes the place of one that it had. `serves` is the version it says
    /// it has; where that is another than it last acknowledged (its process began anew), it has to
    /// join again.
    pub fn opened(
        &mut self,
        identity: &Identity,
        hello: &Hello,
        serves: Option<Version>,
        now: Instant,
    ) -> StreamId {
        self.members.retain(|_, member| !member.view.is_forgotten(now));
        self.streams += 1;
        let key = (identity.role, identity.pod.clone());
        let before = self.members.remove(&key).map(|member| member.view);
        let resumed = before.filter(|view| view.version.is_some() && view.version == serves);
        let mut view = resumed.unwrap_or_else(|| NodeView {
            identity: identity.clone(),
            engine: String::new(),
            target: String::new(),
            version: None,
            refused: Vec::new(),
            joined: false,
            heard: now,
            connected: true,
        });
        view.hear(now);
        view.identity.clone_from(identity);
        view.engine.clone_from(&hello.engine);
        view.target.clone_from(&hello.target);
        view.connected = true;
        self.members.insert(key.clone(), Member { view, stream: self.streams });
        StreamId { member: key, stream: self.streams }
    }

    /// Whether it is still the newest stream of its node.
    pub fn is_current(&self, stream: &StreamId) -> bool {
        self.members.get(&stream.member).is_some_and(|member| member.stream == stream.stream)
    }

    /// Something came on a stream.
    pub fn heard(&mut self, stream: &StreamId, now: Instant) {
        if let Some(view) = self.view(stream) {
            view.hear(now);
        }
    }

    /// A node said what it serves and what it refuses of it. `current`: what is published now.
    pub fn said(
        &mut self,
        stream: &StreamId,
        (version, refused): (Version, Vec<Refused>),
        current: Option<Version>,
        now: Instant,
    ) {
        if let Some(view) = self.view(stream) {
            view.hear(now);
            view.version = Some(version);
            view.refused = refused;
            view.joined |= current == Some(version);
        }
    }

    /// A stream ended. A node that said goodbye serves no more and is forgotten at once; one that was cut off belongs to its set until it was silent for [`SILENCE`].
    pub fn closed(&mut self, stream: &StreamId, goodbye: bool) {
        if goodbye && self.is_current(stream) {
            self.members.remove(&stream.member);
        } else if let Some(view) = self.view(stream) {
            view.connected = false;
        }
    }

    /// All that were heard of lately.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = &NodeView> {
        self.members.values().map(|member| &member.view).filter(move |view| !view.is_forgotten(now))
    }

    fn view(&mut self, stream: &StreamId) -> Option<&mut NodeView> {
        let member = self.members.get_mut(&stream.member)?;
        (member.stream == stream.stream).then_some(&mut member.view)
    }
}

impl NodeView {
    fn is_forgotten(&self, now: Instant) -> bool {
        !self.connected && now.saturating_duration_since(self.heard) >= FORGOTTEN
    }

    /// Something was heard. After a silence it has to join the serving set again.
    fn hear(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) >= SILENCE {
            self.joined = false;
        }
        self.heard = self.heard.max(now);
    }
}
