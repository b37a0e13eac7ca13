//! Bytes of an enemy: they are refused or read within bounds, and never bring anything down.

use crate::given::{hello, identity, published, state};
use penstock_stream::{
    Replica, Session,
    wire::{
        Answer, ArtifactRequest, Chunk, FromNode, Hello, NodeMessage, OperatorMessage, Refusal,
        Report, Update,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use prost::Message;

/// A good message of each kind, as bytes.
fn good() -> Vec<Vec<u8>> {
    let known = Replica::new(state(&[1, 2])).known();
    let hello = Hello { known, ..hello("pod-1") };
    let mut session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
    let target = published(&[3, 0, 4]);
    let updates = session.next(&target).expect("an update");
    let refused = vec![Refusal { reason: "No".into(), message: "no".into(), ..Refusal::default() }];
    let version = target.version.0.to_vec();
    let said = [
        FromNode::Hello(hello),
        FromNode::Answer(Answer { nonce: 1, version: version.clone(), refused: refused.clone() }),
        FromNode::Report(Report { version, refused }),
    ];
    let said = said.map(|said| NodeMessage::from(said).encode_to_vec());
    said.into_iter().chain(updates.map(|u| OperatorMessage::from(u).encode_to_vec())).collect()
}

/// Reads bytes as everything that they might be, as the ends do.
fn read(bytes: &[u8]) {
    if let Ok(NodeMessage { said: Some(said) }) = NodeMessage::decode(bytes) {
        let target = published(&[3, 0, 4]);
        let mut session = Session::open(&identity("pod-1"), &hello("pod-1")).expect("a good Hello");
        session.next(&target).expect("an update");
        session.sent();
        match said {
            FromNode::Hello(hello) => {
                if let Ok(mut session) = Session::open(&identity("pod-1"), &hello) {
                    session.next(&target).expect("an update").for_each(drop);
                }
            }
            FromNode::Answer(answer) => {
                if let Ok((version, refused)) = session.answer(answer) {
                    assert_eq!(version, target.version);
                    assert!(refused.iter().all(|one| one.reason.len() <= 64));
                }
            }
            FromNode::Report(report) => {
                assert!(matches!(session.report(report), Ok(None) | Err(_)))
            }
            FromNode::Addresses(report) => _ = penstock_config::address::Report::try_from(report),
            FromNode::Heartbeat(_) | FromNode::Goodbye(_) => {}
        }
    }
    if let Ok(update) = Update::decode(bytes) {
        let mut replica = Replica::new(state(&[1, 2]));
        if let Ok(Some(change)) = replica.receive(update) {
            let version = change.version;
            replica.commit(change);
            assert_eq!(replica.version(), version);
        }
    }
    if let Ok(request) = ArtifactRequest::decode(bytes)
        && request.is_well_formed()
    {
        assert_eq!(request.digest.len(), 71);
    }
    let _ = Chunk::decode(bytes);
    let _ = OperatorMessage::decode(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..512)) {
        read(&bytes);
    }

    /// Nearly good: cut, changed, doubled.
    #[test]
    fn damaged_messages_are_read_or_refused(
        which in any::<Index>(),
        edits in vec((any::<Index>(), any::<u8>()), 0..6),
        cut in any::<Index>(),
        doubled in any::<bool>(),
    ) {
        let good = good();
        let mut bytes = which.get(&good).clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        read(&bytes);
        if doubled {
            read(&[bytes.clone(), bytes].concat());
        }
    }
}

#[test]
fn a_request_for_a_module_names_a_digest() {
    let request = |digest: &str, engine: &str| ArtifactRequest {
        digest: digest.into(),
        engine: engine.into(),
        target: "x86_64".into(),
    };
    let digest = format!("sha256:{}", "0a".repeat(32));
    assert!(request(&digest, "e").is_well_formed());
    let upper = digest.to_uppercase();
    for bad in
        ["", "sha256:", &digest[..70], &format!("{digest}0"), &upper, &digest.replace('a', "/")]
    {
        assert!(!request(bad, "e").is_well_formed(), "{bad}");
    }
    assert!(!request(&digest, &"e".repeat(257)).is_well_formed());
}
