//! A proxy on real sockets, with backends that say what they got.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod backend;
pub mod client;
pub mod config;
pub mod h2;

use config::Config;
use penstock_config::{Delta, State};
use penstock_filter_host::{Host, HostConfig};
use penstock_proxy::{Ack, Proxy, ProxyOptions};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub use penstock_test_ports::free_port;

/// A running proxy with its configuration.
pub struct Gateway {
    pub proxy: Proxy,
    pub port: u16,
    state: State,
}

impl Gateway {
    /// One worker, one port; `configure` says what it serves.
    pub fn start(configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(|_| {}, configure)
    }

    pub fn start_with(
        options: impl FnOnce(&mut ProxyOptions),
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let host = Host::new(HostConfig::default()).expect("a filter host");
        let mut proxy_options = ProxyOptions {
            workers: 1,
            bind: vec![LOCAL],
            drain_timeout: Duration::from_secs(5),
            ..ProxyOptions::default()
        };
        options(&mut proxy_options);
        let proxy = Proxy::start(proxy_options, host).expect("a proxy");
        Self::of(proxy, configure)
    }

    /// A proxy that was started elsewhere.
    pub fn of(proxy: Proxy, configure: impl FnOnce(&mut Config)) -> Self {
        let mut gateway = Self { proxy, port: free_port(), state: State::default() };
        let ack = gateway.apply(configure);
        assert_eq!(ack.refused, [], "everything is served");
        gateway
    }

    /// Replaces the configuration.
    pub fn apply(&mut self, configure: impl FnOnce(&mut Config)) -> Ack {
        let mut config = Config::new(self.port);
        configure(&mut config);
        let delta: Delta = self.state.diff(&config.state);
        let ack = self.proxy.apply(&delta);
        self.state = config.state;
        ack
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(LOCAL, self.port)
    }
}
