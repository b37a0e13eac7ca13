//! What the tests share: guests built from source, filters, and an exchange made of words.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::LazyLock;

use penstock_config::{Filter, OnFailure, OpaqueValues, PolicyKind, ResourceKind, Version};
use penstock_filter_host::{
    Edit, Exchange, HeaderDecision, Host, HostConfig, Outcome, Policy, Selector, Verdict, Worker,
};

static GUESTS: LazyLock<HashMap<String, Vec<u8>>> = LazyLock::new(|| {
    let workspace = xtask_components::root().join("tests/guests");
    let target = xtask_components::target_dir().join("guests");
    let components = xtask_components::build(&workspace, &target).expect("the guests build");
    components.into_iter().map(|component| (component.name, component.bytes)).collect()
});

/// The component of a crate of `tests/guests`, without the prefix `guest-`.
pub(crate) fn guest(name: &str) -> &'static [u8] {
    GUESTS.get(&format!("guest-{name}")).unwrap_or_else(|| panic!("no guest {name}"))
}

/// Settings with a small pool, so that many hosts fit the address space.
pub(crate) fn config() -> HostConfig {
    HostConfig { max_instances: 64, ..HostConfig::default() }
}

/// A host with the guests `headers`, `capable`, `paths` and `tls`.
pub(crate) fn host(config: HostConfig) -> Host {
    let host = Host::new(config).expect("a host");
    for name in ["headers", "capable", "paths", "tls"] {
        host.load(host.compile(guest(name)).expect("a module"));
    }
    host
}

/// One host for all tests that need no settings of their own.
pub(crate) fn shared() -> &'static Host {
    static HOST: LazyLock<Host> = LazyLock::new(|| host(config()));
    &HOST
}

/// A filter of a guest.
pub(crate) fn filter(guest_name: &str, name: &str, config_json: &str) -> Filter {
    let kind = match guest_name {
        "paths" => PolicyKind::Paths,
        "tls" => PolicyKind::Tls,
        _ => PolicyKind::Headers,
    };
    Filter {
        name: name.to_owned(),
        kind: kind as i32,
        module: penstock_filter_host::digest(guest(guest_name)),
        config_json: config_json.to_owned(),
        generation: 1,
        grants: Vec::new(),
        memory_bytes: 16 << 20,
        deadline_us: 50_000,
        max_invocations: 0,
        on_failure: OnFailure::Closed as i32,
        opaque_values: OpaqueValues::Reject as i32,
    }
}

/// A filter of the guest `headers` in a mode.
pub(crate) fn mode(name: &str, mode: &str) -> Filter {
    filter("headers", name, &format!("\"{mode}\""))
}

/// The version of a filter, as node configuration has it.
pub(crate) fn version(filter: &Filter) -> Version {
    Version::of(&ResourceKind::Filter(filter.clone()))
}

/// Prepares a filter that must be fine.
pub(crate) fn prepare(worker: &mut Worker, filter: &Filter) -> Policy {
    worker.prepare(filter, version(filter)).expect("a policy")
}

/// An exchange.
#[derive(Clone, Default)]
pub(crate) struct Words {
    values: BTreeMap<String, Vec<u8>>,
    recording: bool,
}

impl Words {
    /// One whose header `x-do` tells the guest what to do.
    pub(crate) fn told(order: &str) -> Self {
        Self::default().with("header/x-do", order.as_bytes())
    }

    /// Sets a value by the selector's name.
    pub(crate) fn with(mut self, selector: &str, value: impl AsRef<[u8]>) -> Self {
        self.values.insert(selector.to_owned(), value.as_ref().to_vec());
        self
    }

    /// As one that is traced.
    pub(crate) fn recorded(mut self) -> Self {
        self.recording = true;
        self
    }
}

/// What is left of a text after what was written.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

impl Exchange for Words {
    fn read<'a>(&'a self, selector: &Selector) -> Option<Cow<'a, [u8]>> {
        let named = |(name, _): &(&String, &Vec<u8>)| {
            // Compares as it writes: a string would be an allocation, and those are counted.
            let mut rest = Rest(name);
            write!(rest, "{selector}").is_ok() && rest.0.is_empty()
        };
        self.values.iter().find(named).map(|(_, value)| Cow::Borrowed(&value[..]))
    }

    fn recording(&self) -> bool {
        self.recording
    }

    fn route(&self) -> &str {
        "shop/route"
    }

    fn trace_id(&self) -> Option<&str> {
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    }
}

/// The value that a decision sets for a header.
pub(crate) fn set<'a>(outcome: &'a Outcome<HeaderDecision>, header: &str) -> Option<&'a str> {
    let Verdict::Decided(HeaderDecision::Edit(edits)) = &outcome.verdict else { return None };
    edits.iter().find_map(|edit| match edit {
        Edit::Set(name, value) if name == header => value.to_str().ok(),
        _ => None,
    })
}

/// The number of the call in its instance, as the guest counts.
pub(crate) fn count(outcome: &Outcome<HeaderDecision>) -> u32 {
    set(outcome, "x-count").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{outcome:?}"))
}
