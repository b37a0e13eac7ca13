//! The node's side of one stream.

use crate::given::{hello, identity, published, state};
use penstock_config::{Key, Kind, State, Version};
use penstock_stream::{
    Change, Published, Replica, ReplicaError, Session,
    wire::{Hello, Update, Upsert},
};

/// The parts of the update that leads a replica to `target`.
fn parts(replica: &Replica, target: &std::sync::Arc<Published>) -> Vec<Update> {
    let hello = Hello { known: replica.known(), ..hello("pod-1") };
    let mut session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
    session.next(target).expect("an update").collect()
}

fn change(replica: &mut Replica, target: &std::sync::Arc<Published>) -> Change {
    let parts = parts(replica, target);
    let received = parts.into_iter().map(|part| replica.receive(part).expect("it fits"));
    received.flatten().last().expect("a whole change")
}

#[test]
fn a_change_counts_when_it_is_committed_and_not_before() {
    let (before, target) = (state(&[1]), published(&[2, 3]));
    let mut replica = Replica::new(before.clone());
    let change = change(&mut replica, &target);
    assert_eq!(replica.state(), &before);
    assert_eq!(change.delta, before.diff(&target.state));
    replica.commit(change);
    assert_eq!((replica.state(), replica.version()), (&*target.state, target.version));
}

#[test]
fn a_change_is_given_with_its_last_part() {
    let ports: Vec<u32> = (1..20_000).collect();
    let target = published(&ports);
    let mut replica = Replica::default();
    let mut parts = parts(&replica, &target);
    let last = parts.pop().expect("a last part");
    for part in parts {
        assert!(replica.receive(part).expect("it fits").is_none());
    }
    let change = replica.receive(last).expect("it fits").expect("it is whole");
    assert_eq!(change.state, *target.state);
}

#[test]
fn parts_of_a_broken_stream_are_forgotten() {
    let target = published(&[1]);
    let mut replica = Replica::default();
    let part = Update { last: false, nonce: 1, ..parts(&replica, &target).remove(0) };
    assert!(replica.receive(part).expect("it fits").is_none());
    replica.begin();
    let whole = Update { nonce: 2, ..parts(&replica, &target).remove(0) };
    assert_eq!(replica.receive(whole).expect("it fits").expect("whole").state, *target.state);
}

/// Each of these is refused as a whole, and then everything is asked for and fits.
#[test]
fn an_update_that_does_not_fit_changes_nothing_and_heals_by_asking_for_everything() {
    let (before, target) = (state(&[1, 5]), published(&[2, 0, 3]));
    let good = parts(&Replica::new(before.clone()), &target).remove(0);
    let with = |edit: &dyn Fn(&mut Upsert)| {
        let mut bad = good.clone();
        bad.upserts.iter_mut().for_each(edit);
        bad
    };
    let other = Some(Key::new(Kind::Backend, "n/other:80"));
    let version = published(&[9]).version.0.to_vec();
    let cases = [
        (with(&|upsert| upsert.key = None), "a key in the update is missing or malformed"),
        (with(&|upsert| upsert.version.clear()), "a version in the update is missing"),
        (with(&|upsert| upsert.resource = None), "a resource in the update is missing"),
        (with(&|upsert| upsert.resource = Some(Default::default())), "a resource in the update"),
        (with(&|upsert| upsert.key.clone_from(&other)), "the update calls backend n/other:80 what"),
        (Update { upserts: Vec::new(), ..good.clone() }, "the update leads to version"),
        (Update { version, ..good.clone() }, "the update leads to version"),
        (Update { version: vec![1], ..good.clone() }, "a version in the update is missing"),
        (
            Update { removals: vec![Key::new(Kind::Backend, "n/b1:80")], ..good.clone() },
            "endpoints n/b1:80 refers to backend n/b1:80, which does not exist",
        ),
    ];
    for (bad, problem) in cases {
        let mut replica = Replica::new(before.clone());
        let error = replica.receive(bad).expect_err(problem);
        assert!(error.to_string().starts_with(problem), "{error} is not {problem}");
        assert_eq!(replica.state(), &before, "what it has serves on");
        assert!(replica.known().is_empty(), "everything is asked for");
        let change = change(&mut replica, &target);
        assert_eq!(change.delta, before.diff(&target.state), "and only the difference is applied");
        replica.commit(change);
        assert_eq!(replica.state(), &*target.state);
        assert!(!replica.known().is_empty());
    }
}

#[test]
fn parts_of_two_updates_do_not_mix() {
    let mut replica = Replica::default();
    let part = |nonce| Update { nonce, ..Update::default() };
    assert!(replica.receive(part(1)).expect("a part").is_none());
    let mixed = ReplicaError::MixedParts { said: 2, expected: 1 };
    assert_eq!(replica.receive(part(2)).expect_err("mixed"), mixed);
}

/// During an upgrade the operator is newer than some nodes.
#[test]
fn a_kind_that_is_not_known_is_refused_by_name_and_the_rest_serves() {
    let target = published(&[1]);
    let mut update = parts(&Replica::default(), &target).remove(0);
    let key = Key { kind: 99, name: "n/new".into() };
    let foreign =
        Upsert { key: Some(key.clone()), version: vec![7; 16], resource: Some(Default::default()) };
    update.upserts.push(foreign);
    let held = target.state.iter().map(|resource| (&resource.key, &resource.version));
    let version = Version::of_all(held.chain([(&key, &Version([7; 16]))]));
    update.version = version.0.to_vec();
    let mut replica = Replica::default();
    let change = replica.receive(update).expect("it fits").expect("it is whole");
    assert_eq!(change.version, version);
    assert_eq!(change.state, *target.state);
    assert_eq!(
        (&change.unsupported[0].key, &*change.unsupported[0].reason),
        (&key, "UnsupportedKind")
    );
    replica.commit(change);
    assert_eq!(replica.version(), version);
    assert_eq!(replica.unsupported().len(), 1);
    assert_eq!(replica.known().len(), 3, "it says that it has it, and is not sent it again");
    let gone = self::change(&mut replica, &target);
    assert!(gone.delta.is_empty() && gone.unsupported.is_empty());
    replica.commit(gone);
    assert_eq!(replica.version(), target.version);
}

/// A field that this node does not know is lost when it reads a resource; what it has is still what
/// the operator says, so that it is not sent the same again for ever.
#[test]
fn a_resource_has_the_version_that_the_operator_gave_it() {
    let mut update = parts(&Replica::default(), &published(&[1])).remove(0);
    update.upserts[0].version = vec![3; 16];
    let key = update.upserts[0].key.clone().expect("a key");
    let versions: Vec<(Key, Version)> = update
        .upserts
        .iter()
        .map(|u| (u.key.clone().expect("a key"), Version(u.version[..].try_into().expect("16"))))
        .collect();
    update.version = Version::of_all(versions.iter().map(|(k, v)| (k, v))).0.to_vec();
    let mut replica = Replica::default();
    let change = replica.receive(update).expect("it fits").expect("it is whole");
    replica.commit(change);
    assert_eq!(replica.state().get(&key).map(|r| r.version), Some(Version([3; 16])));
}

#[test]
fn a_node_without_anything_asks_for_everything() {
    assert_eq!(Replica::default().known(), []);
    assert_eq!(Replica::default().version(), State::default().version());
}
