//! What a proxied request allocates, from the client's bytes to the endpoint and back.
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

mod support;

use penstock_config::StepAction;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use support::{
    Gateway, LOCAL,
    config::{prefix, set, step},
};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUEST: &[u8] = b"GET /api/items?page=2 HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: curl/8.9.1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-Tenant: blue\r\n\
    Cookie: session=0123456789abcdef\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
    Date: Tue, 24 Nov 2026 08:00:00 GMT\r\n\r\nHello, World!";

/// Answers every head without allocating.
fn endpoint() -> std::net::SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut buffer = [0; 4096];
        let mut filled = 0;
        while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
            filled += read;
            if buffer[..filled].ends_with(b"\r\n\r\n") {
                filled = 0;
                stream.write_all(ANSWER).expect("the answer is taken");
            }
        }
    });
    address
}

fn exchange(client: &mut TcpStream, buffer: &mut [u8]) {
    client.write_all(REQUEST).expect("the request is taken");
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"Hello, World!") {
        let read = client.read(&mut buffer[filled..]).expect("an answer");
        assert!(read > 0, "the connection ended");
        filled += read;
    }
}

#[test]
fn a_request_with_a_header_edit_costs_at_most_ten_allocations() {
    let address = endpoint();
    let gateway = Gateway::start(|config| {
        let backend = config.backend("b", &[address]);
        config.rule(prefix("/api"), |rule| {
            rule.filters = vec![step(StepAction::RequestHeaders(set("x-edge", "penstock")))];
            rule.backends = vec![backend];
        });
    });
    let mut client = TcpStream::connect(gateway.address()).expect("a connection");
    client.set_nodelay(true).expect("no delay");
    let mut buffer = [0; 4096];
    for _ in 0..200 {
        exchange(&mut client, &mut buffer);
    }
    let rounds = 1_000;
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..rounds {
        exchange(&mut client, &mut buffer);
    }
    let each = (ALLOCATIONS.load(Relaxed) - before) as f64 / f64::from(rounds);
    println!("{each:.2} allocations for each request");
    assert!(each <= 10.0, "{each:.2} allocations for each request");
}
