//! Request bodies on their way to an endpoint.

use crate::{
    reason::Reason,
    worker::{Clock, Watch},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// A request body.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// None: the request can be sent again.
    #[default]
    Empty,
    /// What the client sends, as it comes.
    Stream(Box<Stream>),
}

/// What became of a request body. Shared with the exchange, which outlives it.
#[derive(Debug, Default)]
pub struct BodyProgress {
    /// Bytes that went on to the endpoint.
    pub bytes: Cell<u64>,
    /// Why it was broken off.
    pub broken: Cell<Option<Reason>>,
}

/// A body was broken off.
#[derive(Debug)]
pub struct BodyError(pub Reason);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "body broken off: {}", self.0.as_str())
    }
}

impl std::error::Error for BodyError {}

/// See [`RequestBody::Stream`].
#[derive(Debug)]
pub struct Stream {
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    progress: Rc<BodyProgress>,
    clock: Rc<Clock>,
    timeout: Duration,
    watch: Option<Rc<Watch>>,
}

impl RequestBody {
    /// The body of a request: at most `most` bytes, and never `timeout` without progress.
    pub fn new(
        incoming: Incoming,
        most: u64,
        timeout: Duration,
        clock: &Rc<Clock>,
        progress: &Rc<BodyProgress>,
    ) -> Self {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        RequestBody::Stream(Box::new(Stream {
            incoming,
            left: most,
            progress: progress.clone(),
            clock: clock.clone(),
            timeout,
            watch: None,
        }))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }
}

impl Stream {
    fn broken(&self, reason: Reason) -> BodyError {
        self.progress.broken.set(Some(reason));
        BodyError(reason)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            let watch = self.watch.get_or_insert_with(|| self.clock.watch(self.timeout));
            return match watch.wait(self.clock.now(), cx) {
                true => Poll::Ready(Some(Err(self.broken(Reason::BodyTimeout)))),
                false => Poll::Pending,
            };
        };
        if let Some(watch) = &self.watch {
            watch.progress();
        }
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Poll::Ready(Some(Err(self.broken(Reason::BodyAborted)))),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        if length > self.left {
            return Poll::Ready(Some(Err(self.broken(Reason::BodyTooLarge))));
        }
        self.left -= length;
        self.progress.bytes.set(self.progress.bytes.get() + length);
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Stream(stream) => Poll::Ready(ready!(stream.poll(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}
