//! The life of a request.

use super::{
    Body, Connection, forwarded, head,
    ongoing::Ongoing,
    respond::{self, Passed},
    upgrade,
};
use crate::{
    filters::{Exchange, Flow, on_request},
    reason::Reason,
    routing::{HostName, Target},
    snapshot::Settings,
    tls::required_satisfied,
    upstream::{self, BodyProgress, Lease, Outgoing, RequestBody},
    worker::View,
};
use futures_util::{FutureExt as _, future::Either};
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use std::{convert::Infallible, future::ready, pin::pin, rc::Rc, sync::Arc};

/// A request that goes to an endpoint.
struct Forward {
    /// Index of the backend.
    backend: usize,
    settings: Arc<Settings>,
    /// The protocol that the client wants to go on with.
    upgrade: Option<HeaderValue>,
}

/// A request that is ready to be sent.
struct Sending {
    ongoing: Box<Ongoing>,
    view: Rc<View>,
    forward: Forward,
    outgoing: Outgoing,
    on_upgrade: Option<OnUpgrade>,
    passed: Passed,
}

/// Answers one request.
///
/// What needs no waiting is done before there is a future: hyper keeps room for one as long as the
/// client's connection lasts.
pub(super) fn handle(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    let record = connection.worker.telemetry.begin(&request, &connection.info);
    connection.state.begin();
    let (mut parts, body) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let view = connection.worker.view();
    let number = connection.requests.get() + 1;
    connection.requests.set(number);
    let mut ongoing = Box::new(Ongoing {
        exchange: Exchange {
            view: view.clone(),
            connection: connection.parts.clone(),
            client: None,
            method: parts.method.clone(),
            uri: Default::default(),
            headers: Default::default(),
            response: None,
            attributes: Vec::new(),
            rule: None,
            prefix: None,
            chosen: None,
            record,
        },
        connection,
        progress: None,
        status: 0,
        bytes: 0,
        error: Some(Reason::ClientGone),
        lease: None,
    });
    let mut passed = Passed::default();
    match arrive(&mut ongoing, &view, &mut parts, number, &mut passed) {
        Ok(forward) => {
            let outgoing = outgoing(&mut ongoing, &forward, body);
            let sending = Sending { ongoing, view, forward, outgoing, on_upgrade, passed };
            Either::Left(send(sending).map(Ok))
        }
        Err(flow) => {
            ongoing.error = None;
            Either::Right(ready(Ok(respond::made(flow, passed, ongoing))))
        }
    }
}

/// Everything up to the choice of a backend.
fn arrive(
    ongoing: &mut Ongoing,
    view: &View,
    parts: &mut request::Parts,
    number: u64,
    passed: &mut Passed,
) -> Result<Forward, Flow> {
    let fail = |reason| Err(Flow::Fail(reason));
    let connection = ongoing.connection.clone();
    let worker = &connection.worker;
    let cell = worker.telemetry.worker();
    let Some(port) = view.snapshot.ports.get(&connection.state.serving_port()) else {
        return fail(Reason::NoRoute);
    };
    // A port that changed its protocol is another one for connections from before.
    if port.scheme() != connection.parts.scheme {
        return fail(Reason::Misdirected);
    }
    if parts.version != Version::HTTP_2 && connection.state.pulse.is_ambiguous(number) {
        return fail(Reason::AmbiguousLength);
    }
    let accepted = head::accept(parts, port.settings().max_headers).map_err(Flow::Fail)?;
    let exchange = &mut ongoing.exchange;
    exchange.uri = std::mem::take(&mut parts.uri);
    exchange.headers = std::mem::take(&mut parts.headers);

    let authority = std::str::from_utf8(exchange.authority()).unwrap_or_default();
    let host = HostName::of_authority(authority);
    let Some(group) = port.table.listener(&host) else { return fail(Reason::NoRoute) };
    let listener = &port.listeners[group.first as usize];
    listener.cells.at(cell).requests[usize::from(parts.version == Version::HTTP_2)].inc();
    exchange.record.note(|detail| detail.listener = Some(listener.key.clone()));
    let session = connection.parts.tls.as_deref();
    if session.is_some_and(|session| !group.has(&session.listener)) {
        return fail(Reason::Misdirected);
    }
    let target = Target {
        method: &exchange.method,
        path: exchange.uri.path(),
        query: exchange.uri.query(),
        headers: &exchange.headers,
    };
    let Some(hit) = group.route(host.as_str(), &target) else { return fail(Reason::NoRoute) };
    let (index, prefix, pattern) = (hit.rule(), hit.prefix(), hit.pattern());
    exchange.rule = Some(index);
    exchange.prefix = prefix;
    let rule = &view.snapshot.rules[index];
    exchange.record.note(|detail| {
        detail.route = Some(rule.route.clone());
        detail.rule = Some(rule.id.clone());
        detail.pattern = Some(pattern.clone());
    });
    let current = |filter: &str| view.snapshot.filter_version(filter);
    if !required_satisfied(session, &rule.tls_filters, current) {
        return fail(Reason::Misdirected);
    }
    let settings = &listener.settings;
    let scheme = connection.parts.scheme;
    exchange.client = forwarded::write(&mut exchange.headers, &connection.peer, scheme, settings);
    if let Some(client) = exchange.client {
        exchange.record.note(|detail| detail.client = client);
    }
    if accepted.length.is_some_and(|length| length > settings.max_body_bytes) {
        return fail(Reason::BodyTooLarge);
    }

    let policies = &worker.policies;
    match on_request(exchange, |rule| &rule.program, policies, &mut passed.rule) {
        Flow::Next => {}
        flow => return Err(flow),
    }
    let Some(choice) = exchange.chosen.or_else(|| view.choose(index)) else {
        return fail(Reason::NoBackend);
    };
    let mut of_choice = 0;
    let flow = match rule.choices[choice].program.request.is_empty() {
        true => {
            of_choice = u16::MAX;
            Flow::Next
        }
        false => {
            on_request(exchange, |rule| &rule.choices[choice].program, policies, &mut of_choice)
        }
    };
    passed.choice = Some((choice, of_choice));
    let backend = match (flow, rule.choices[choice].backend) {
        (Flow::Next, Some(backend)) => backend,
        (Flow::Next, None) => return fail(Reason::Configuration),
        (flow, _) => return Err(flow),
    };
    Ok(Forward { backend, settings: settings.clone(), upgrade: accepted.upgrade })
}

/// Sends the request on and the answer back.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold its argument twice")]
fn send(mut sending: Sending) -> impl Future<Output = Response<Body>> {
    async move {
        let sent = await_answer(&mut sending).await;
        let mut ongoing = sending.ongoing;
        let broken = ongoing.progress.as_ref().and_then(|progress| progress.broken.get());
        ongoing.error = None;
        match sent {
            Ok((response, lease)) => {
                ongoing.lease = Some(lease);
                answer(response, ongoing, &sending.forward, sending.on_upgrade, sending.passed)
            }
            Err(failure) => {
                tracing::debug!(reason = failure.reason.as_str(), "{}", failure.message);
                let flow = Flow::Fail(broken.unwrap_or(failure.reason));
                respond::made(flow, sending.passed, ongoing)
            }
        }
    }
}

async fn await_answer(
    sending: &mut Sending,
) -> Result<(Response<Incoming>, Lease), upstream::Failure> {
    let Sending { ongoing, view, forward, outgoing, .. } = sending;
    let Ongoing { exchange, connection, .. } = &mut **ongoing;
    let rule = exchange.rule.map(|rule| &view.snapshot.rules[rule]);
    let (whole, each) = rule.map_or((None, None), |r| (r.request_timeout, r.backend_timeout));
    let started = exchange.record.started();
    let Some(backend) = view.backend(forward.backend) else {
        let message = "the backend of a rule is not there".into();
        return Err(upstream::Failure { reason: Reason::Configuration, message });
    };
    let telemetry = &connection.worker.telemetry;
    let sent = pin!(upstream::send(backend, outgoing, each, telemetry, &mut exchange.record));
    match whole {
        None => sent.await,
        Some(limit) => match tokio::time::timeout_at((started + limit).into(), sent).await {
            Ok(sent) => sent,
            Err(_) => Err(upstream::Failure {
                reason: Reason::UpstreamTimeout,
                message: "the whole request took too long".into(),
            }),
        },
    }
}

fn outgoing(ongoing: &mut Ongoing, forward: &Forward, body: Incoming) -> Outgoing {
    let settings = &forward.settings;
    let body = match hyper::body::Body::is_end_stream(&body) {
        true => RequestBody::Empty,
        false => {
            let progress = Rc::<BodyProgress>::default();
            ongoing.progress = Some(progress.clone());
            let clock = &ongoing.connection.worker.clock;
            let (most, timeout) = (settings.max_body_bytes, settings.body_timeout);
            RequestBody::new(body, most, timeout, clock, &progress)
        }
    };
    let keeps = ongoing.rule().is_some_and(|rule| {
        rule.program.keeps_request || rule.choices.iter().any(|c| c.program.keeps_request)
    });
    let exchange = &mut ongoing.exchange;
    let mut headers = match keeps {
        true => exchange.headers.clone(),
        false => std::mem::take(&mut exchange.headers),
    };
    if let Some(upgrade) = &forward.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade.clone());
    }
    Outgoing { method: exchange.method.clone(), uri: exchange.uri.clone(), headers, body }
}

/// The endpoint's answer on its way back.
fn answer(
    mut response: Response<Incoming>,
    mut ongoing: Box<Ongoing>,
    forward: &Forward,
    on_upgrade: Option<OnUpgrade>,
    passed: Passed,
) -> Response<Body> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upgraded = match (switching, &forward.upgrade, on_upgrade) {
        (false, ..) => None,
        (true, Some(_), Some(client)) => Some((client, hyper::upgrade::on(&mut response))),
        // An endpoint that switches unasked has lost its mind, and the connection with it.
        (true, ..) => {
            return respond::made(Flow::Fail(Reason::UpstreamProtocol), passed, ongoing);
        }
    };
    let (mut parts, body) = response.into_parts();
    let protocol = upgraded.is_some().then(|| parts.headers.get(header::UPGRADE).cloned());
    head::strip(&mut parts.headers);
    ongoing.exchange.response = Some((parts.status, parts.headers));
    let replaced = respond::steps(&mut ongoing, passed);
    let mut head = respond::head_of(&mut ongoing);
    if let Some(bytes) = replaced {
        return respond::respond(head, ongoing, |ongoing| Body::whole(bytes, ongoing));
    }
    let Some((client, endpoint)) = upgraded else {
        let timeout = forward.settings.body_timeout;
        return respond::respond(head, ongoing, |ongoing| Body::stream(body, timeout, ongoing));
    };
    head.1.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(Some(protocol)) = protocol {
        head.1.insert(header::UPGRADE, protocol);
    }
    ongoing.status = head.0.as_u16();
    upgrade::join(client, endpoint, ongoing);
    let mut response = Response::new(Body::none());
    *response.status_mut() = head.0;
    *response.headers_mut() = head.1;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Room that every idle client connection keeps.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size_of_future(handle);
        println!("{size} bytes");
        assert!(size <= 1536, "{size} bytes");
    }
}
