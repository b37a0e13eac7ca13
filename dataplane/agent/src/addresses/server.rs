//! The socket at which plugins ask.

use super::clerk::Input;
use penstock_cni::protocol::{MOST, Request, Response};
use std::{io, os::unix::fs::PermissionsExt as _, path::Path, sync::mpsc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::oneshot,
    time::{sleep, timeout},
};

/// For a request to arrive: it is one line that is written at once.
const READ: Duration = Duration::from_secs(5);

/// After an accept failed for want of descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Listens; only root may ask, since a plugin is root.
///
/// # Errors
/// The socket cannot be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Carries requests to the clerk and its answers back; never ends.
#[expect(clippy::disallowed_methods, reason = "the agent's runtime has one thread")]
pub async fn serve(listener: UnixListener, clerk: mpsc::Sender<Input>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, clerk.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a plugin cannot be heard");
                sleep(BREATH).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, clerk: mpsc::Sender<Input>) {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader.take(MOST as u64));
    let mut line = Vec::new();
    let read = timeout(READ, reader.read_until(b'\n', &mut line)).await;
    if !matches!(read, Ok(Ok(length)) if length > 0) {
        return;
    }
    let response = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            if clerk.send(Input::Asked(request, reply)).is_err() {
                // The agent ends: the plugin asks the next one.
                return;
            }
            let mut rest = Vec::new();
            tokio::select! {
                answer = answer => match answer {
                    Ok(answer) => answer,
                    Err(_) => return,
                },
                // The plugin was ended, and with it who would use an address.
                _ = reader.read_to_end(&mut rest) => return,
            }
        }
        Err(error) => Response::Refused {
            code: penstock_cni::Code::Undecodable as u32,
            message: format!("the agent does not understand the plugin: {error}"),
        },
    };
    let Ok(mut line) = serde_json::to_vec(&response) else { return };
    line.push(b'\n');
    let _ = writer.write_all(&line).await;
}
