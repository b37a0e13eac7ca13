//! Bindings of `wit/`, made when the crate is built. Arguments are borrowed, so that a call builds no
//! strings on the host's side.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code, private to this crate"
)]

/// What the three kinds of policy export, in one world so that they share their types. The host
/// takes the interfaces one by one: no component has them all.
pub(crate) mod policy {
    wasmtime::component::bindgen!({
        inline: "
            package penstock:bindings;
            world policies {
                export penstock:policy/describe@1.0.0;
                export penstock:policy/headers@1.0.0;
                export penstock:policy/paths@1.0.0;
                export penstock:policy/tls@1.0.0;
            }
        ",
        path: "../../wit/policy",
        ownership: Borrowing { duplicate_if_necessary: false },
    });

    #[cfg(feature = "compile")]
    pub(crate) use exports::penstock::policy::describe;
    pub(crate) use exports::penstock::policy::{headers, paths, tls};
    pub(crate) use penstock::policy::types;
}

/// What a policy can be granted.
pub(crate) mod capability {
    wasmtime::component::bindgen!({
        path: "../../wit/host",
        world: "penstock:host/capabilities",
        imports: {
            "penstock:host/random": trappable,
            "penstock:host/metrics": trappable,
        },
        with: {
            "penstock:host/metrics.counter": crate::series::Counter,
            "penstock:host/metrics.gauge": crate::series::Gauge,
        },
    });

    pub(crate) use penstock::host::{clock, log, metrics, random, trace};
}
