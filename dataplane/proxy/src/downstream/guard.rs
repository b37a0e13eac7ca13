//! A client's byte stream, watched.

use super::framing::Framing;
use crate::{stream::write_pieces, worker::Pulse};
use bytes::Bytes;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream whose messages and stalls are noticed.
#[derive(Debug)]
pub(super) struct Guard<IO> {
    io: IO,
    /// Bytes that were read to find out the protocol.
    first: Bytes,
    /// On HTTP/1 connections.
    framing: Option<Framing>,
    pulse: Arc<Pulse>,
    tick: Arc<AtomicU32>,
}

impl<IO> Guard<IO> {
    /// Watches a stream. `first` was read from it already.
    pub(super) fn new(
        io: IO,
        first: Bytes,
        http1: bool,
        pulse: Arc<Pulse>,
        tick: Arc<AtomicU32>,
    ) -> Self {
        Self { io, first, framing: http1.then(Framing::default), pulse, tick }
    }

    fn seen(&mut self, bytes: &[u8]) {
        if let Some(framing) = &mut self.framing {
            match self.pulse.is_tunnel() {
                // What follows an upgrade is no HTTP/1.
                true => self.framing = None,
                false => framing.feed(bytes, &self.pulse, self.tick.load(Relaxed)),
            }
        }
    }

    fn written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let since = polled.is_pending().then(|| self.tick.load(Relaxed));
        self.pulse.stuck(since);
        polled
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.first.is_empty() {
            std::task::ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let taken = this.first.split_to(this.first.len().min(buf.remaining()));
            buf.put_slice(&taken);
            // What follows at once comes along: for a part of a head hyper would double its buffer.
            // An end or an error is seen by the next read.
            if buf.remaining() > 0 {
                let _ = Pin::new(&mut this.io).poll_read(cx, buf);
            }
        }
        this.seen(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = write_pieces(Pin::new(&mut self.io), cx, bufs);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
