//! Few bytes in one piece.
//!
//! hyper hands a message over in pieces, its head and its body, for `writev(2)`. For a short message
//! that costs more than copying the pieces together for one `send(2)`: the kernel reads a list of
//! pieces for 0.2 µs, and a message has two such writes, to the endpoint and to the client.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes up to which pieces are copied together.
const SHORT: usize = 1024;

/// Writes pieces; short ones as one. As `poll_write_vectored`, it may take less than there is.
#[inline]
pub(crate) fn write_pieces<IO: AsyncWrite + ?Sized>(
    io: Pin<&mut IO>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [piece] = pieces {
        return io.poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SHORT {
        return io.poll_write_vectored(cx, pieces);
    }
    let mut space = [MaybeUninit::uninit(); SHORT];
    let mut whole = ReadBuf::uninit(&mut space);
    for piece in pieces {
        whole.put_slice(piece);
    }
    io.poll_write(cx, whole.filled())
}

/// A byte stream that is written to with [`write_pieces`].
#[derive(Debug)]
pub(crate) struct Whole<IO>(pub(crate) IO);

impl<IO: AsyncRead + Unpin> AsyncRead for Whole<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Whole<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_pieces(Pin::new(&mut self.0), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most so many bytes at once and notes in how many pieces they came.
    struct Sink {
        most: usize,
        taken: Vec<u8>,
        pieces: Vec<usize>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let length = buf.len().min(self.most);
            self.taken.extend_from_slice(&buf[..length]);
            self.pieces.push(1);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let length = all.len().min(self.most);
            self.taken.extend_from_slice(&all[..length]);
            self.pieces.push(bufs.len());
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(pieces: &[&[u8]], most: usize) -> (usize, Sink) {
        let mut sink = Sink { most, taken: Vec::new(), pieces: Vec::new() };
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match write_pieces(Pin::new(&mut sink), &mut cx, &slices) {
            Poll::Ready(Ok(length)) => (length, sink),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn short_pieces_are_written_as_one_and_long_ones_as_they_are() {
        let long = [b'x'; SHORT];
        for (pieces, came) in [
            (&[&b"head"[..], b"body"][..], 1),
            (&[b"head", b"", b"body"], 1),
            (&[&long], 1),
            (&[&long[1..], b"b"], 1),
            (&[&long, b"b"], 2),
        ] {
            let (length, sink) = written(pieces, usize::MAX);
            assert_eq!(sink.taken, pieces.concat());
            assert_eq!((length, sink.pieces), (sink.taken.len(), vec![came]));
        }
    }

    #[test]
    fn what_is_not_taken_is_not_counted() {
        let (length, sink) = written(&[b"head", b"body"], 6);
        assert_eq!((length, &sink.taken[..]), (6, &b"headbo"[..]));
    }
}
