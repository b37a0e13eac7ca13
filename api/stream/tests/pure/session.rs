//! The operator's side of one stream.

use crate::given::{answer, hello, identity, published, state};
use penstock_config::{Key, Kind};
use penstock_stream::{
    Push, Replica, Session, Violation,
    wire::{self, Answer, Hello, Known, Refusal, Report, Update},
};

fn open() -> Session {
    Session::open(&identity("pod-1"), &hello("pod-1")).expect("a good Hello")
}

fn keys(push: Push) -> (Vec<String>, Vec<String>) {
    let parts: Vec<Update> = push.collect();
    let upserts = parts.iter().flat_map(|part| &part.upserts).flat_map(|upsert| &upsert.key);
    let removals = parts.iter().flat_map(|part| &part.removals);
    (upserts.map(Key::to_string).collect(), removals.map(Key::to_string).collect())
}

#[test]
fn a_hello_that_contradicts_the_token_is_refused_by_name() {
    let cases: [(Hello, &str); 6] = [
        (Hello { node: "node-2".into(), ..hello("pod-1") }, "WrongNode"),
        (hello("pod-2"), "WrongPod"),
        (Hello { role: 2, ..hello("pod-1") }, "WrongRole"),
        (Hello { role: 0, ..hello("pod-1") }, "UnknownRole"),
        (Hello { role: 3, ..hello("pod-1") }, "UnknownRole"),
        (Hello { engine: "x".repeat(wire::MAX_NAME + 1), ..hello("pod-1") }, "NameTooLong"),
    ];
    for (hello, reason) in cases {
        let violation = Session::open(&identity("pod-1"), &hello).expect_err(reason);
        assert_eq!(violation.reason(), reason, "{violation}");
    }
}

#[test]
fn a_hello_with_a_malformed_resource_is_refused() {
    let key = Some(Key::new(Kind::Backend, "n/b:80"));
    let (nameless, short) =
        (Known { key: None, version: vec![0; 16] }, Known { key, version: vec![0; 15] });
    for (known, field) in [(nameless, "key"), (short, "version")] {
        let hello = Hello { known: vec![known], ..hello("pod-1") };
        let violation = Session::open(&identity("pod-1"), &hello).expect_err(field);
        assert_eq!(violation, Violation::Malformed(field));
    }
}

#[test]
fn a_resumed_stream_is_sent_the_difference_only() {
    let mut hello = hello("pod-1");
    hello.known = Replica::new(state(&[1, 2, 3, 4])).known();
    let mut session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
    let push = session.next(&published(&[1, 20, 3, 0, 5])).expect("an update");
    let (upserts, removals) = keys(push);
    assert_eq!(upserts, ["backend n/b4:80", "endpoints n/b1:80", "endpoints n/b4:80"]);
    assert_eq!(removals, ["endpoints n/b3:80", "backend n/b3:80"], "children first");
}

#[test]
fn a_stream_begins_with_an_update_though_nothing_changed() {
    let mut hello = hello("pod-1");
    hello.known = Replica::new(state(&[1])).known();
    let mut session = Session::open(&identity("pod-1"), &hello).expect("a good Hello");
    let push = session.next(&published(&[1])).expect("an empty update, to be answered");
    assert_eq!(keys(push), (vec![], vec![]));
}

#[test]
fn one_update_is_under_way_and_what_was_overtaken_is_skipped() {
    let (first, overtaken, last) = (published(&[1]), published(&[2]), published(&[3]));
    let mut session = open();
    let nonce = session.next(&first).expect("an update").nonce();
    session.sent();
    assert!(session.next(&overtaken).is_none());
    assert!(session.next(&last).is_none());
    session.answer(answer(nonce, &first)).expect("a good answer");
    let push = session.next(&last).expect("the next update");
    assert_ne!(push.nonce(), nonce);
    assert_eq!(keys(push).0, ["endpoints n/b0:80"]);
}

#[test]
fn the_same_content_published_again_is_not_sent() {
    let mut session = open();
    let nonce = session.next(&published(&[1])).expect("an update").nonce();
    session.sent();
    session.answer(answer(nonce, &published(&[1]))).expect("a good answer");
    assert!(session.next(&published(&[1])).is_none());
}

#[test]
fn an_answer_to_what_was_not_sent_is_refused_by_name() {
    let target = published(&[1]);
    let mut session = open();
    let reason =
        |session: &mut Session, answer| session.answer(answer).expect_err("refused").reason();
    assert_eq!(reason(&mut session, answer(1, &target)), "UnexpectedAnswer");
    let nonce = session.next(&target).expect("an update").nonce();
    assert_eq!(reason(&mut session, answer(nonce, &target)), "EarlyAnswer");
    session.sent();
    assert_eq!(reason(&mut session, answer(nonce + 1, &target)), "WrongNonce");
    assert_eq!(reason(&mut session, answer(nonce, &published(&[2]))), "WrongVersion");
    let short = Answer { version: vec![1], ..answer(nonce, &target) };
    assert_eq!(reason(&mut session, short), "Malformed");
    let nameless = Answer { refused: vec![Refusal::default()], ..answer(nonce, &target) };
    assert_eq!(reason(&mut session, nameless), "Malformed");
    let refused = vec![Refusal::default(); wire::MAX_REFUSALS + 1];
    assert_eq!(
        reason(&mut session, Answer { refused, ..answer(nonce, &target) }),
        "TooManyRefusals"
    );
    session.answer(answer(nonce, &target)).expect("the true answer still counts");
    assert_eq!(reason(&mut session, answer(nonce, &target)), "UnexpectedAnswer");
}

#[test]
fn an_acknowledgement_says_what_is_refused() {
    let target = published(&[1]);
    let mut session = open();
    let nonce = session.next(&target).expect("an update").nonce();
    session.sent();
    let key = Key::new(Kind::Endpoints, "n/b0:80");
    let refusal = Refusal {
        key: Some(key.clone()),
        reason: "no name".into(),
        kept: true,
        ..Refusal::default()
    };
    let answer = Answer { refused: vec![refusal], ..answer(nonce, &target) };
    let (version, refused) = session.answer(answer).expect("a good answer");
    assert_eq!(version, target.version);
    assert_eq!((refused[0].key.clone(), &*refused[0].reason), (key, "Refused"));
    assert!(refused[0].kept);
}

#[test]
fn a_report_counts_for_what_the_node_acknowledged_and_for_nothing_else() {
    let target = published(&[1]);
    let mut session = open();
    let report = |of: &penstock_stream::Published| Report {
        version: of.version.0.to_vec(),
        refused: Vec::new(),
    };
    assert_eq!(session.report(report(&target)), Ok(None), "nothing is acknowledged");
    let nonce = session.next(&target).expect("an update").nonce();
    session.sent();
    session.answer(answer(nonce, &target)).expect("a good answer");
    assert_eq!(session.report(report(&published(&[2]))), Ok(None), "overtaken");
    assert_eq!(session.report(report(&target)), Ok(Some((target.version, Vec::new()))));
    let malformed = Report { version: Vec::new(), refused: Vec::new() };
    assert_eq!(session.report(malformed), Err(Violation::Malformed("version")));
}

#[test]
fn a_large_update_goes_in_bounded_parts_and_only_the_last_says_so() {
    let ports: Vec<u32> = (1..20_000).collect();
    let mut session = open();
    let parts: Vec<Update> = session.next(&published(&ports)).expect("an update").collect();
    assert!(parts.len() > 2, "{}", parts.len());
    for (i, part) in parts.iter().enumerate() {
        assert_eq!(part.last, i + 1 == parts.len());
        assert!(prost::Message::encoded_len(part) < 2 * wire::PART_BYTES);
    }
    assert_eq!(parts.iter().map(|part| part.upserts.len()).sum::<usize>(), 2 * 19_999);
}
