//! Bodies of answers on their way to the client.

use super::ongoing::Ongoing;
use crate::{reason::Reason, upstream::BodyError, worker::Watch};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// The body of an answer. Its end is the end of the exchange.
#[derive(Debug)]
pub struct Body {
    content: Content,
    ongoing: Option<Box<Ongoing>>,
}

#[derive(Debug)]
enum Content {
    /// Made here.
    Whole(Bytes),
    /// What the endpoint sends, as it comes.
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    incoming: Incoming,
    timeout: Duration,
    watch: Option<Rc<Watch>>,
    /// Whether the client has not taken the last part yet.
    untaken: bool,
}

impl Body {
    /// No body, of an exchange that somebody else ends.
    pub fn none() -> Self {
        Self { content: Content::Whole(Bytes::new()), ongoing: None }
    }

    /// An answer made here.
    pub fn whole(bytes: Bytes, mut ongoing: Box<Ongoing>) -> Self {
        ongoing.bytes = bytes.len() as u64;
        Self { content: Content::Whole(bytes), ongoing: Some(ongoing) }
    }

    /// An endpoint's answer: never `timeout` without progress.
    pub fn stream(incoming: Incoming, timeout: Duration, ongoing: Box<Ongoing>) -> Self {
        let stream = Stream { incoming, timeout, watch: None, untaken: false };
        Self { content: Content::Stream(stream), ongoing: Some(ongoing) }
    }

    /// Ends the exchange.
    fn end(&mut self, error: Option<Reason>) {
        let Some(mut ongoing) = self.ongoing.take() else { return };
        if let Content::Stream(stream) = &mut self.content
            && std::mem::take(&mut stream.untaken)
        {
            ongoing.connection.state.taken();
        }
        match error {
            Some(_) => ongoing.error = error,
            None => {
                if let Some(lease) = &mut ongoing.lease {
                    lease.complete();
                }
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let complete = match &self.content {
            Content::Whole(_) => true,
            Content::Stream(stream) => stream.incoming.is_end_stream(),
        };
        self.end((!complete).then_some(Reason::ClientGone));
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let stream = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Whole(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Content::Stream(stream) => stream,
        };
        if std::mem::take(&mut stream.untaken)
            && let Some(ongoing) = &this.ongoing
        {
            ongoing.connection.state.taken();
        }
        let Poll::Ready(frame) = Pin::new(&mut stream.incoming).poll_frame(cx) else {
            let Some(ongoing) = &this.ongoing else { return Poll::Ready(None) };
            let clock = &ongoing.connection.worker.clock;
            let watch = stream.watch.get_or_insert_with(|| clock.watch(stream.timeout));
            if watch.wait(clock.now(), cx) {
                this.end(Some(Reason::UpstreamTimeout));
                return Poll::Ready(Some(Err(BodyError(Reason::UpstreamTimeout))));
            }
            return Poll::Pending;
        };
        if let Some(watch) = &stream.watch {
            watch.progress();
        }
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let ended = stream.incoming.is_end_stream();
                if let Some(ongoing) = &mut this.ongoing {
                    ongoing.bytes += length;
                    if !ended {
                        stream.untaken = true;
                        ongoing.connection.state.hand_on();
                    }
                }
                if ended {
                    this.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                tracing::debug!("endpoint's answer broke off: {error}");
                this.end(Some(Reason::UpstreamBroken));
                Poll::Ready(Some(Err(BodyError(Reason::UpstreamBroken))))
            }
            None => {
                this.end(None);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}
