//! Counters of the filter's own, exported as `penstock_filter_user_*`. Make handles in `configure`
//! and keep them in the policy: making one while a request runs is a fault. At most 32 series.
//! Grant: `metrics`. In native tests they can be read back.

#[cfg(target_family = "wasm")]
use crate::capabilities::metrics as host;

#[cfg(not(target_family = "wasm"))]
mod host {
    //! Counts in memory.
    use std::cell::Cell;

    #[derive(Debug, Default)]
    pub(super) struct Counter(pub(super) Cell<u64>);
    #[derive(Debug, Default)]
    pub(super) struct Gauge(pub(super) Cell<f64>);

    impl Counter {
        pub(super) fn new(_: &str, _: &[(String, String)]) -> Counter {
            Counter::default()
        }

        pub(super) fn add(&self, n: u64) {
            self.0.set(self.0.get() + n);
        }
    }

    impl Gauge {
        pub(super) fn new(_: &str, _: &[(String, String)]) -> Gauge {
            Gauge::default()
        }

        pub(super) fn set(&self, value: f64) {
            self.0.set(value);
        }
    }
}

/// A number that only grows. Exported with the suffix `_total`.
#[derive(Debug)]
pub struct Counter(host::Counter);

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge(host::Gauge);

impl Counter {
    /// `name`: letters, digits and `_`, at most 64 bytes. Labels: at most 4, values at most 64
    /// bytes.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Counter {
        Counter(host::Counter::new(name, &owned(labels)))
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.add(n);
    }

    /// What was added so far.
    #[cfg(not(target_family = "wasm"))]
    pub fn value(&self) -> u64 {
        self.0.0.get()
    }
}

impl Gauge {
    /// As for [`Counter::new`].
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Gauge {
        Gauge(host::Gauge::new(name, &owned(labels)))
    }

    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// The value set last.
    #[cfg(not(target_family = "wasm"))]
    pub fn value(&self) -> f64 {
        self.0.0.get()
    }
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_test_reads_its_counters_back() {
        let counter = Counter::new("denied", &[("why", "key")]);
        counter.add(2);
        counter.add(1);
        assert_eq!(counter.value(), 3);
    }
}
