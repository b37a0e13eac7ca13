//! The end of the process.

use tokio::sync::watch;

/// Runs something until it ends or the process is asked to. Says whether it ended by itself.
pub(crate) async fn until<F: Future>(
    mut shutdown: watch::Receiver<bool>,
    running: F,
) -> Option<F::Output> {
    tokio::select! {
        output = running => Some(output),
        // A sender that is gone means the same.
        _ = shutdown.wait_for(|asked| *asked) => None,
    }
}
