//! A node begins with what it had when it ended.

use crate::{
    node::Disk,
    operator::{Operator, eventually, on_this_thread, state, with_filter},
    trust::Authority,
};
use penstock_config::{Certificate, ResourceKind, State};
use penstock_stream::{Store, StoreError, wire::ArtifactRequest};
use std::{fs, os::unix::fs::PermissionsExt};

const SECRET: &[u8] = b"-----BEGIN PRIVATE KEY-----";

fn secret() -> State {
    let mut state = state(2, 1);
    state.insert(ResourceKind::Certificate(Certificate {
        name: "n/cert".into(),
        chain_pem: Vec::new(),
        key_pem: SECRET.to_vec(),
    }));
    state
}

#[test]
fn a_node_that_comes_back_serves_the_newest_and_not_first_what_is_stored() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        operator.publish(&state(20, 1));
        let node = disk.start_stored(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        node.stop().await;
        operator.publish(&state(21, 1));

        let node = disk.start_stored(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [42]);
        assert!(node.plane.serves(&state(21, 1)));
    });
}

#[test]
fn a_node_begins_without_an_operator() {
    on_this_thread(async {
        let authority = Authority::new();
        let disk = Disk::new(&authority);
        disk.store().save(&state(5, 1)).expect("saved");
        let node = disk.start_stored(1);
        eventually(|| node.plane.serves(&state(5, 1)), "it serves").await;
        let link = || node.link.borrow().clone();
        eventually(|| link().trouble.is_some(), "it says that it is alone").await;
        assert!(link().restored && !link().connected);
        assert_eq!(link().version, Some(state(5, 1).version()));
    });
}

#[test]
fn a_killed_node_has_saved_what_it_served_a_moment_ago() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        operator.publish(&state(3, 1));
        let node = disk.start_stored(operator.port);
        let saved = || disk.store().load().expect("readable") == Some(state(3, 1));
        eventually(saved, "saved").await;
        node.kill().await;
        assert!(saved());
    });
}

#[test]
fn a_store_that_cannot_be_read_is_as_none() {
    on_this_thread(async {
        let authority = Authority::new();
        let operator = Operator::start(&authority).await;
        let disk = Disk::new(&authority);
        disk.store().save(&state(5, 1)).expect("saved");
        fs::write(disk.path("store/state"), b"penstock-state-1 and then nonsense, all of it")
            .expect("written");
        operator.publish(&state(2, 1));
        let node = disk.start_stored(operator.port);
        eventually(|| operator.acknowledged(1), "acknowledged").await;
        assert_eq!(node.plane.look().changes, [4], "all of it came from the operator");
        node.stop().await;
        assert_eq!(disk.store().load().expect("readable"), Some(state(2, 1)));
    });
}

#[test]
fn what_is_stored_is_read_again_and_holds_no_secret_in_the_clear() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let store = || Store::open(&path("store"), &path("tmpfs/key"));
    assert_eq!(store().expect("a store").load().expect("none"), None);
    store().expect("a store").save(&secret()).expect("saved");
    assert_eq!(store().expect("a store").load().expect("readable"), Some(secret()));
    let bytes = fs::read(path("store/state")).expect("a file");
    assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET));
    assert!(!bytes.windows(4).any(|window| window == b"n/b0"));
    for file in ["store/state", "tmpfs/key"] {
        let mode = fs::metadata(path(file)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store().expect("a store").save(&secret()).expect("saved");
    assert_ne!(fs::read(path("store/state")).expect("a file"), bytes, "another nonce each time");
}

#[test]
fn a_file_that_was_changed_anywhere_is_corrupt() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path(), &directory.path().join("key")).expect("a store");
    store.save(&secret()).expect("saved");
    let file = directory.path().join("state");
    let good = fs::read(&file).expect("a file");
    let corrupt = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("written");
        matches!(store.load(), Err(StoreError::Corrupt { .. }))
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(corrupt(&bad), "byte {at}");
    }
    for length in 0..good.len() {
        assert!(corrupt(&good[..length]), "{length} bytes");
    }
    assert!(!corrupt(&good));
}

/// After a reboot tmpfs is empty.
#[test]
fn another_key_opens_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, key) = (directory.path().join("store"), directory.path().join("key"));
    Store::open(&store, &key).expect("a store").save(&secret()).expect("saved");
    fs::remove_file(&key).expect("removed");
    let error = Store::open(&store, &key).expect("a store").load().expect_err("another key");
    assert!(error.to_string().contains("before a reboot"), "{error}");
}

#[test]
fn a_key_that_others_can_read_or_that_is_none_is_not_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key");
    let problem = || Store::open(directory.path(), &key).expect_err("refused").to_string();
    Store::open(directory.path(), &key).expect("a store");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("set");
    assert!(problem().contains("can be read by others"), "{}", problem());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(&key, [0; 31]).expect("written");
    assert!(problem().contains("has not 32 bytes"), "{}", problem());
}

#[test]
fn a_module_is_removed_when_it_was_not_used_twice_and_not_while_it_is_about_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path(), &directory.path().join("key")).expect("a store");
    let request = |of: u8| ArtifactRequest {
        digest: format!("sha256:{}", format!("{of:02x}").repeat(32)),
        engine: "engine-1".into(),
        target: "x86-64-v3".into(),
    };
    let keep = |of: u8| store.keep_module(&request(of), &[of]).expect("kept");
    let save = |of: u8| store.save(&with_filter(state(1, 1), &request(of).digest)).expect("saved");
    let kept = |of: u8| store.module(&request(of)).is_some_and(|module| module[..] == [of]);
    keep(1);
    save(1);
    keep(2);
    save(1);
    assert!(kept(1) && kept(2), "2 came for the next configuration");
    save(2);
    assert!(kept(1) && kept(2));
    save(2);
    assert!(!kept(1) && kept(2));
    let other = ArtifactRequest { engine: "engine-2".into(), ..request(2) };
    assert!(store.module(&other).is_none(), "another engine needs another module");
}
