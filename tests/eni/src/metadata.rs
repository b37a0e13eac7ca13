//! The instance metadata service, version 2 (EC2 User Guide, "Use the Instance Metadata Service to access
//! instance metadata"): a session by PUT, then what the instance is and the keys of its role.
//!
//! Who asks is known by the address that it asks from. As on an instance with a hop limit of one, an
//! answer reaches the instance and nobody behind it: pods have no credentials of their node.

use crate::{
    http::Server,
    model::{Model, ModelInterface},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, body::Incoming, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// Where every instance has it.
pub const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);

/// The keys of the instances' role: access key and secret.
pub const KEYS: (&str, &str) = ("ASIAMODELMODELMODEL0", "secret-of-the-model");

/// Name of the instances' role.
const ROLE: &str = "penstock-node";
/// Hops of an answer.
const HOPS: u32 = 1;
/// Headers of a session.
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_SECONDS: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// A session lasts six hours at most.
const LONGEST: u64 = 21_600;

/// Sessions: whose, and until when.
#[derive(Debug, Default)]
struct Sessions(BTreeMap<String, (String, Instant)>);

/// Serves the metadata of a model's instances, on a thread of its own in the calling thread's network
/// namespace.
///
/// # Errors
/// The address is not there, or taken.
pub fn serve(ec2: Server, address: SocketAddr) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_ttl(HOPS)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("metadata".into())
        .spawn(move || tokio::task::LocalSet::new().block_on(&runtime, accept(ec2, listener)))?;
    Ok(())
}

async fn accept(ec2: Server, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let sessions = Arc::<Mutex<Sessions>>::default();
    loop {
        let (stream, from) = listener.accept().await?;
        let (ec2, sessions) = (ec2.clone(), sessions.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answer =
                ec2.model(|model| answer(model, &mut sessions.lock(), from.ip(), &request));
            let mut answer = match answer {
                Ok(text) => response(StatusCode::OK, text),
                Err(status) => response(status, String::new()),
            };
            // Of a session it is said how long it lasts.
            if let Some(seconds) = request.headers().get(TOKEN_SECONDS) {
                answer.headers_mut().insert(TOKEN_SECONDS, seconds.clone());
            }
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        tokio::task::spawn_local(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

fn answer<B>(
    model: &Model,
    sessions: &mut Sessions,
    from: IpAddr,
    request: &Request<B>,
) -> Result<String, StatusCode> {
    let instance = asking(model, from).ok_or(StatusCode::NOT_FOUND)?;
    let path = request.uri().path();
    if path == "/latest/api/token" {
        return match *request.method() {
            Method::PUT => sessions.begin(&instance, request.headers()),
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        };
    }
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    sessions.check(&instance, request.headers())?;
    let path = path.strip_prefix("/latest/").ok_or(StatusCode::NOT_FOUND)?;
    tree(model, &instance).remove(path.trim_end_matches('/')).ok_or(StatusCode::NOT_FOUND)
}

impl Sessions {
    fn begin(&mut self, instance: &str, headers: &HeaderMap) -> Result<String, StatusCode> {
        let seconds =
            headers.get(TOKEN_SECONDS).and_then(|value| value.to_str().ok()?.parse().ok());
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        let seconds = seconds.ok_or(StatusCode::BAD_REQUEST)?;
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(56).collect();
        let until = Instant::now() + Duration::from_secs(seconds);
        self.0.insert(token.clone(), (instance.to_owned(), until));
        Ok(token)
    }

    /// Without a session of version 2 nothing is said.
    fn check(&self, instance: &str, headers: &HeaderMap) -> Result<(), StatusCode> {
        let token = headers.get(TOKEN).and_then(|value| value.to_str().ok());
        let session = token.and_then(|token| self.0.get(token));
        match session {
            Some((of, until)) if of == instance && *until > Instant::now() => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }
}

/// The instance that has the address.
fn asking(model: &Model, from: IpAddr) -> Option<String> {
    let IpAddr::V4(from) = from else { return None };
    let has = |eni: &&ModelInterface| {
        eni.primary == from || eni.units().iter().any(|unit| unit.contains(from))
    };
    let eni = model.interfaces.values().filter(|eni| eni.attached.is_some()).find(has)?;
    eni.attached.as_ref().map(|(instance, _)| instance.clone())
}

/// What is said of an instance, by path.
fn tree(model: &Model, instance: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut say = |path: &str, text: String| said.insert(format!("meta-data/{path}"), text);
    say("instance-id", instance.to_owned());
    let of_it = |eni: &&ModelInterface| eni.attached.as_ref().is_some_and(|(of, _)| of == instance);
    let mut macs = String::new();
    for eni in model.interfaces.values().filter(of_it) {
        let Some((_, at)) = &eni.attached else { continue };
        let _ = writeln!(macs, "{}/", eni.mac);
        let of = |leaf: &str| format!("network/interfaces/macs/{}/{leaf}", eni.mac);
        say(&of("interface-id"), eni.id.0.clone());
        say(&of("device-number"), at.index.to_string());
        say(&of("subnet-id"), eni.subnet.clone());
        let addresses = std::iter::once(eni.primary).chain(eni.addresses.iter().copied());
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        say(&of("local-ipv4s"), addresses.join("\n"));
        let prefixes: Vec<_> = eni.prefixes.iter().map(ToString::to_string).collect();
        if !prefixes.is_empty() {
            say(&of("ipv4-prefix"), prefixes.join("\n"));
        }
        let subnet = model.subnets.get(&eni.subnet);
        if let (0, 0, Some(subnet)) = (at.card, at.index, subnet) {
            say("local-ipv4", eni.primary.to_string());
            say("mac", eni.mac.clone());
            say("placement/availability-zone", subnet.zone.clone());
            say("placement/region", subnet.zone.trim_end_matches(char::is_alphabetic).to_owned());
        }
    }
    say("network/interfaces/macs", macs);
    say("iam/security-credentials", ROLE.to_owned());
    let (key, secret) = KEYS;
    let keys = format!(
        r#"{{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"{key}","SecretAccessKey":"{secret}","Token":"session","Expiration":"2099-12-31T23:59:59Z"}}"#
    );
    say(&format!("iam/security-credentials/{ROLE}"), keys);
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelSubnet, Space};
    use penstock_eni::Limits;

    fn model() -> Model {
        let mut model = Model::new();
        let subnet = ModelSubnet {
            zone: "eu-central-1a".into(),
            vpc: "vpc-1".into(),
            space: Space::new("10.0.0.0/24"),
            tags: BTreeMap::new(),
        };
        model.subnets.insert("subnet-1".into(), subnet);
        for id in ["i-1", "i-2"] {
            model.launch(id, Limits::one_card(3, 10, true), "subnet-1", &[]).unwrap();
        }
        model
    }

    fn ask(method: Method, path: &str, header: (&'static str, &str)) -> Request<()> {
        Request::builder().method(method).uri(path).header(header.0, header.1).body(()).unwrap()
    }

    #[test]
    fn nothing_is_said_without_a_session_of_the_same_instance() {
        let (model, mut sessions) = (model(), Sessions::default());
        let address = |instance: &str| {
            let of = |eni: &&ModelInterface| eni.attached.as_ref().is_some_and(|a| a.0 == instance);
            IpAddr::V4(model.interfaces.values().find(of).unwrap().primary)
        };
        let (one, other) = (address("i-1"), address("i-2"));
        let mut say = |from, request: &Request<()>| answer(&model, &mut sessions, from, request);
        let put = |seconds| ask(Method::PUT, "/latest/api/token", (TOKEN_SECONDS, seconds));
        assert_eq!(say(one, &put("0")), Err(StatusCode::BAD_REQUEST));
        let token = say(one, &put("60")).unwrap();
        let get = |path| ask(Method::GET, path, (TOKEN, &token));
        let region = "/latest/meta-data/placement/region";
        assert_eq!(say(one, &get(region)).unwrap(), "eu-central-1");
        assert_eq!(say(one, &get("/latest/meta-data/instance-id")).unwrap(), "i-1");
        assert_eq!(say(other, &get(region)), Err(StatusCode::UNAUTHORIZED));
        let wrong = ask(Method::GET, region, (TOKEN, "wrong"));
        assert_eq!(say(one, &wrong), Err(StatusCode::UNAUTHORIZED));
        assert_eq!(say(one, &get("/latest/user-data")), Err(StatusCode::NOT_FOUND));
        assert_eq!(say(IpAddr::from([10, 9, 9, 9]), &put("60")), Err(StatusCode::NOT_FOUND));
        let role = say(one, &get("/latest/meta-data/iam/security-credentials/")).unwrap();
        let keys = say(one, &get(&format!("/latest/meta-data/iam/security-credentials/{role}")));
        assert!(keys.unwrap().contains(KEYS.1));
    }
}
