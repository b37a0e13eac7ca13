//! A server on loopback.

use super::{answer::answer, ask::Ask, policy::Policy};
use crate::model::{Ec2Error, Model};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Instant};
use tokio::net::TcpListener;

/// What goes wrong with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is answered so, and not carried out.
    Refused(&'static str, &'static str),
    /// It is carried out, and the connection ends without an answer.
    AnswerLost,
}

#[derive(Debug, Default)]
struct Shared {
    model: Mutex<Model>,
    policy: Mutex<Policy>,
    trouble: Mutex<Vec<Trouble>>,
    calls: Mutex<Vec<(String, Instant)>>,
    key: Mutex<Option<&'static str>>,
    asked: Mutex<BTreeMap<String, u32>>,
}

/// The model behind HTTP. It ends with the runtime.
#[derive(Clone, Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Listens on a port of loopback, in the runtime that it is called in.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(model: Model) -> io::Result<Self> {
        Self::listen(model, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same on a thread of its own, which ends with the process.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn on_a_thread(model: Model, address: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("ec2".into()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let started = Self::listen(model, address).await;
                let serves = started.is_ok();
                let _ = tell.send(started);
                if serves {
                    std::future::pending::<()>().await;
                }
            });
        })?;
        told.recv().map_err(io::Error::other)?
    }

    async fn listen(model: Model, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { model: Mutex::new(model), ..Shared::default() });
        let serves = shared.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serves.clone();
                let service = service_fn(move |request| respond(shared.clone(), request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::task::spawn_local(async move {
                    let _ = connection.await;
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at the model, or changes it.
    pub fn model<T>(&self, with: impl FnOnce(&mut Model) -> T) -> T {
        with(&mut self.shared.model.lock())
    }

    /// What is permitted from now on.
    pub fn permit(&self, policy: Policy) {
        *self.shared.policy.lock() = policy;
    }

    /// The next call that is to have an effect goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.trouble.lock().push(trouble);
    }

    /// From now on calls are signed with this access key, or refused.
    pub fn wants_key(&self, key: &'static str) {
        *self.shared.key.lock() = Some(key);
    }

    /// Calls by name that arrived and were to have an effect.
    pub fn calls(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for (name, _) in self.shared.calls.lock().iter() {
            *counts.entry(name.clone()).or_default() += 1;
        }
        counts
    }

    /// When the first call after a time arrived that changes something.
    pub fn mutated(&self, after: Instant) -> Option<Instant> {
        let calls = self.shared.calls.lock();
        let changes =
            |(call, at): &&(String, Instant)| *at >= after && !call.starts_with("Describe");
        calls.iter().find(changes).map(|(_, at)| *at)
    }

    /// Calls by name that only asked whether they would be permitted: dry runs, and for addresses, of
    /// which EC2 has none, calls with an address that nobody has.
    pub fn asked(&self) -> BTreeMap<String, u32> {
        self.shared.asked.lock().clone()
    }
}

/// An answer that never comes: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Lost> {
    let signature = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let signed = signature.is_some();
    let wanted = *shared.key.lock();
    let known = wanted.is_none_or(|key| signature.is_some_and(|by| by.contains(key)));
    let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
    let ask = Ask::new(&body);
    let only_asks = ask.is_dry_run() || ask.names_nobodys_address();
    let name = ask.action().to_owned();
    match only_asks {
        true => *shared.asked.lock().entry(name).or_default() += 1,
        false => shared.calls.lock().push((name, Instant::now())),
    }
    let trouble = if only_asks { None } else { shared.trouble.lock().pop() };
    let result = match trouble {
        Some(Trouble::Refused(code, message)) => Err(Ec2Error { code, message: message.into() }),
        _ if !signed => Err(Ec2Error {
            code: "MissingAuthenticationToken",
            message: "Request is missing Authentication Token".into(),
        }),
        _ if !known => Err(Ec2Error {
            code: "AuthFailure",
            message: "AWS was not able to validate the provided access credentials".into(),
        }),
        _ => permitted(&shared, &ask),
    };
    if trouble == Some(Trouble::AnswerLost) {
        return Err(Lost);
    }
    Ok(respond_with(ask.action(), result))
}

/// Carries a call out where that is permitted. A dry run is carried out on a copy, so that it says what
/// would have been wrong, and is refused in any case.
fn permitted(shared: &Shared, ask: &Ask) -> Result<String, Ec2Error> {
    let mut model = shared.model.lock();
    if let Some(refused) = shared.policy.lock().refuses(&model, ask) {
        return Err(refused);
    }
    if !ask.is_dry_run() {
        return answer(&mut model, ask);
    }
    answer(&mut model.clone(), ask)?;
    let message = "Request would have succeeded, but DryRun flag is set.".into();
    Err(Ec2Error { code: "DryRunOperation", message })
}

/// The status of an error (Amazon EC2 API Reference, "Error codes").
fn status(code: &str) -> u16 {
    match code {
        "DryRunOperation" => 412,
        "MissingAuthenticationToken" | "UnauthorizedOperation" => 403,
        "RequestLimitExceeded" => 503,
        _ => 400,
    }
}

fn respond_with(action: &str, result: Result<String, Ec2Error>) -> Response<Full<Bytes>> {
    let request = "<requestId>00000000-0000-0000-0000-000000000000</requestId>";
    let (status, body) = match result {
        Ok(inner) => (
            200,
            format!(
                "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{request}{inner}</{action}Response>"
            ),
        ),
        Err(error) => (
            status(error.code),
            format!(
                "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>{request}</Response>",
                error.code,
                error.message.replace('&', "&amp;").replace('<', "&lt;")
            ),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}
