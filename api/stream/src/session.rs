//! The operator's side of one stream.

use crate::{
    Published, Refused, Role, Violation,
    members::Identity,
    wire::{self, Answer, Hello, Refusal, Report, Update, Upsert},
};
use penstock_config::{Delta, Key, Version};
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// What is known of one node during one stream: what it has, and which update is under way. Has no
/// clock and no socket.
///
/// One update is under way at a time. What is published meanwhile waits as the newest value only, so
/// that a slow node costs no memory and skips what was overtaken.
#[derive(Debug)]
pub struct Session {
    holds: Holds,
    under_way: Option<UnderWay>,
    nonce: u64,
}

/// What the node has.
#[derive(Debug)]
enum Holds {
    /// What it said.
    Said(BTreeMap<Key, Version>),
    /// What it acknowledged.
    Acknowledged(Arc<Published>),
}

#[derive(Debug)]
struct UnderWay {
    nonce: u64,
    target: Arc<Published>,
    sent: bool,
}

/// An update to send: a whole change.
#[derive(Debug)]
pub struct Push {
    nonce: u64,
    version: Version,
    delta: Arc<Delta>,
    traceparent: String,
    /// How many removals, and then upserts, are in earlier parts.
    removed: usize,
    upserted: usize,
    done: bool,
}

impl Session {
    /// Opens a stream with the node's first message.
    ///
    /// # Errors
    /// [`Violation`] where it contradicts what the token proves, or is malformed.
    pub fn open(proven: &Identity, hello: &Hello) -> Result<Self, Violation> {
        let names = [&hello.node, &hello.pod, &hello.engine, &hello.target];
        if names.iter().any(|name| name.len() > wire::MAX_NAME) {
            return Err(Violation::NameTooLong(wire::MAX_NAME));
        }
        let role = hello.role().ok_or(Violation::UnknownRole(hello.role))?;
        check(proven, hello, role)?;
        let known = hello.known.iter().map(|known| {
            let key = known.key.clone().ok_or(Violation::Malformed("key"))?;
            Ok((key, version(&known.version)?))
        });
        let holds = Holds::Said(known.collect::<Result<_, _>>()?);
        Ok(Self { holds, under_way: None, nonce: 0 })
    }

    /// The update that leads the node to `target`, if one is due: none is under way, and the node has
    /// something else. A new stream always begins with one, empty where nothing changed, so that the
    /// node says what it refuses.
    pub fn next(&mut self, target: &Arc<Published>) -> Option<Push> {
        if self.under_way.is_some() {
            return None;
        }
        let (delta, traceparent) = match &self.holds {
            Holds::Acknowledged(held) if held.version == target.version => return None,
            Holds::Acknowledged(held) => (target.since(held), &*target.traceparent),
            // A node that comes later is no part of the change's trace.
            Holds::Said(known) => (Arc::new(difference(known, target)), ""),
        };
        self.nonce += 1;
        self.under_way = Some(UnderWay { nonce: self.nonce, target: target.clone(), sent: false });
        Some(Push::new(self.nonce, target.version, delta, traceparent))
    }

    /// All parts of the update under way are sent.
    pub fn sent(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.sent = true;
        }
    }

    /// The node answered. Gives the version that it serves now and what it refuses of it.
    ///
    /// # Errors
    /// [`Violation`] where it answers something that was not sent.
    pub fn answer(&mut self, answer: Answer) -> Result<(Version, Vec<Refused>), Violation> {
        let said = answer.nonce;
        let Some(under_way) = &self.under_way else {
            return Err(Violation::UnexpectedAnswer(said));
        };
        let expected = under_way.nonce;
        if said != expected {
            return Err(Violation::WrongNonce { said, expected });
        }
        if !under_way.sent {
            return Err(Violation::EarlyAnswer(said));
        }
        let (said, expected) = (version(&answer.version)?, under_way.target.version);
        if said != expected {
            return Err(Violation::WrongVersion { said, expected });
        }
        let refused = refused(answer.refused)?;
        self.holds = Holds::Acknowledged(under_way.target.clone());
        self.under_way = None;
        Ok((said, refused))
    }

    /// The node reported. Gives the version that it means and what it refuses of it; `None` where the
    /// report was overtaken by an answer.
    ///
    /// # Errors
    /// [`Violation`] where it is malformed.
    pub fn report(&self, report: Report) -> Result<Option<(Version, Vec<Refused>)>, Violation> {
        let (said, refused) = (version(&report.version)?, refused(report.refused)?);
        let current = matches!(&self.holds, Holds::Acknowledged(held) if held.version == said);
        Ok(current.then_some((said, refused)))
    }
}

impl Push {
    fn new(nonce: u64, version: Version, delta: Arc<Delta>, traceparent: &str) -> Self {
        let traceparent = traceparent.to_owned();
        Self { nonce, version, delta, traceparent, removed: 0, upserted: 0, done: false }
    }

    /// The nonce that the node answers with.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }
}

/// The parts, each made when it is asked for.
impl Iterator for Push {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        if self.done {
            return None;
        }
        let (mut upserts, mut removals, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < wire::PART_BYTES {
            if let Some(key) = self.delta.removals.get(self.removed) {
                self.removed += 1;
                bytes += key.encoded_len();
                removals.push(key.clone());
            } else if let Some(resource) = self.delta.upserts.get(self.upserted) {
                self.upserted += 1;
                let upsert = Upsert::from(resource);
                bytes += upsert.encoded_len();
                upserts.push(upsert);
            } else {
                self.done = true;
                break;
            }
        }
        let (version, last) = (self.version.0.to_vec(), self.done);
        let traceparent = if last { std::mem::take(&mut self.traceparent) } else { String::new() };
        Some(Update { nonce: self.nonce, upserts, removals, version, last, traceparent })
    }
}

fn check(proven: &Identity, hello: &Hello, said: Role) -> Result<(), Violation> {
    if proven.node != hello.node {
        let (said, proven) = (hello.node.clone(), proven.node.clone());
        return Err(Violation::WrongNode { said, proven });
    }
    if proven.pod != hello.pod {
        let (said, proven) = (hello.pod.clone(), proven.pod.clone());
        return Err(Violation::WrongPod { said, proven });
    }
    if proven.role != said {
        return Err(Violation::WrongRole { said, proven: proven.role });
    }
    Ok(())
}

/// What leads from what a node says it has to `target`.
fn difference(known: &BTreeMap<Key, Version>, target: &Published) -> Delta {
    let differs = |r: &&penstock_config::Versioned| known.get(&r.key) != Some(&r.version);
    let upserts = target.state.iter().filter(differs).cloned().collect();
    let gone = |key: &&Key| target.state.get(key).is_none();
    Delta { upserts, removals: known.keys().rev().filter(gone).cloned().collect() }
}

fn version(field: &[u8]) -> Result<Version, Violation> {
    wire::version(field).ok_or(Violation::Malformed("version"))
}

fn refused(refusals: Vec<Refusal>) -> Result<Vec<Refused>, Violation> {
    if refusals.len() > wire::MAX_REFUSALS {
        return Err(Violation::TooManyRefusals(refusals.len()));
    }
    if refusals.iter().any(|refusal| refusal.key.is_none()) {
        return Err(Violation::Malformed("key"));
    }
    Ok(refusals.into_iter().map(Refused::from).collect())
}
