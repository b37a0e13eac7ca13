//! The standalone gateway: files, control loop, modules and proxy, put together.

use super::events::Event;
use crate::{
    args::{AccessLog as LogFormat, ServeArgs},
    control::Controller,
    loader::{self, Diagnostic, Snapshot},
    sources,
};
use anyhow::Context as _;
use penstock_filter_host::{Host, HostConfig};
use penstock_gateway::{Confirmation, Mode};
use penstock_modules::Modules;
use penstock_proxy::{
    Ack, Proxy, ProxyOptions,
    telemetry::{AccessLog, AccessLogFormat, Tracer},
};
use penstock_telemetry::{Guard, admin::AdminServer};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often everything is translated again only because time passes (certificates expire).
const CLOCK_STEP: i64 = 60;
/// For the last lines of the access log.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A running gateway.
pub(crate) struct Gateway {
    paths: Vec<PathBuf>,
    controller: Controller,
    modules: Modules,
    proxy: Arc<Proxy>,
    admin: Option<AdminServer>,
    access_log: Option<Arc<AccessLog>>,
    snapshot: Option<Snapshot>,
    /// What was wrong with the files that were not applied.
    broken: Vec<Diagnostic>,
    listening: Vec<(u16, SocketAddr)>,
    translated_at: i64,
    read_time: Duration,
}

impl Gateway {
    /// Starts the proxy and the admin port; nothing is served until the first
    /// [`Gateway::reload`].
    ///
    /// # Errors
    /// When a path does not exist, or what is needed cannot be started.
    pub(crate) fn start(
        paths: &[PathBuf],
        args: &ServeArgs,
        telemetry: &Guard,
    ) -> anyhow::Result<Self> {
        for path in paths {
            path.metadata().with_context(|| {
                format!("{} cannot be read: check the path given with -f", path.display())
            })?;
        }
        let host = Host::new(HostConfig::default())?;
        let access_log = args.access_log.map(start_access_log).transpose()?;
        let mut options = ProxyOptions {
            bind: args.bind.clone(),
            port_offset: args.port_offset,
            drain_timeout: args.drain_timeout,
            tracer: telemetry.spans().map(|sink| Arc::new(Tracer::new(sink))),
            export: telemetry.export_stats(),
            access_log: access_log.clone(),
            ..ProxyOptions::default()
        };
        if let Some(workers) = args.workers {
            options.workers = workers.into();
        }
        let proxy = Arc::new(Proxy::start(options, host.clone())?);
        let admin = args
            .admin
            .map(|address| {
                AdminServer::start(address, proxy.clone()).with_context(|| {
                    format!("cannot listen on {address}: choose another address with --admin")
                })
            })
            .transpose()?;
        Ok(Self {
            paths: paths.to_vec(),
            controller: Controller::new(Mode::Standalone),
            modules: Modules::new(host),
            proxy,
            admin,
            access_log,
            snapshot: None,
            broken: Vec::new(),
            listening: Vec::new(),
            translated_at: 0,
            read_time: Duration::ZERO,
        })
    }

    /// Reads the files and modules and serves what they say now. While a file is broken, what was
    /// served before is served on; only at the start there is nothing before, and what is well is
    /// served.
    pub(crate) fn reload(&mut self) -> Vec<Event> {
        let started = Instant::now();
        let snapshot = loader::read(&self.paths);
        self.read_time = started.elapsed();
        let mut events = Vec::new();
        let is_new = self.snapshot.as_ref() != Some(&snapshot);
        if is_new && !self.take(snapshot, &mut events) {
            return events;
        }
        let found = sources::resolve(&mut self.controller, &mut self.modules);
        for reason in found.refused {
            self.proxy.metrics().config.refused(reason.as_str());
        }
        let now = crate::now();
        let due = now - self.translated_at >= CLOCK_STEP || self.controller.has_refusals();
        if is_new || found.changed || due {
            self.serve(now, &mut events);
        }
        events
    }

    /// Takes in what files say. Says no when it is not to be applied.
    fn take(&mut self, snapshot: Snapshot, events: &mut Vec<Event>) -> bool {
        let loaded = loader::load(&snapshot);
        let errors = loaded.diagnostics.iter().filter(|d| d.is_error()).count();
        let first = self.snapshot.is_none();
        let told = self.broken == loaded.diagnostics;
        if !told {
            events.extend(loaded.diagnostics.iter().cloned().map(Event::Diagnostic));
        }
        if errors > 0 && !first {
            if !told {
                events.push(Event::NotApplied(errors));
            }
            self.broken = loaded.diagnostics;
            return false;
        }
        if errors == 0 && self.broken.iter().any(Diagnostic::is_error) {
            events.push(Event::Applied);
        }
        self.broken = loaded.diagnostics;
        self.controller.accept(loaded.objects);
        self.snapshot = Some(snapshot);
        true
    }

    /// Translates and has the proxy serve it.
    fn serve(&mut self, now: i64, events: &mut Vec<Event>) {
        self.translated_at = now;
        let planned = self.controller.plan(now);
        let first = !self.proxy.is_ready();
        let confirmation = match planned.delta.is_empty() && !first {
            true => self.controller.last_confirmation(),
            false => confirmation(self.proxy.apply(&planned.delta)),
        };
        let changes = self.controller.confirm(planned, confirmation);
        for change in changes {
            let details = match &change {
                crate::control::Change::Verdict(v) => self.controller.diagnostics(&v.id),
                crate::control::Change::Removed(_) => Vec::new(),
            };
            events.push(Event::Change(change));
            events.extend(details.into_iter().map(Event::Diagnostic));
        }
        let index = self.controller.index();
        self.modules.retain(index.filters(), index.last_good_modules());
        self.tell_ports(first, events);
    }

    fn tell_ports(&mut self, first: bool, events: &mut Vec<Event>) {
        let ports = self.proxy.ports();
        let listening: Vec<_> =
            ports.iter().filter_map(|p| Some((u16::try_from(p.port).ok()?, p.address))).collect();
        let fresh = listening.iter().filter(|l| !self.listening.contains(l));
        events.extend(fresh.map(|(port, address)| Event::Listening(*port, *address)));
        if listening.is_empty() && (first || !self.listening.is_empty()) {
            events.push(Event::NothingServed);
        }
        self.listening = listening;
    }

    /// Whether a port is open here.
    pub(crate) fn listens_on(&self, address: SocketAddr) -> bool {
        self.listening.iter().any(|(_, open)| *open == address)
    }

    /// Where the admin port listens.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminServer::address)
    }

    /// The files of modules, to be watched.
    pub(crate) fn module_files(&self) -> Vec<PathBuf> {
        sources::module_files(&self.controller)
    }

    /// How long the last reading took.
    pub(crate) fn read_time(&self) -> Duration {
        self.read_time
    }

    /// The policies, for who wants to know what they do.
    pub(crate) fn host(&self) -> &Host {
        self.proxy.host()
    }

    /// The names of the paths that are read.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Ends: no new connections, the requests in flight are finished, at the latest after the drain
    /// timeout. The admin port says "not ready" meanwhile.
    pub(crate) fn drain(self) {
        self.proxy.drain();
        drop(self.admin);
        if let Some(log) = self.access_log {
            log.shutdown(LAST_LINES);
        }
    }
}

fn start_access_log(format: LogFormat) -> anyhow::Result<Arc<AccessLog>> {
    let format = match format {
        LogFormat::Json => AccessLogFormat::Json,
        LogFormat::Text => AccessLogFormat::Text,
    };
    Ok(Arc::new(AccessLog::start(format, io::stdout()).context("cannot start the access log")?))
}

/// What the proxy's answer means for statuses.
fn confirmation(ack: Ack) -> Confirmation {
    Confirmation {
        // A change that does not fit was refused as a whole.
        acknowledged: !ack.refused.iter().any(|r| r.reason == "MissingParent"),
        refused: ack.refused.into_iter().map(|r| (r.key, r.reason.to_owned(), r.message)).collect(),
        kept: ack.kept.into_iter().collect(),
    }
}
