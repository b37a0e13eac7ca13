//! Steady load by a client that never retries.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::{self, TrySendError},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time::timeout};

/// For a connection to be made, and for a request to be answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the load is made up.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// HTTP/1.1 connections, one request in flight on each.
    pub http1: usize,
    /// HTTP/2 connections.
    pub http2: usize,
    /// Requests in flight on each HTTP/2 connection.
    pub streams: usize,
    /// Time between an answer and the next request.
    pub pause: Duration,
}

/// What the load saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers with status 200 and a complete body.
    pub answered: usize,
    /// Everything else, resets included, in words.
    pub failures: Vec<String>,
    /// Connections that ended between two requests though neither an answer nor GOAWAY had said so: no
    /// request is lost by it, but one that had been on its way would have been. A gateway that ends has
    /// no other way to close what is idle over HTTP/1.1. Over HTTP/2 those that broke: an end without
    /// GOAWAY looks like one with it here.
    pub cut: usize,
    /// Time from request to complete answer, sorted.
    pub latencies: Vec<Duration>,
}

impl Tally {
    /// A percentile of the latencies, for example 0.99.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

/// A load that runs on a thread of its own until it is stopped.
#[derive(Debug)]
pub struct Load {
    control: Arc<Control>,
    thread: JoinHandle<Result<Tally>>,
}

#[derive(Debug)]
struct Control {
    target: SocketAddr,
    host: String,
    path: String,
    shape: Shape,
    stop: AtomicBool,
    in_flight: AtomicUsize,
    answered: AtomicUsize,
}

impl Load {
    /// Starts `GET path` with `host` at `target`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(target: SocketAddr, host: &str, path: &str, shape: Shape) -> Result<Self> {
        let control = Arc::new(Control {
            target,
            host: host.to_owned(),
            path: path.to_owned(),
            shape,
            stop: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&control);
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(tokio::task::LocalSet::new().block_on(&runtime, run(shared)))
        })?;
        Ok(Self { control, thread })
    }

    /// Requests that wait for their answer now.
    pub fn in_flight(&self) -> usize {
        self.control.in_flight.load(Relaxed)
    }

    /// Waits, at most a tenth of a second, for a moment with twenty requests in flight; says how many
    /// there were at most.
    pub fn most_in_flight(&self) -> usize {
        let end = Instant::now() + Duration::from_millis(100);
        let mut most = 0;
        while most < 20 && Instant::now() < end {
            most = most.max(self.in_flight());
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    }

    /// Requests that were answered with status 200 so far.
    pub fn answered(&self) -> usize {
        self.control.answered.load(Relaxed)
    }

    /// Finishes the requests in flight and says what happened.
    ///
    /// # Errors
    /// When the load could not run at all.
    pub fn stop(self) -> Result<Tally> {
        self.control.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

async fn run(control: Arc<Control>) -> Tally {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..control.shape.http1 {
        tasks.spawn_local(http1(Arc::clone(&control)));
    }
    for _ in 0..control.shape.http2 {
        tasks.spawn_local(http2(Arc::clone(&control)));
    }
    let mut total = Tally::default();
    while let Some(done) = tasks.join_next().await {
        let tally = done.unwrap_or_default();
        total.answered += tally.answered;
        total.cut += tally.cut;
        total.failures.extend(tally.failures);
        total.latencies.extend(tally.latencies);
    }
    total.latencies.sort_unstable();
    total
}

/// Requests one after another on a connection. A connection that the server closed between two
/// requests, after it said so, is replaced; a request that was sent is never sent again.
async fn http1(control: Arc<Control>) -> Tally {
    let mut tally = Tally::default();
    while !control.stop.load(Relaxed) && tally.failures.len() < 20 {
        let sender = async {
            let stream = timeout(PATIENCE, TcpStream::connect(control.target)).await??;
            stream.set_nodelay(true)?;
            let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn_local(connection);
            anyhow::Ok(sender)
        };
        let mut sender = match sender.await {
            Ok(sender) => sender,
            Err(error) => {
                tally.failures.push(format!("connect: {error:#}"));
                continue;
            }
        };
        let (mut told, mut failed) = (false, false);
        while !control.stop.load(Relaxed) && sender.ready().await.is_ok() {
            let request = request(&control, &control.path);
            let next = exchange(&control, sender.try_send_request(request), &mut tally).await;
            (told, failed) = (matches!(next, Next::Told), matches!(next, Next::Failed));
            if !matches!(next, Next::Goes) {
                break;
            }
            tokio::time::sleep(control.shape.pause).await;
        }
        tally.cut += usize::from(!told && !failed && !control.stop.load(Relaxed));
    }
    tally
}

async fn http2(control: Arc<Control>) -> Tally {
    let mut tally = Tally::default();
    while !control.stop.load(Relaxed) && tally.failures.len() < 20 {
        let sender = async {
            let stream = timeout(PATIENCE, TcpStream::connect(control.target)).await??;
            stream.set_nodelay(true)?;
            let (sender, connection) =
                conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            anyhow::Ok((sender, tokio::task::spawn_local(connection)))
        };
        let (sender, connection) = match sender.await {
            Ok(connected) => connected,
            Err(error) => {
                tally.failures.push(format!("connect: {error:#}"));
                continue;
            }
        };
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..control.shape.streams {
            streams.spawn_local(http2_stream(Arc::clone(&control), sender.clone()));
        }
        while let Some(done) = streams.join_next().await {
            let part = done.unwrap_or_default();
            tally.answered += part.answered;
            tally.failures.extend(part.failures);
            tally.latencies.extend(part.latencies);
        }
        drop(sender);
        let ended = timeout(PATIENCE, connection).await;
        let cut = matches!(ended, Ok(Ok(Err(error))) if !was_not_processed(&error));
        tally.cut += usize::from(cut && !control.stop.load(Relaxed));
    }
    tally
}

async fn http2_stream(
    control: Arc<Control>,
    mut sender: conn::http2::SendRequest<Empty<Bytes>>,
) -> Tally {
    let mut tally = Tally::default();
    // GOAWAY makes the sender unready: a new connection is opened, no request is repeated.
    while !control.stop.load(Relaxed) && sender.ready().await.is_ok() {
        let target = format!("http://{}{}", control.host, control.path);
        let request = request(&control, &target);
        exchange(&control, sender.try_send_request(request), &mut tally).await;
        if tally.failures.len() >= 20 {
            break;
        }
        tokio::time::sleep(control.shape.pause).await;
    }
    tally
}

fn request(control: &Control, target: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.parse().unwrap_or_default();
    if let Ok(host) = control.host.parse() {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Whether GOAWAY said that nobody took the request: "Activity on streams numbered lower than or equal
/// to the last stream identifier might still complete successfully", those above "were not or will not
/// be processed" (RFC 9113, section 6.8). It happens to requests that crossed GOAWAY on their way.
/// What was taken and has no answer ends otherwise: as a broken pipe.
fn was_not_processed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<h2::Error>());
    cause.is_some_and(|e| {
        e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// What becomes of a connection after a request.
enum Next {
    /// It goes on.
    Goes,
    /// It ends, as the answer said.
    Told,
    /// It ended, and the request was not taken: no answer and no failure.
    NotTaken,
    /// It is not used again: the request failed.
    Failed,
}

/// Waits for one answer and counts it.
async fn exchange<F>(control: &Control, sent: F, tally: &mut Tally) -> Next
where
    F: Future<Output = Result<hyper::Response<Incoming>, TrySendError<Request<Empty<Bytes>>>>>,
{
    let begin = Instant::now();
    control.in_flight.fetch_add(1, Relaxed);
    let outcome = async {
        let response = match sent.await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                // Handed back: the connection was told to go before the request was on it.
                Some(_unsent) => return Ok(None),
                None if was_not_processed(error.error()) => return Ok(None),
                None => return Err(format!("no answer: {:?}", error.into_error())),
            },
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("body broke off: {e:?}"))?.to_bytes();
        let closes = head.headers.get(header::CONNECTION).is_some_and(|v| v == "close");
        if head.status == 200 {
            Ok(Some(closes))
        } else {
            Err(format!("{} {:?} {}", head.status, head.headers, String::from_utf8_lossy(&body)))
        }
    };
    let outcome = timeout(PATIENCE, outcome).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
    control.in_flight.fetch_sub(1, Relaxed);
    match outcome {
        Ok(None) => Next::NotTaken,
        Ok(Some(closes)) => {
            tally.answered += 1;
            control.answered.fetch_add(1, Relaxed);
            tally.latencies.push(begin.elapsed());
            if closes { Next::Told } else { Next::Goes }
        }
        Err(failure) => {
            tally.failures.push(failure);
            Next::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// A server that closes each connection after one answer.
    fn closes(says: &'static str) -> Result<Tally> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().take(100_000).flatten() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{says}\r\n");
            }
        });
        let shape = Shape { http1: 1, http2: 0, streams: 0, pause: Duration::from_millis(5) };
        let load = Load::start(address, "a.example", "/", shape)?;
        while load.answered() < 5 {
            std::thread::sleep(Duration::from_millis(5));
        }
        load.stop()
    }

    #[test]
    fn a_connection_that_ends_without_a_word_is_counted_and_one_that_said_so_is_not() -> Result<()>
    {
        let tally = closes("")?;
        assert!(tally.cut + tally.failures.len() >= 4, "{tally:?}");
        assert!(tally.cut > 0, "{tally:?}");
        let tally = closes("Connection: close\r\n")?;
        assert_eq!((tally.cut, tally.failures.len()), (0, 0), "{tally:?}");
        Ok(())
    }
}
