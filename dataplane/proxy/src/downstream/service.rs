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
    upstream::{self, BodyProgress, Outgoing, RequestBody},
    worker::View,
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use std::{convert::Infallible, rc::Rc, sync::Arc};

/// A request that goes to an endpoint.
struct Forward {
    /// Index of the backend.
    backend: usize,
    settings: Arc<Settings>,
    /// The protocol that the client wants to go on with.
    upgrade: Option<HeaderValue>,
}

/// Answers one request.
pub(super) async fn handle(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
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
    let arrived = arrive(&mut ongoing, &view, &mut parts, number, &mut passed);
    let (forward, flow) = match arrived {
        Ok(forward) => (forward, Flow::Next),
        Err(flow) => (None, flow),
    };
    let Some(forward) = forward else {
        ongoing.error = None;
        return Ok(respond::made(flow, passed, ongoing));
    };
    Ok(send(ongoing, view, forward, body, on_upgrade, passed).await)
}

/// Everything up to the choice of a backend.
fn arrive(
    ongoing: &mut Ongoing,
    view: &View,
    parts: &mut request::Parts,
    number: u64,
    passed: &mut Passed,
) -> Result<Option<Forward>, Flow> {
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
    if content_length(exchange).is_some_and(|length| length > settings.max_body_bytes) {
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
    Ok(Some(Forward { backend, settings: settings.clone(), upgrade: accepted.upgrade }))
}

fn content_length(exchange: &Exchange) -> Option<u64> {
    exchange.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sends the request on and the answer back.
async fn send(
    mut ongoing: Box<Ongoing>,
    view: Rc<View>,
    forward: Forward,
    body: Incoming,
    on_upgrade: Option<OnUpgrade>,
    passed: Passed,
) -> Response<Body> {
    let outgoing = outgoing(&mut ongoing, &forward, body);
    let rule = ongoing.exchange.rule.map(|rule| &view.snapshot.rules[rule]);
    let (whole, each) = rule.map_or((None, None), |r| (r.request_timeout, r.backend_timeout));
    let worker = ongoing.connection.worker.clone();
    let started = ongoing.exchange.record.started();
    let sent = upstream::send(
        &view.backends[forward.backend],
        outgoing,
        each,
        &worker.telemetry,
        &mut ongoing.exchange.record,
    );
    let sent = match whole {
        None => sent.await,
        Some(limit) => match tokio::time::timeout_at((started + limit).into(), sent).await {
            Ok(sent) => sent,
            Err(_) => Err(upstream::Failure {
                reason: Reason::UpstreamTimeout,
                message: "the whole request took too long".into(),
            }),
        },
    };
    let broken = ongoing.progress.as_ref().and_then(|progress| progress.broken.get());
    match sent {
        Ok((response, lease)) => {
            ongoing.error = None;
            ongoing.lease = Some(lease);
            answer(response, ongoing, &forward, on_upgrade, passed)
        }
        Err(failure) => {
            tracing::debug!(reason = failure.reason.as_str(), "{}", failure.message);
            ongoing.error = None;
            respond::made(Flow::Fail(broken.unwrap_or(failure.reason)), passed, ongoing)
        }
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
