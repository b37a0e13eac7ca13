//! From a listening socket to served connections.

use super::Connection;
use crate::{
    snapshot::{Port, Snapshot},
    tls,
    worker::{ConnectionState, Ending, Entrance, SnapshotTls, Worker},
};
use bytes::Bytes;
use std::{
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How HTTP/2 connections with prior knowledge begin (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Rest after an error that will not be gone at once: no file descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Accepts connections until told to close; then those that wait already, and no more.
pub async fn accept(
    worker: Rc<Worker>,
    entrance: Entrance,
    listener: TcpListener,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => open(&worker, entrance, stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%entrance, "cannot accept: {error}");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    // The event queue may know of connections that the listener has not been told of yet.
    tokio::task::yield_now().await;
    while let Some(Ok((stream, peer))) = waiting(&listener).await {
        open(&worker, entrance, stream, peer);
    }
}

async fn waiting(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    std::future::poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A place among the open connections of a port.
struct Place {
    worker: Rc<Worker>,
    open: Arc<AtomicU32>,
}

impl Place {
    fn take(worker: &Rc<Worker>, open: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let place = Self { worker: worker.clone(), open: open.clone() };
        let before = open.fetch_add(1, Relaxed);
        worker.telemetry.cells().connections.inc();
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        self.worker.telemetry.cells().connections.dec();
    }
}

/// The serving port of a connection; `None` where nothing is served at the address it was made to.
fn serving_port(entrance: Entrance, stream: &TcpStream, snapshot: &Snapshot) -> Option<u32> {
    match entrance {
        Entrance::Bound(bound) => Some(bound.port),
        Entrance::Steered(_) => snapshot.frontends.serving_port(stream.local_addr().ok()?),
    }
}

fn open(worker: &Rc<Worker>, entrance: Entrance, stream: TcpStream, peer: SocketAddr) {
    let view = worker.view();
    let cells = worker.telemetry.cells();
    cells.connections_accepted.inc();
    let serving = serving_port(entrance, &stream, &view.snapshot);
    let Some((number, port)) = serving.and_then(|n| Some((n, view.snapshot.ports.get(&n)?))) else {
        cells.connections_closed.inc("no-listener");
        return;
    };
    let settings = port.settings();
    let Some(place) = Place::take(worker, &port.open, settings.max_connections) else {
        cells.connections_closed.inc("max-connections");
        return;
    };
    let state = worker.connections.add(
        &worker.clock,
        number,
        settings.header_timeout,
        settings.idle_timeout,
        settings.body_timeout,
    );
    if worker.draining() {
        state.finish(Ending::Drain);
    }
    let worker = worker.clone();
    let port = port.clone();
    tokio::task::spawn_local(async move {
        let ending = state.clone();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("client connection: {error}");
            return;
        }
        match port.tls.is_some() {
            // Boxed: it carries the state of TLS, which a connection without it must not.
            true => Box::pin(encrypted(&worker, &port, stream, peer, state)).await,
            false => plain(&worker, &port, stream, peer, state).await,
        }
        if let Ending::Kill(why) = ending.ending() {
            worker.telemetry.cells().connections_closed.inc(why);
        }
        drop(place);
    });
}

async fn plain(
    worker: &Rc<Worker>,
    port: &Arc<Port>,
    mut stream: TcpStream,
    peer: SocketAddr,
    state: Rc<ConnectionState>,
) {
    let Some(Ok(first)) = unless_ended(&state, protocol(&mut stream, worker, &state)).await else {
        return;
    };
    let h2 = first[..] == PREFACE[..];
    let connection = Connection::new(worker.clone(), port, peer, None, state);
    connection.serve(stream, first, h2, port).await;
}

/// Reads so much as it takes to tell HTTP/2 from HTTP/1.
async fn protocol(
    stream: &mut TcpStream,
    worker: &Worker,
    state: &ConnectionState,
) -> io::Result<Bytes> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    while length < first.len() && first[..length] == PREFACE[..length] {
        match stream.read(&mut first[length..]).await? {
            0 => break,
            read => length += read,
        }
        state.pulse.head(Some(worker.clock.now()));
    }
    state.pulse.head(None);
    Ok(Bytes::copy_from_slice(&first[..length]))
}

async fn encrypted(
    worker: &Rc<Worker>,
    port: &Arc<Port>,
    stream: TcpStream,
    peer: SocketAddr,
    state: Rc<ConnectionState>,
) {
    let Some(tls_port) = &port.tls else { return };
    let started = Instant::now();
    let policies = SnapshotTls { view: worker.view(), policies: worker.policies.clone() };
    let timeout = port.settings().header_timeout;
    // Boxed: a handshake is rare and its state large; a served connection must not carry it.
    let handshake = Box::pin(tls::accept(tls_port, stream, peer, &policies, timeout));
    // A handshake is like a head: it must end in time, and a drain waits for it.
    state.pulse.head(Some(worker.clock.now()));
    let Some(accepted) = unless_ended(&state, handshake).await else { return };
    state.pulse.head(None);
    let number = worker.telemetry.worker();
    match accepted {
        Ok((stream, session)) => {
            if let Some(listener) = port.listeners.iter().find(|l| *l.key == *session.listener) {
                let cells = listener.cells.at(number);
                cells.handshakes[usize::from(session.version == "TLSv1.3")].inc();
                cells.handshake_duration.observe(started.elapsed());
            }
            drop(policies);
            let session = Rc::new(session);
            state.let_in_by(session.clone());
            // The policies may have changed while they judged.
            state.drain_outdated(|port, session| worker.view().snapshot.admits(port, session));
            let h2 = session.alpn == Some("h2");
            let connection = Connection::new(worker.clone(), port, peer, Some(session), state);
            connection.serve(stream, Bytes::new(), h2, port).await;
        }
        Err(reject) => {
            // Which listener it would have been is not always known: the port's first speaks for it.
            let cells = port.listeners[0].cells.at(number);
            cells.handshake_failures.inc(reject.reason.as_str());
            tracing::debug!(%peer, sni = reject.sni, filter = reject.filter, "TLS: {reject}");
        }
    }
}

/// The outcome, unless the connection is to end before.
async fn unless_ended<T>(state: &ConnectionState, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match state.poll_ending(cx) {
        Ending::Kill(_) => Poll::Ready(None),
        // Nothing came yet, so nothing is lost.
        Ending::Drain if !state.pulse.in_head() => Poll::Ready(None),
        _ => future.as_mut().poll(cx).map(Some),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// What every client connection without TLS keeps, beside its buffers.
    #[test]
    fn the_future_of_a_connection_stays_small() {
        let size = size_of_future(plain);
        println!("{size} bytes");
        assert!(size <= 1664, "{size} bytes");
    }
}
