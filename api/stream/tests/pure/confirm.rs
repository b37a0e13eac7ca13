//! Who must acknowledge: the serving set is the proxies heard of within five seconds; one joins after
//! it swapped to the current configuration, and leaves by silence.

use crate::given::{endpoints, hello, identity, published, state};
use penstock_config::{Key, Kind, State, Version};
use penstock_stream::{
    Confirmation, Identity, Members, Refused, Role, SILENCE, StreamId, confirmation, next_silence,
};
use std::time::{Duration, Instant};

/// Nodes, a clock, and two configurations of which one is current.
struct World {
    members: Members,
    start: Instant,
    now: Instant,
    current: State,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self { members: Members::default(), start, now: start, current: state(&[1]) }
    }

    fn open(&mut self, pod: &str) -> StreamId {
        self.members.opened(&identity(pod), &hello(pod), None, self.now)
    }

    fn resume(&mut self, pod: &str, serves: &State) -> StreamId {
        self.members.opened(&identity(pod), &hello(pod), Some(serves.version()), self.now)
    }

    fn says(&mut self, stream: &StreamId, version: Version) {
        let current = Some(self.current.version());
        self.members.said(stream, (version, Vec::new()), current, self.now);
    }

    /// A node that joined.
    fn join(&mut self, pod: &str) -> StreamId {
        let stream = self.open(pod);
        self.says(&stream, self.current.version());
        stream
    }

    fn publish(&mut self, ports: &[u32]) {
        self.current = state(ports);
    }

    /// Time passes; those who are named are heard of all the time.
    fn pass(&mut self, seconds: u64, heard: &[&StreamId]) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            heard.iter().for_each(|stream| self.members.heard(stream, self.now));
        }
    }

    fn confirmed(&self) -> Confirmation {
        confirmation(self.members.views(self.now), &self.current, self.now)
    }

    #[track_caller]
    fn expect(&self, acknowledged: bool, members: usize) {
        let found = self.confirmed();
        let after = self.now - self.start;
        assert_eq!((found.acknowledged, found.members), (acknowledged, members), "after {after:?}");
    }
}

#[test]
fn an_empty_set_acknowledges_nothing() {
    let mut world = World::new();
    world.expect(false, 0);
    world.open("a");
    world.expect(false, 0);
}

#[test]
fn all_of_the_set_must_acknowledge() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.expect(true, 2);
    world.publish(&[2]);
    world.expect(false, 2);
    world.says(&a, world.current.version());
    world.expect(false, 2);
    assert_eq!(world.confirmed().waiting, ["b"]);
    world.says(&b, world.current.version());
    world.expect(true, 2);
}

#[test]
fn a_dead_node_holds_a_change_up_for_five_seconds() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.publish(&[2]);
    world.says(&a, world.current.version());
    world.members.closed(&b, false);
    world.pass(4, &[&a]);
    world.expect(false, 2);
    let silent = next_silence(world.members.views(world.now), world.now);
    assert_eq!(silent, Some(world.start + SILENCE), "that is when to look again");
    world.pass(1, &[&a]);
    world.expect(true, 1);
}

#[test]
fn a_node_that_says_goodbye_holds_nothing_up() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.publish(&[2]);
    world.says(&a, world.current.version());
    world.members.closed(&b, true);
    world.expect(true, 1);
}

#[test]
fn a_joining_node_never_takes_an_acknowledgement_back() {
    let mut world = World::new();
    let a = world.join("a");
    let b = world.open("b");
    world.expect(true, 1);
    world.pass(1, &[&a, &b]);
    world.publish(&[2]);
    world.says(&b, state(&[1]).version());
    world.says(&a, world.current.version());
    world.expect(true, 1);
    world.says(&b, world.current.version());
    world.expect(true, 2);
}

#[test]
fn membership_alone_never_takes_an_acknowledgement_back() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.pass(6, &[&a]);
    world.expect(true, 1);
    world.pass(1, &[&a, &b]);
    world.expect(true, 2);
    world.pass(6, &[]);
    world.expect(false, 0);
}

#[test]
fn a_node_that_was_silent_joins_again_like_a_new_one() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.pass(5, &[&a]);
    world.publish(&[2]);
    world.says(&a, world.current.version());
    world.expect(true, 1);
    world.pass(1, &[&a, &b]);
    world.expect(true, 1);
    world.says(&b, world.current.version());
    world.expect(true, 2);
}

#[test]
fn a_stream_that_was_cut_and_opened_again_in_time_is_the_same_member() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.members.closed(&b, false);
    world.pass(2, &[&a]);
    let before = world.current.clone();
    let b = world.resume("b", &before);
    world.expect(true, 2);
    world.publish(&[2]);
    world.says(&a, world.current.version());
    world.expect(false, 2);
    world.says(&b, world.current.version());
    world.expect(true, 2);
}

#[test]
fn a_process_that_began_anew_with_something_else_has_to_join_again() {
    let mut world = World::new();
    let a = world.join("a");
    world.join("b");
    let b = world.resume("b", &state(&[7]));
    world.expect(true, 1);
    world.publish(&[2]);
    world.says(&a, world.current.version());
    world.expect(true, 1);
    world.says(&b, world.current.version());
    world.expect(true, 2);
}

#[test]
fn what_an_old_stream_says_does_not_count() {
    let mut world = World::new();
    let old = world.join("a");
    let new = world.resume("a", &world.current.clone());
    world.publish(&[2]);
    world.says(&old, world.current.version());
    world.expect(false, 1);
    world.members.closed(&old, true);
    world.expect(false, 1);
    assert!(!world.members.is_current(&old) && world.members.is_current(&new));
    world.says(&new, world.current.version());
    world.expect(true, 1);
}

#[test]
fn agents_do_not_serve_and_are_not_asked() {
    let mut world = World::new();
    let a = world.join("a");
    let agent = Identity { role: Role::Agent, ..identity("agent") };
    world.members.opened(&agent, &hello("agent"), None, world.now);
    world.expect(true, 1);
    world.pass(1, &[&a]);
    let silent = next_silence(world.members.views(world.now), world.now);
    assert_eq!(silent, Some(world.now + SILENCE));
}

#[test]
fn what_is_refused_serves_on_where_every_node_of_the_set_says_so() {
    let mut world = World::new();
    let (one, two) = (world.join("one"), world.join("two"));
    let key = endpoints("n/b0:80", 1).key();
    let refused = Refused::new(key, "InvalidConfig", "no");
    let says = |world: &mut World, stream: &StreamId, refused: Refused| {
        let version = world.current.version();
        world.members.said(stream, (version, vec![refused]), Some(version), world.now);
    };
    says(&mut world, &one, refused.clone().kept());
    says(&mut world, &two, refused.clone().kept());
    assert_eq!(world.confirmed().refused, [refused.clone().kept()]);
    says(&mut world, &two, refused.clone());
    assert_eq!(world.confirmed().refused, std::slice::from_ref(&refused));
    says(&mut world, &one, refused.clone());
    says(&mut world, &two, refused.clone().kept());
    assert_eq!(world.confirmed().refused, [refused]);
}

#[test]
fn refusals_of_the_set_are_joined_one_for_each_resource() {
    let mut world = World::new();
    let (a, b, old) = (world.open("a"), world.open("b"), world.join("c"));
    let refused =
        |name: &str, message: &str| Refused::new(Key::new(Kind::Endpoints, name), "Bad", message);
    let current = Some(world.current.version());
    let before = (published(&[5]).version, vec![refused("n/b0:80", "of another version")]);
    world.members.said(&old, before, current, world.now);
    let here = (world.current.version(), vec![refused("n/b0:80", "a"), refused("n/gone:80", "a")]);
    world.members.said(&a, here, current, world.now);
    let here = (world.current.version(), vec![refused("n/b0:80", "b")]);
    world.members.said(&b, here, current, world.now);
    let found = world.confirmed();
    assert_eq!(found.refused, [refused("n/b0:80", "a")]);
    assert_eq!(found.refused[0].key, endpoints("n/b0:80", 1).key());
    assert_eq!((found.acknowledged, found.members), (false, 3), "one serves another version");
}

#[test]
fn a_node_that_was_not_heard_of_for_long_is_forgotten() {
    let mut world = World::new();
    let (a, b) = (world.join("a"), world.join("b"));
    world.members.closed(&b, false);
    world.pass(599, &[&a]);
    assert_eq!(world.members.views(world.now).count(), 2);
    world.pass(1, &[&a]);
    assert_eq!(world.members.views(world.now).count(), 1);
}
