//! Whatever happens on the way, a node comes to have what is published.

use crate::given::{hello, identity, published, state};
use penstock_config::{Key, State};
use penstock_stream::{
    Published, Push, Refused, Replica, Session,
    wire::{Answer, Hello, Update, refusals},
};
use proptest::{collection::vec, prelude::*};
use std::{collections::VecDeque, sync::Arc};

/// How many backends there may be.
const BACKENDS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<u32>),
    /// The operator sends a part.
    Send,
    /// A part arrives; with the last one the node applies, and refuses so many.
    Arrive(usize),
    /// The answer arrives.
    Hear,
    /// The connection breaks: what is on its way is lost.
    Break,
    /// The node begins anew with what it saved.
    Restart,
    /// A part arrives with something missing.
    Damage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => vec(0_u32..4, 0..=BACKENDS).prop_map(Step::Publish),
        4 => Just(Step::Send),
        4 => (0_usize..3).prop_map(Step::Arrive),
        4 => Just(Step::Hear),
        1 => Just(Step::Break),
        1 => Just(Step::Restart),
        1 => Just(Step::Damage),
    ];
    vec(step, 0..60)
}

/// An operator, a node, and what is on its way between them.
struct World {
    target: Arc<Published>,
    session: Session,
    push: Option<Push>,
    down: VecDeque<Update>,
    up: VecDeque<Answer>,
    replica: Replica,
    /// What the data plane serves: only ever changed by whole changes.
    served: State,
    /// What the node refuses of it.
    refused: Vec<Refused>,
    /// What the operator knows of that.
    acknowledged: Option<Vec<Refused>>,
}

impl World {
    fn new() -> Self {
        let session = Session::open(&identity("pod-1"), &hello("pod-1")).expect("a good Hello");
        Self {
            target: published(&[]),
            session,
            push: None,
            down: VecDeque::new(),
            up: VecDeque::new(),
            replica: Replica::default(),
            served: State::default(),
            refused: Vec::new(),
            acknowledged: None,
        }
    }

    fn connect(&mut self) {
        (self.push, self.acknowledged) = (None, None);
        self.down.clear();
        self.up.clear();
        self.replica.begin();
        let hello = Hello { known: self.replica.known(), ..hello("pod-1") };
        self.session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(ports) => self.target = published(&ports),
            Step::Send => self.send(),
            Step::Arrive(refuse) => {
                if let Some(update) = self.down.pop_front() {
                    self.arrive(update, refuse);
                }
            }
            Step::Hear => {
                if let Some(answer) = self.up.pop_front() {
                    let (_, refused) = self.session.answer(answer).expect("a true answer");
                    self.acknowledged = Some(refused);
                }
            }
            Step::Break => self.connect(),
            Step::Restart => {
                let saved = self.replica.state().iter().map(|r| (*r.content).clone()).collect();
                self.replica = Replica::new(saved);
                self.connect();
            }
            Step::Damage => {
                if let Some(mut update) = self.down.pop_front() {
                    update.upserts.pop();
                    self.arrive(update, 0);
                }
            }
        }
    }

    fn send(&mut self) {
        if self.push.is_none() {
            self.push = self.session.next(&self.target);
        }
        if let Some(update) = self.push.as_mut().and_then(Iterator::next) {
            if update.last {
                self.push = None;
                self.session.sent();
            }
            self.down.push_back(update);
        }
    }

    fn arrive(&mut self, update: Update, refuse: usize) {
        match self.replica.receive(update) {
            Ok(Some(change)) => {
                self.served.apply(&change.delta).expect("the data plane can apply it");
                assert_eq!(self.served, change.state);
                let keys = change.state.iter().take(refuse).map(|resource| resource.key.clone());
                self.refused = keys.map(|key: Key| Refused::new(key, "No", "no")).collect();
                let answer = Answer {
                    nonce: change.nonce,
                    version: change.version.0.to_vec(),
                    refused: refusals(&self.refused),
                };
                self.up.push_back(answer);
                self.replica.commit(change);
            }
            Ok(None) => {}
            Err(_) => self.connect(),
        }
        assert_eq!(&self.served, self.replica.state(), "the node has what it serves");
    }

    /// Undisturbed from here on.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.send();
            self.take(Step::Arrive(1));
            self.take(Step::Hear);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_node_comes_to_have_what_is_published(steps in steps(), last in vec(0_u32..4, 0..=BACKENDS)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.take(Step::Publish(last));
        world.settle();
        prop_assert_eq!(&world.served, &*world.target.state);
        prop_assert_eq!(world.replica.version(), world.target.version);
        prop_assert!(world.session.next(&world.target).is_none(), "nothing more is due");
        prop_assert_eq!(world.acknowledged, Some(world.refused));
    }

    #[test]
    fn a_resumed_stream_sends_what_differs_and_nothing_else(
        has in vec(0_u32..4, BACKENDS),
        wanted in vec(0_u32..4, BACKENDS),
    ) {
        let (has, wanted) = (state(&has), published(&wanted));
        let hello = Hello { known: Replica::new(has.clone()).known(), ..hello("pod-1") };
        let mut session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
        let parts: Vec<Update> = session.next(&wanted).expect("an update").collect();
        let delta = has.diff(&wanted.state);
        let upserts: Vec<_> = parts.iter().flat_map(|p| &p.upserts).flat_map(|u| &u.key).collect();
        prop_assert_eq!(upserts, delta.upserts.iter().map(|r| &r.key).collect::<Vec<_>>());
        let removals: Vec<_> = parts.iter().flat_map(|part| part.removals.clone()).collect();
        prop_assert_eq!(removals, delta.removals);
    }
}
