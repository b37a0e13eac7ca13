//! Where the memory of an idle pair, a client's connection and one to an endpoint, is. Run it with
//! `cargo run --release -p penstock-proxy --example pair_memory`.
//!
//! Each line is a place that allocates: the bytes for each pair that are still held, and in how many
//! pieces. Bytes as asked for, so without what an allocator rounds up to; memory that was never
//! written to counts here and not in the resident size.
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

#[path = "../tests/support/mod.rs"]
mod support;

use parking_lot::Mutex;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    collections::{BTreeMap, HashMap},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};
use support::{Gateway, LOCAL};

/// Pairs; each takes three descriptors here.
const PAIRS: usize = 200;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
/// How long an answer is waited for: long enough for `PAIRS` requests to be sent.
const LATE: Duration = Duration::from_secs(1);
const CLOSING: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\nhello, world!";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nhello, world!";

static ON: AtomicBool = AtomicBool::new(false);
/// Live blocks by address: size, and who asked for it.
static LIVE: Mutex<Option<HashMap<usize, (usize, Backtrace)>>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is noting a block, or is not the proxy's.
    static BLIND: Cell<bool> = const { Cell::new(false) };
}

struct Noting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let block = unsafe { System.alloc(layout) };
        note(|live| {
            live.insert(block as usize, (layout.size(), Backtrace::force_capture()));
        });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(|live| {
            live.remove(&(block as usize));
        });
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// Notes a change, unless nothing is noted now or it is the noting that allocates.
fn note(change: impl FnOnce(&mut HashMap<usize, (usize, Backtrace)>)) {
    // A thread that is going away notes nothing.
    let seeing = BLIND.try_with(|blind| !blind.replace(true)).unwrap_or(false);
    if !seeing {
        return;
    }
    if ON.load(SeqCst) {
        change(LIVE.lock().get_or_insert_default());
    }
    let _ = BLIND.try_with(|blind| blind.set(false));
}

fn main() {
    BLIND.set(true);
    let endpoint = endpoint();
    let gateway = Gateway::start(|config| {
        let backend = config.backend("b", &[endpoint]);
        config.route_all(backend);
    });
    // What is made once, for the first request, is not a pair's.
    drop(clients(gateway.address(), 1));
    ON.store(true, SeqCst);
    let clients = clients(gateway.address(), PAIRS);
    std::thread::sleep(LATE);
    ON.store(false, SeqCst);
    report();
    drop(clients);
}

/// Answers late, so that as many connections as requests are needed, and closes the first one.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind((LOCAL, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        BLIND.set(true);
        let mut first = Some(CLOSING);
        loop {
            let (stream, _) = listener.accept().expect("a connection");
            let answer = first.take().unwrap_or(ANSWER);
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    BLIND.set(true);
    let mut head = [0; 1024];
    let mut filled = 0;
    while let Ok(read @ 1..) = stream.read(&mut head[filled..]) {
        filled += read;
        if head[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            std::thread::sleep(LATE);
            stream.write_all(answer).expect("the answer is taken");
        }
    }
}

fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> =
        (0..count).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    for client in &mut clients {
        client.write_all(REQUEST).expect("the request is taken");
    }
    for client in &mut clients {
        let mut answer = [0; 1024];
        let mut filled = 0;
        while !answer[..filled].ends_with(b"hello, world!") {
            let read = client.read(&mut answer[filled..]).expect("an answer");
            assert!(read > 0, "the connection ended");
            filled += read;
        }
    }
    clients
}

fn report() {
    let live = LIVE.lock().take().unwrap_or_default();
    let mut places: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for (size, backtrace) in live.into_values() {
        *places.entry((size, place(&backtrace.to_string()))).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|((size, _), count)| std::cmp::Reverse(size * count));
    println!("{:>9} {:>7} {:>7}  asked for by", "bytes", "size", "pieces");
    let mut sum = 0.0;
    for ((size, place), count) in places {
        let each = count as f64 / PAIRS as f64;
        sum += each * size as f64;
        if each * size as f64 >= 8.0 {
            println!("{:>9.1} {size:>7} {each:>7.2}  {place}", each * size as f64);
        }
    }
    println!("{sum:>9.1} {:>7} {:>7}  all of them", 0, 0);
}

/// Crates whose functions allocate for others.
const COMMON: [&str; 6] = ["alloc", "core", "std", "bytes", "hashbrown", "__rust"];

/// The innermost function that says something, and who called it.
fn place(backtrace: &str) -> String {
    let frames = backtrace.lines().filter_map(|line| line.trim().split_once(": ").map(|f| f.1));
    let telling = frames.filter(|frame| {
        let bare = frame.trim_start_matches(['<', '&']);
        // What is inlined is named without its crate.
        let own = bare.starts_with('{') || bare.contains("pair_memory");
        !own && !COMMON.iter().any(|common| bare.starts_with(common))
    });
    let mut places: Vec<&str> = telling.take(2).map(without_hash).collect();
    places.dedup();
    places.join(" in ")
}

/// A symbol without the hash that its crate was built with.
fn without_hash(symbol: &str) -> &str {
    match symbol.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 => name,
        _ => symbol,
    }
}
