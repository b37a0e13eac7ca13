//! Configurations, written short.

use penstock_config::{
    Attachment, Backend, BackendChoice, BackendProtocol, Endpoint, Endpoints, Gateway, Header,
    HeaderEdit, HttpMatch, Limits, Listener, ListenerProtocol, PathMatch, ResourceKind, Rule,
    State, Step, StepAction,
};
use std::net::SocketAddr;

pub const GATEWAY: &str = "test/gw";
pub const LISTENER: &str = "test/gw/http";

pub struct Config {
    pub state: State,
    pub port: u16,
    rules: u32,
}

impl Config {
    /// A gateway with one HTTP listener for any name.
    pub fn new(port: u16) -> Self {
        let mut config = Self { state: State::default(), port, rules: 0 };
        config.gateway(|_| {});
        config.listener("http", "");
        config
    }

    pub fn gateway(&mut self, change: impl FnOnce(&mut Gateway)) {
        let mut gateway = Gateway { name: GATEWAY.into(), ..Gateway::default() };
        change(&mut gateway);
        self.state.insert(ResourceKind::Gateway(gateway));
    }

    pub fn limits(&mut self, change: impl FnOnce(&mut Limits)) {
        let mut limits = Limits::default();
        change(&mut limits);
        self.gateway(|gateway| gateway.limits = Some(limits));
    }

    pub fn listener(&mut self, section: &str, hostname: &str) {
        self.state.insert(ResourceKind::Listener(Listener {
            gateway: GATEWAY.into(),
            section: section.into(),
            port: self.port.into(),
            protocol: ListenerProtocol::Http as i32,
            hostname: hostname.into(),
            ..Listener::default()
        }));
    }

    pub fn backend(&mut self, name: &str, endpoints: &[SocketAddr]) -> BackendChoice {
        self.backend_of(name, endpoints, BackendProtocol::Http1)
    }

    pub fn backend_of(
        &mut self,
        name: &str,
        endpoints: &[SocketAddr],
        protocol: BackendProtocol,
    ) -> BackendChoice {
        let key = format!("test/{name}:80");
        self.state.insert(ResourceKind::Backend(Backend {
            name: key.clone(),
            protocol: protocol as i32,
        }));
        let endpoint =
            |a: &SocketAddr| Endpoint { host: a.ip().to_string(), port: a.port().into() };
        self.state.insert(ResourceKind::Endpoints(Endpoints {
            backend: key.clone(),
            endpoints: endpoints.iter().map(endpoint).collect(),
        }));
        BackendChoice {
            backend: key.clone(),
            weight: 1,
            reference: key,
            ..BackendChoice::default()
        }
    }

    /// A rule of its own route on the listener, for any name.
    pub fn rule(&mut self, path: PathMatch, change: impl FnOnce(&mut Rule)) {
        let mut rule = Rule {
            route: format!("test/r{}", self.rules),
            id: "0".into(),
            attachments: vec![Attachment {
                listener: LISTENER.into(),
                hostnames: vec![String::new()],
            }],
            matches: vec![HttpMatch { path: Some(path), ..HttpMatch::default() }],
            ..Rule::default()
        };
        self.rules += 1;
        change(&mut rule);
        self.state.insert(ResourceKind::Rule(rule));
    }

    /// A rule for all paths.
    pub fn route_all(&mut self, choice: BackendChoice) {
        self.rule(prefix("/"), |rule| rule.backends = vec![choice]);
    }
}

pub fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

pub fn weighted(mut choice: BackendChoice, weight: u32) -> BackendChoice {
    choice.weight = weight;
    choice
}

pub fn step(action: StepAction) -> Step {
    Step { action: Some(action) }
}

pub fn header(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: value.into() }
}

pub fn set(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit { set: vec![header(name, value)], ..HeaderEdit::default() }
}

pub fn add(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit { add: vec![header(name, value)], ..HeaderEdit::default() }
}
