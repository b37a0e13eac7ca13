//! Clients that are up to something: refused, with the reason's name.

use crate::{
    operator::{Operator, eventually, identity, on_this_thread, state},
    raw::{self, Client, hello},
    trust::Authority,
};
use futures_util::stream;
use penstock_stream::{
    Identity, Role, ServeOptions,
    wire::{
        Answer, ArtifactRequest, FromNode, FromOperator, Heartbeat, Known, MAX_NODE_MESSAGE,
        NodeMessage, OperatorMessage,
    },
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Status, Streaming};

/// The status with which a stream ends.
pub(crate) async fn end(opened: Result<Streaming<OperatorMessage>, Status>) -> Status {
    let mut inbound = match opened {
        Ok(inbound) => inbound,
        Err(status) => return status,
    };
    let end = async {
        loop {
            match inbound.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    };
    timeout(Duration::from_secs(10), end).await.expect("the stream ends")
}

#[track_caller]
pub(crate) fn expect(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().starts_with(&format!("{reason}: ")), "{status}");
}

/// A client, and an operator that published something.
async fn pair() -> (Operator, Client) {
    let authority = Authority::new();
    let operator = Operator::start(&authority).await;
    operator.publish(&state(1, 1));
    let client = Client::connect(&authority, operator.port).await;
    (operator, client)
}

#[test]
fn a_first_message_that_contradicts_the_token_or_is_none_ends_the_stream() {
    on_this_thread(async {
        let (operator, client) = pair().await;
        let heartbeat: NodeMessage = FromNode::Heartbeat(Heartbeat {}).into();
        let answer: NodeMessage = FromNode::Answer(Answer::default()).into();
        let cases = [
            (heartbeat, Code::InvalidArgument, "HelloExpected"),
            (answer, Code::InvalidArgument, "HelloExpected"),
            (NodeMessage::default(), Code::InvalidArgument, "HelloExpected"),
            (hello("node-2", "pod-1", 1), Code::PermissionDenied, "WrongNode"),
            (hello("node-1", "pod-2", 1), Code::PermissionDenied, "WrongPod"),
            (hello("node-1", "pod-1", 2), Code::PermissionDenied, "WrongRole"),
            (hello("node-1", "pod-1", 0), Code::InvalidArgument, "UnknownRole"),
        ];
        for (first, code, reason) in cases {
            expect(&end(client.open("good", [first]).await).await, code, reason);
        }
        assert!(operator.fleet.views(Instant::now()).is_empty(), "none of them is a node");
    });
}

#[test]
fn a_stream_on_which_nothing_is_said_is_ended() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let status = end(client.open::<NodeMessage>("good", []).await).await;
        expect(&status, Code::InvalidArgument, "HelloMissing");
    });
}

#[test]
fn a_second_hello_ends_the_stream() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let hello = hello("node-1", "pod-1", 1);
        let status = end(client.open("good", [hello.clone(), hello]).await).await;
        expect(&status, Code::InvalidArgument, "HelloRepeated");
    });
}

#[test]
fn an_answer_that_is_a_lie_ends_the_stream_and_counts_for_nothing() {
    on_this_thread(async {
        let (operator, client) = pair().await;
        let version = |port| state(1, port).version().0.to_vec();
        let lies = [
            ("WrongNonce", Answer { nonce: 77, version: version(1), refused: Vec::new() }),
            ("WrongVersion", Answer { nonce: 1, version: version(2), refused: Vec::new() }),
            ("Malformed", Answer { nonce: 1, version: vec![1], refused: Vec::new() }),
        ];
        for (reason, lie) in lies {
            let (say, mut said) = tokio::sync::mpsc::channel(4);
            say.try_send(hello("node-1", "pod-1", 1)).expect("room");
            let messages = stream::poll_fn(move |context| said.poll_recv(context));
            let path = "/penstock.stream.v1.Nodes/Stream";
            let mut inbound = client.stream("good", path, messages).await.expect("a stream");
            let message = inbound.message().await.expect("a message").expect("an update");
            let Some(FromOperator::Update(update)) = message.said else {
                panic!("no update: {message:?}");
            };
            assert_eq!((update.nonce, update.last), (1, true));
            say.try_send(FromNode::Answer(lie).into()).expect("room");
            expect(&end(Ok(inbound)).await, Code::InvalidArgument, reason);
            assert!(!operator.acknowledged(1));
        }
    });
}

#[test]
fn a_giant_message_is_not_read() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let giant = raw::Bytes { hello: vec![0; MAX_NODE_MESSAGE + 1] };
        let status = end(client.open("good", [giant]).await).await;
        expect(&status, Code::InvalidArgument, "MessageTooLarge");
    });
}

#[test]
fn bytes_that_are_no_message_end_the_stream() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let nonsense = raw::Bytes { hello: vec![0xff; 64] };
        let status = end(client.open("good", [nonsense]).await).await;
        expect(&status, Code::InvalidArgument, "Undecodable");
    });
}

#[test]
fn a_hello_with_resources_that_nobody_published_is_told_to_remove_them() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let key = penstock_config::Key { kind: 77, name: "x".repeat(1000) };
        let known = Known { key: Some(key.clone()), version: vec![0; 16] };
        let mut hello = hello("node-1", "pod-1", 1);
        if let Some(FromNode::Hello(hello)) = &mut hello.said {
            hello.known.push(known);
        }
        let mut inbound = client.open("good", [hello]).await.expect("a stream");
        let message = inbound.message().await.expect("a message").expect("an update");
        let Some(FromOperator::Update(update)) = message.said else {
            panic!("no update: {message:?}");
        };
        assert_eq!((update.removals, update.upserts.len()), (vec![key], 2));
    });
}

#[test]
fn who_shows_no_valid_token_gets_nothing() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let long = "x".repeat(20_000);
        let cases = [
            ("", Code::Unauthenticated, "TokenMissing"),
            (&*long, Code::Unauthenticated, "TokenMissing"),
            ("another", Code::Unauthenticated, "TokenInvalid"),
            ("unavailable", Code::Unavailable, "TokenUnexamined"),
        ];
        for (token, code, reason) in cases {
            let opened = client.open(token, [hello("node-1", "pod-1", 1)]).await;
            expect(&end(opened).await, code, reason);
            let refused = client.artifact(token, ArtifactRequest::default()).await;
            expect(&refused.expect_err("refused"), code, reason);
        }
    });
}

#[test]
fn a_module_is_given_to_proxies_and_by_its_digest_only() {
    on_this_thread(async {
        let (operator, client) = pair().await;
        let agent = Identity { role: Role::Agent, ..identity("agent-1") };
        operator.tokens.lock().insert("agent".into(), agent);
        let digest = format!("sha256:{}", "00".repeat(32));
        let request = ArtifactRequest { digest, ..ArtifactRequest::default() };
        let refused = client.artifact("agent", request.clone()).await.expect_err("refused");
        expect(&refused, Code::PermissionDenied, "WrongRole");
        let bad = ArtifactRequest { digest: "../../etc/passwd".into(), ..request.clone() };
        let refused = client.artifact("good", bad).await.expect_err("refused");
        expect(&refused, Code::InvalidArgument, "Malformed");
        let unknown = client.artifact("good", request).await.expect_err("refused");
        assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    });
}

#[test]
fn there_is_no_other_method() {
    on_this_thread(async {
        let (_operator, client) = pair().await;
        let opened = client.stream(
            "good",
            "/penstock.stream.v1.Nodes/Other",
            stream::empty::<NodeMessage>(),
        );
        assert_eq!(end(opened.await).await.code(), Code::Unimplemented);
    });
}

#[test]
fn a_newer_stream_of_a_pod_ends_the_older() {
    on_this_thread(async {
        let (operator, client) = pair().await;
        let beat = stream::unfold(true, |first| async move {
            if !first {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let message = match first {
                true => hello("node-1", "pod-1", 1),
                false => FromNode::Heartbeat(Heartbeat {}).into(),
            };
            Some((message, false))
        });
        let old = client.stream("good", "/penstock.stream.v1.Nodes/Stream", beat).await;
        eventually(|| !operator.fleet.views(Instant::now()).is_empty(), "a stream").await;
        let _new = client.open("good", [hello("node-1", "pod-1", 1)]).await.expect("a stream");
        expect(&end(old).await, Code::Aborted, "Replaced");
        assert_eq!(operator.fleet.views(Instant::now()).len(), 1);
    });
}

#[test]
fn who_proves_nothing_in_time_is_cut_off() {
    on_this_thread(async {
        let authority = Authority::new();
        let proof_timeout = Duration::from_millis(500);
        let options = ServeOptions { proof_timeout, ..ServeOptions::default() };
        let operator = Operator::with(&authority, 0, options).await;
        let mut plain = TcpStream::connect(("127.0.0.1", operator.port)).await.expect("connected");
        cut_off(&mut plain).await;
        let mut silent = raw::dial(&authority, operator.port).await;
        cut_off(&mut silent).await;
        let mut preface = raw::dial(&authority, operator.port).await;
        preface
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .expect("sent");
        cut_off(&mut preface).await;
    });
}

async fn cut_off(io: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(5), io.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "it is cut off");
}

#[test]
fn connections_are_bounded_and_one_that_stalls_holds_nobody_up() {
    on_this_thread(async {
        let authority = Authority::new();
        let options = ServeOptions {
            max_connections: 2,
            proof_timeout: Duration::from_secs(1),
            ..ServeOptions::default()
        };
        let operator = Operator::with(&authority, 0, options).await;
        let connect = || TcpStream::connect(("127.0.0.1", operator.port));
        let _one = connect().await.expect("connected");
        raw::dial(&authority, operator.port).await;
        let _two = connect().await.expect("connected");
        let began = Instant::now();
        raw::dial(&authority, operator.port).await;
        assert!(began.elapsed() > Duration::from_millis(500), "it waited for a place");
    });
}
