//! Clients that are slow, speak something else or send damaged messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_proxy::tls::{RejectReason, TlsPort, TlsReject, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::*;

/// What the server makes of a client that sends some bytes, waits, and closes.
async fn outcome(port: &Arc<TlsPort>, bytes: &[u8], timeout: Duration) -> (TlsReject, Vec<u8>) {
    let (socket, address) = listen().await;
    let policies = Policies::none();
    let serve = async {
        let (io, peer) = socket.accept().await.expect("a connection");
        let accepted = accept(port, io, peer, &policies, timeout).await;
        accepted.map(|_| ()).expect_err("nobody is served")
    };
    let ask = async {
        let mut io = TcpStream::connect(address).await.expect("connects");
        io.write_all(bytes).await.expect("sends");
        let mut answer = Vec::new();
        let _ = io.read_to_end(&mut answer).await;
        answer
    };
    tokio::join!(serve, ask)
}

fn client_hello(authority: &Authority) -> Vec<u8> {
    let client = Client::new(authority, &[&rustls::version::TLS13, &rustls::version::TLS12], None);
    let mut connection =
        rustls::ClientConnection::new(client.0, server_name("example.org")).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}

#[tokio::test]
async fn a_slow_handshake_times_out_wherever_it_stops() {
    let authority = Authority::new();
    let port = World::simple(&authority).port(None);
    let hello = client_hello(&authority);
    let timeout = Duration::from_millis(200);
    for sent in [0, 3, hello.len() / 2, hello.len()] {
        let start = Instant::now();
        let (reject, _) = outcome(&port, &hello[..sent], timeout).await;
        assert_eq!(reject.reason, RejectReason::Timeout, "after {sent} bytes");
        let took = start.elapsed();
        assert!(took >= timeout && took < timeout * 10, "{took:?}");
    }
}

#[tokio::test]
async fn what_is_no_client_hello_is_answered_with_an_alert() {
    let authority = Authority::new();
    let port = World::simple(&authority).port(None);
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..],
        &[0xff; 64],
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x17\x03\x03\x00\x01\x00",
    ] {
        let start = Instant::now();
        let (reject, answer) = outcome(&port, garbage, Duration::from_secs(5)).await;
        assert_eq!(reject.reason, RejectReason::NotTls, "{garbage:?}");
        assert_eq!(answer.first(), Some(&21), "an alert record for {garbage:?}, not {answer:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "at once");
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_no_error_of_anybody() {
    let authority = Authority::new();
    let port = World::simple(&authority).port(None);
    let hello = client_hello(&authority);
    for sent in [0, 10, hello.len()] {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(&hello[..sent]).await.expect("sends");
        drop(client);
        let address = "127.0.0.1:1".parse().expect("an address");
        let policies = Policies::none();
        let accepted = accept(&port, server, address, &policies, Duration::from_secs(5)).await;
        let reject = accepted.map(|_| ()).expect_err("nobody is served");
        assert_eq!(reject.reason, RejectReason::Disconnected, "after {sent} bytes");
    }
}

#[tokio::test]
async fn damaged_client_hellos_never_panic_and_never_hang() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let version = world.filter("ns/p", 1);
    world.binding("https", "", &["ns/p"]);
    let port = world.port(None);
    let decide = |_: &penstock_filter_host::ClientHello| {
        decided(penstock_filter_host::HelloDecision::Default)
    };
    let policies = Policies::with([("ns/p", FakeFilter::new(version).on_hello(decide))]);
    let hello = client_hello(&authority);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).expect("small")
    };
    let truncated = (0..hello.len()).map(|length| hello[..length].to_vec());
    let mutated = (0..3000).map(|_| {
        let mut bytes = hello.clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes[at] ^= 1 << next(8),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, next(256) as u8),
            }
        }
        bytes
    });
    let address = "127.0.0.1:1".parse().expect("an address");
    let mut reached_policy = 0;
    for bytes in truncated.chain(mutated) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(&bytes).await.expect("sends");
        client.shutdown().await.expect("ends");
        let start = Instant::now();
        let accepted = accept(&port, server, address, &policies, Duration::from_secs(5)).await;
        let reject = accepted.map(|_| ()).expect_err("half a handshake is none");
        assert_ne!(reject.reason, RejectReason::Timeout, "{bytes:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{bytes:?}");
        reached_policy += policies.take_calls().len();
    }
    assert!(reached_policy > 0, "some damage goes unnoticed until the transcript is compared");
}
