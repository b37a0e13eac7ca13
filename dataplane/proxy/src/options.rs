//! How a proxy is started.

use crate::{
    telemetry::{AccessLog, Tracer},
    upstream::PoolOptions,
};
use penstock_telemetry::trace::ExportStats;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

/// How a proxy is started.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Worker threads, at least one. The default is one for each core.
    pub workers: usize,
    /// Addresses that listeners are bound to.
    pub bind: Vec<IpAddr>,
    /// Added to the port of each listener, so that no privilege is needed.
    pub port_offset: u16,
    /// How long requests may take to end when the proxy does.
    pub drain_timeout: Duration,
    /// Connections to endpoints.
    pub pool: PoolOptions,
    /// Where traces go; `None` is off.
    pub tracer: Option<Arc<Tracer>>,
    /// What became of spans, for the metrics page.
    pub export: Option<Arc<ExportStats>>,
    /// Where the access log goes; `None` is off.
    pub access_log: Option<Arc<AccessLog>>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            port_offset: 0,
            drain_timeout: Duration::from_secs(30),
            pool: PoolOptions::default(),
            tracer: None,
            export: None,
            access_log: None,
        }
    }
}
