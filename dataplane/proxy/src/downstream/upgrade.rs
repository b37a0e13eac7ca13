//! Upgraded connections: bytes both ways until one side ends (RFC 9110, section 7.8).

use super::ongoing::Ongoing;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// Bytes held for each direction.
const BUFFER: usize = 16 * 1024;

/// Joins both connections once both are upgraded. The request lasts as long.
pub(super) fn join(client: OnUpgrade, endpoint: OnUpgrade, mut ongoing: Box<Ongoing>) {
    ongoing.connection.state.pulse.tunnel();
    tokio::task::spawn_local(async move {
        let (client, endpoint) = match tokio::try_join!(client, endpoint) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!("upgrade: {error}");
                return;
            }
        };
        let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
        let copied =
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER);
        match ended(&ongoing, copied).await {
            Some(Ok((_, down))) => ongoing.bytes = down,
            Some(Err(error)) => tracing::debug!("upgraded connection: {error}"),
            None => {}
        }
    });
}

/// The outcome, or `None` where the proxy ends before.
async fn ended<T>(ongoing: &Ongoing, copied: impl Future<Output = T>) -> Option<T> {
    use crate::worker::Ending;
    use std::task::Poll;
    let state = ongoing.connection.state.clone();
    let mut copied = std::pin::pin!(copied);
    std::future::poll_fn(|cx| match state.poll_ending(cx) {
        Ending::Kill(_) => Poll::Ready(None),
        _ => copied.as_mut().poll(cx).map(Some),
    })
    .await
}
