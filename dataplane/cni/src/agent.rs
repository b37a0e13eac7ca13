//! The plugin's end of the socket.

use crate::protocol::{MOST, Request, Response, SOCKET};
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The agent does not answer. It helps to try again when it is back.
#[derive(Debug, thiserror::Error)]
#[error(
    "the agent does not answer at {path} within {secs} s: {source}; look at the pod penstock-agent of this node"
)]
pub struct AgentError {
    path: PathBuf,
    secs: u64,
    source: io::Error,
}

/// The node's agent.
#[derive(Clone, Debug)]
pub struct Agent {
    path: PathBuf,
}

impl Agent {
    /// At its place, or at another one.
    pub fn at(path: Option<&Path>) -> Self {
        Self { path: path.unwrap_or(Path::new(SOCKET)).to_owned() }
    }

    /// Asks, again and again while nobody answers: all that can be asked may be asked twice.
    ///
    /// # Errors
    /// Nobody answered in all that time.
    pub fn ask(&self, request: &Request, patience: Duration) -> Result<Response, AgentError> {
        let end = Instant::now() + patience;
        loop {
            match self.attempt(request, end) {
                Ok(response) => return Ok(response),
                Err(source) if Instant::now() + PAUSE >= end => {
                    let (path, secs) = (self.path.clone(), patience.as_secs());
                    return Err(AgentError { path, secs, source });
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn attempt(&self, request: &Request, end: Instant) -> io::Result<Response> {
        let mut stream = UnixStream::connect(&self.path)?;
        let left = end.saturating_duration_since(Instant::now()).max(PAUSE);
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut line = String::new();
        BufReader::new(stream.take(MOST as u64)).read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
