//! Nanoseconds for one step of a header policy, by how its decision comes about. Run it with
//! `cargo run --release -p penstock-filter-host --example tiers`.
#[path = "../tests/support/mod.rs"]
mod support;

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use http::HeaderName;
use penstock_filter_host::{Exchange, Policy, Selector, Tier, Worker};
use support::{config, host, mode, prepare};

/// Steps of a batch.
const BATCH: u32 = 1000;
/// Batches; the median one is shown.
const BATCHES: usize = 400;

/// An exchange with a varying input, read as fast as a proxy could.
struct Fast {
    x_do: HeaderName,
    value: Vec<u8>,
}

impl Exchange for Fast {
    fn read<'a>(&'a self, selector: &Selector) -> Option<Cow<'a, [u8]>> {
        match selector {
            Selector::Header(name) if *name == self.x_do => Some(Cow::Borrowed(&self.value)),
            Selector::Path => Some(Cow::Borrowed(b"/a/b")),
            _ => None,
        }
    }

    fn route(&self) -> &str {
        "shop/route"
    }

    fn trace_id(&self) -> Option<&str> {
        None
    }
}

fn main() {
    let host = host(config());
    for (label, mode_name, values, tier) in [
        ("constant", "constant", &["x"][..], Tier::Constant),
        ("guard miss", "guard", &["x"], Tier::GuardMiss),
        ("memo hit, 2 inputs", "memo", &["tenant-1", "tenant-2", "tenant-3"], Tier::Memo),
        ("call, 1 input, passes", "obey", &["pass"], Tier::Call),
        ("call, 1 input, sets 1 header", "obey", &["one"], Tier::Call),
        ("call, 1 input, sets 3 headers", "obey", &["tenant-1", "tenant-2"], Tier::Call),
        ("call, 1 input, answers", "obey", &["respond"], Tier::Call),
    ] {
        let mut worker = Worker::new(&host);
        let policy = prepare(&mut worker, &mode(&format!("bench/{mode_name}"), mode_name));
        let times = measure(&mut worker, &policy, values, tier);
        println!("{label}: {:.1} ns", per_step(times[BATCHES / 2]));
    }
}

fn measure(worker: &mut Worker, policy: &Policy, values: &[&str], tier: Tier) -> Vec<Duration> {
    let exchanges: Vec<Fast> = values
        .iter()
        .map(|value| Fast { x_do: HeaderName::from_static("x-do"), value: value.as_bytes().into() })
        .collect();
    for exchange in &exchanges {
        worker.on_request(policy, exchange);
    }
    let batch = |_| {
        let begun = Instant::now();
        for i in 0..BATCH as usize {
            let outcome = worker.on_request(policy, black_box(&exchanges[i % exchanges.len()]));
            assert_eq!(black_box(outcome).tier, tier);
        }
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..BATCHES).map(batch).collect();
    times.sort();
    times
}

fn per_step(batch: Duration) -> f64 {
    batch.as_nanos() as f64 / f64::from(BATCH)
}
