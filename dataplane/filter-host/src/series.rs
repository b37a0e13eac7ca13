//! Series of a filter's own (`penstock:host/metrics`), shared by its instances on all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Most series of a filter.
const MAX_SERIES: usize = 32;
/// Most labels of a series.
const MAX_LABELS: usize = 4;
/// Longest name and label, in bytes.
const MAX_TEXT: usize = 64;

/// A counter handle of a guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Counter(pub(crate) Arc<Series>);

/// A gauge handle of a guest.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Gauge(pub(crate) Arc<Series>);

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    name: String,
    labels: Vec<(String, String)>,
    kind: SeriesKind,
    /// The number, or the bits of the gauge's value.
    value: AtomicU64,
}

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesKind {
    Counter,
    Gauge,
}

/// A value of a series of a filter's own, exported as `penstock_filter_user_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct UserSeries {
    /// Name that the filter chose: letters, digits and `_`.
    pub name: String,
    /// At most 4 labels, in the filter's order.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: UserValue,
}

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UserValue {
    /// Only grows; exported with the suffix `_total`.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
}

/// The series of one filter.
#[derive(Debug, Default)]
pub(crate) struct SeriesSet(Mutex<Vec<Arc<Series>>>);

impl Series {
    pub(crate) fn add(&self, n: u64) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
    }

    /// A series that no one reads, for a guest that must not have another.
    pub(crate) fn detached(kind: SeriesKind) -> Arc<Self> {
        Arc::new(Self { name: String::new(), labels: Vec::new(), kind, value: AtomicU64::new(0) })
    }

    fn is(&self, kind: SeriesKind, name: &str, labels: &[(String, String)]) -> bool {
        self.kind == kind && self.name == name && self.labels == labels
    }
}

impl SeriesSet {
    /// The series of that name and labels, a new one if there is none.
    ///
    /// # Errors
    /// A sentence where the name or the labels are not allowed, or where the filter has too many.
    pub(crate) fn get(
        &self,
        kind: SeriesKind,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<Arc<Series>, String> {
        check(name, labels)?;
        let mut series = self.0.lock();
        if let Some(known) = series.iter().find(|known| known.is(kind, name, labels)) {
            return Ok(Arc::clone(known));
        }
        if series.iter().any(|known| known.name == name && known.kind != kind) {
            return Err(format!("metric `{name}` is a counter and a gauge"));
        }
        if series.len() >= MAX_SERIES {
            // Those that no instance holds belong to an earlier configuration.
            series.retain(|known| Arc::strong_count(known) > 1);
        }
        if series.len() >= MAX_SERIES {
            return Err(format!("metric `{name}`: a filter may have {MAX_SERIES} series"));
        }
        let new = Arc::new(Series {
            name: name.to_owned(),
            labels: labels.to_vec(),
            kind,
            value: AtomicU64::new(0),
        });
        series.push(Arc::clone(&new));
        Ok(new)
    }

    pub(crate) fn values(&self) -> Vec<UserSeries> {
        let read = |series: &Arc<Series>| {
            let bits = series.value.load(Ordering::Relaxed);
            let value = match series.kind {
                SeriesKind::Counter => UserValue::Counter(bits),
                SeriesKind::Gauge => UserValue::Gauge(f64::from_bits(bits)),
            };
            UserSeries { name: series.name.clone(), labels: series.labels.clone(), value }
        };
        self.0.lock().iter().map(read).collect()
    }
}

fn check(name: &str, labels: &[(String, String)]) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "metric `{}`: a name has letters, digits and `_`, at most {MAX_TEXT} bytes",
            name.escape_default().take(MAX_TEXT).collect::<String>()
        ));
    }
    if labels.len() > MAX_LABELS {
        return Err(format!("metric `{name}`: at most {MAX_LABELS} labels"));
    }
    for (i, (label, value)) in labels.iter().enumerate() {
        if !is_name(label) || value.len() > MAX_TEXT {
            return Err(format!(
                "metric `{name}`: labels are named like metrics, values have at most {MAX_TEXT} bytes"
            ));
        }
        if matches!(label.as_str(), "namespace" | "filter")
            || labels[..i].iter().any(|(earlier, _)| earlier == label)
        {
            return Err(format!("metric `{name}`: label `{label}` is taken"));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
        && !text.as_bytes()[0].is_ascii_digit()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_same_name_and_labels_are_the_same_series() {
        let set = SeriesSet::default();
        let a = labels(&[("plan", "a")]);
        set.get(SeriesKind::Counter, "calls", &a).expect("a series").add(2);
        set.get(SeriesKind::Counter, "calls", &a).expect("a series").add(3);
        set.get(SeriesKind::Counter, "calls", &[]).expect("a series").add(7);
        let values: Vec<_> = set.values().into_iter().map(|s| s.value).collect();
        assert_eq!(values, [UserValue::Counter(5), UserValue::Counter(7)]);
        assert!(set.get(SeriesKind::Gauge, "calls", &[]).is_err(), "one name, one kind");
    }

    #[test]
    fn a_filter_may_have_32_series_of_which_unused_ones_make_room() {
        let set = SeriesSet::default();
        let names: Vec<String> = (0..MAX_SERIES).map(|i| format!("m{i}")).collect();
        let held: Vec<_> = names[1..]
            .iter()
            .map(|name| set.get(SeriesKind::Counter, name, &[]).expect("a series"))
            .collect();
        let last = set.get(SeriesKind::Counter, &names[0], &[]).expect("the 32nd");
        assert!(set.get(SeriesKind::Counter, "one_more", &[]).is_err());
        drop(last);
        assert!(set.get(SeriesKind::Counter, "one_more", &[]).is_ok());
        assert_eq!(held.len() + 1, set.values().len());
    }

    #[test]
    fn names_and_labels_are_bounded() {
        let set = SeriesSet::default();
        let long = "x".repeat(65);
        for name in ["", "a-b", "1a", "ä", long.as_str()] {
            assert!(set.get(SeriesKind::Counter, name, &[]).is_err(), "{name}");
        }
        for wrong in [
            labels(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]),
            labels(&[("a", &long)]),
            labels(&[("a", "1"), ("a", "2")]),
            labels(&[("filter", "1")]),
        ] {
            assert!(set.get(SeriesKind::Counter, "m", &wrong).is_err(), "{wrong:?}");
        }
    }
}
