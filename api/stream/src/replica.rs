//! The node's side of one stream.

use crate::{
    Refused,
    wire::{self, Known, Update, Upsert},
};
use penstock_config::{ApplyError, Delta, Key, Kind, State, Version, Versioned};
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// Reason of a refusal: the operator is newer than this node and sends what it does not know.
const UNSUPPORTED: &str = "UnsupportedKind";

/// What a node has. Updates are put together from their parts and checked as a whole before anything
/// is applied.
#[derive(Debug, Default)]
pub struct Replica {
    state: State,
    /// What an operator newer than this node sent and this node cannot read.
    foreign: BTreeMap<Key, Version>,
    arriving: Option<Arriving>,
    /// What this node has does not lead to what the operator has: all of it is asked for anew.
    afresh: bool,
}

#[derive(Debug, Default)]
struct Arriving {
    nonce: u64,
    upserts: Vec<Upsert>,
    removals: Vec<Key>,
    bytes: usize,
}

/// A whole change that fits, ready to be applied and then committed.
#[derive(Debug)]
pub struct Change {
    /// What the answer names.
    pub nonce: u64,
    /// The version of all that the node has after it.
    pub version: Version,
    /// What changes.
    pub delta: Delta,
    /// The configuration after it.
    pub state: State,
    /// What this node cannot read.
    pub unsupported: Vec<Refused>,
    /// See [`Update::traceparent`].
    pub traceparent: String,
    foreign: BTreeMap<Key, Version>,
}

/// An update does not fit what the node has. Nothing of it is applied; what the node has serves on.
/// The stream has to be opened anew, and all of the configuration is asked for.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ReplicaError {
    /// A part of another update came before the last part of this one.
    #[error("a part of update {said} came within update {expected}")]
    MixedParts {
        /// What came.
        said: u64,
        /// What was arriving.
        expected: u64,
    },
    /// An update beyond bounds.
    #[error("an update of more than {0} bytes")]
    TooLarge(usize),
    /// A resource without key or content, a version that is no hash.
    #[error("a {0} in the update is missing or malformed")]
    Malformed(&'static str),
    /// A resource that is not what its key says.
    #[error("the update calls {said} what is {found}")]
    WrongKey {
        /// What the update says.
        said: Key,
        /// What its content says.
        found: Key,
    },
    /// A resource points up to one that does not exist.
    #[error(transparent)]
    Orphan(#[from] ApplyError),
    /// What came is not what the operator meant.
    #[error("the update leads to version {found}, the operator says {said}")]
    WrongVersion {
        /// What the operator says.
        said: Version,
        /// What the node would have.
        found: Version,
    },
}

impl Replica {
    /// A node that has `state`.
    pub fn new(state: State) -> Self {
        Self { state, ..Self::default() }
    }

    /// The configuration.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The version of all that the node has.
    pub fn version(&self) -> Version {
        version_of(&self.state, &self.foreign)
    }

    /// What to say in a Hello: all that the node has, or nothing after an error.
    pub fn known(&self) -> Vec<Known> {
        if self.afresh {
            return Vec::new();
        }
        let known = |(key, version): (&Key, &Version)| Known {
            key: Some(key.clone()),
            version: version.0.to_vec(),
        };
        let held = self.state.iter().map(|resource| (&resource.key, &resource.version));
        held.chain(&self.foreign).map(known).collect()
    }

    /// What this node has and cannot read.
    pub fn unsupported(&self) -> Vec<Refused> {
        refused(&self.foreign)
    }

    /// A new stream begins: what arrived in part is forgotten.
    pub fn begin(&mut self) {
        self.arriving = None;
    }

    /// The next stream does not say what this node has: all of it comes anew.
    pub fn ask_for_everything(&mut self) {
        self.afresh = true;
    }

    /// Takes a part of an update. Gives the whole change when it was the last one.
    ///
    /// # Errors
    /// [`ReplicaError`]; the next [`Replica::known`] asks for everything.
    pub fn receive(&mut self, update: Update) -> Result<Option<Change>, ReplicaError> {
        let received = self.take(update);
        if received.is_err() {
            self.arriving = None;
            self.ask_for_everything();
        }
        received
    }

    /// The change is applied: it is what the node has now.
    pub fn commit(&mut self, change: Change) {
        self.state = change.state;
        self.foreign = change.foreign;
        self.afresh = false;
    }

    fn take(&mut self, update: Update) -> Result<Option<Change>, ReplicaError> {
        let nonce = update.nonce;
        let bytes = update.encoded_len();
        let arriving =
            self.arriving.get_or_insert_with(|| Arriving { nonce, ..Arriving::default() });
        if arriving.nonce != nonce {
            return Err(ReplicaError::MixedParts { said: nonce, expected: arriving.nonce });
        }
        arriving.bytes += bytes;
        if arriving.bytes > wire::MAX_UPDATE_BYTES {
            return Err(ReplicaError::TooLarge(wire::MAX_UPDATE_BYTES));
        }
        arriving.upserts.extend(update.upserts);
        arriving.removals.extend(update.removals);
        if !update.last {
            return Ok(None);
        }
        let said = wire::version(&update.version).ok_or(ReplicaError::Malformed("version"))?;
        let arrived = self.arriving.take().unwrap_or_default();
        let change = self.change(arrived, said)?;
        Ok(Some(Change { traceparent: update.traceparent, ..change }))
    }

    fn change(&self, arrived: Arriving, said: Version) -> Result<Change, ReplicaError> {
        let (mut state, mut foreign) = match self.afresh {
            true => (State::default(), BTreeMap::new()),
            false => (self.state.clone(), self.foreign.clone()),
        };
        let mut delta = Delta::default();
        for key in arrived.removals {
            if foreign.remove(&key).is_none() {
                delta.removals.push(key);
            }
        }
        for upsert in arrived.upserts {
            match read(upsert)? {
                Read::Resource(resource) => delta.upserts.push(resource),
                Read::Foreign(key, version) => {
                    foreign.insert(key, version);
                }
            }
        }
        state.apply(&delta)?;
        let found = version_of(&state, &foreign);
        if found != said {
            return Err(ReplicaError::WrongVersion { said, found });
        }
        if self.afresh {
            delta = self.state.diff(&state);
        }
        let unsupported = refused(&foreign);
        let (nonce, version, traceparent) = (arrived.nonce, said, String::new());
        Ok(Change { nonce, version, delta, state, unsupported, traceparent, foreign })
    }
}

enum Read {
    Resource(Versioned),
    Foreign(Key, Version),
}

fn read(upsert: Upsert) -> Result<Read, ReplicaError> {
    let key = upsert.key.ok_or(ReplicaError::Malformed("key"))?;
    let version = wire::version(&upsert.version).ok_or(ReplicaError::Malformed("version"))?;
    let resource = upsert.resource.ok_or(ReplicaError::Malformed("resource"))?;
    let Some(content) = resource.kind else {
        return match Kind::try_from(key.kind) {
            Ok(_) => Err(ReplicaError::Malformed("resource")),
            Err(_) => Ok(Read::Foreign(key, version)),
        };
    };
    let found = content.key();
    if found != key {
        return Err(ReplicaError::WrongKey { said: key, found });
    }
    Ok(Read::Resource(Versioned { key, version, content: Arc::new(content) }))
}

fn refused(foreign: &BTreeMap<Key, Version>) -> Vec<Refused> {
    let message = |key: &Key| {
        let kind = key.kind;
        format!("kind {kind} is not known to this node, which is older than the operator")
    };
    foreign.keys().map(|key| Refused::new(key.clone(), UNSUPPORTED, message(key))).collect()
}

/// The version of all that a node has, as the operator makes it: in the order of the keys.
fn version_of(state: &State, foreign: &BTreeMap<Key, Version>) -> Version {
    if foreign.is_empty() {
        return state.version();
    }
    let held = state.iter().map(|resource| (&resource.key, &resource.version));
    Version::of_all(held.chain(foreign).collect::<BTreeMap<_, _>>())
}
