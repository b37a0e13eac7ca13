//! The page that a Prometheus server reads.

use super::{
    Metrics, OVERFLOW,
    families::{self, Family, Kind, Number},
    process::Process,
    sources::Sources,
    text::to_prometheus,
};
use crate::telemetry::{AccessLog, Tracer};
use penstock_filter_host::{FilterStats, UserSeries, UserValue};
use penstock_telemetry::{PageFormat, trace::ExportStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
};

/// Series of filters' own on one page.
const USER_SERIES: usize = 4096;

/// Asks the filter host what its filters did.
pub type FilterSource = Arc<dyn Fn() -> Vec<FilterStats> + Send + Sync>;

/// Where the page's numbers come from.
#[derive(Clone)]
pub struct MetricsPage {
    /// The proxy's own cells.
    pub metrics: Arc<Metrics>,
    /// What filters did.
    pub filters: Option<FilterSource>,
    /// The tracer, when tracing is on.
    pub tracer: Option<Arc<Tracer>>,
    /// What became of spans, when tracing is on.
    pub export: Option<Arc<ExportStats>>,
    /// The access log, when it is on.
    pub log: Option<Arc<AccessLog>>,
}

impl Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").finish_non_exhaustive()
    }
}

impl MetricsPage {
    /// The page as of now.
    pub fn render(&self, format: PageFormat) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &registry);
        match format {
            PageFormat::OpenMetrics => page,
            PageFormat::Prometheus => to_prometheus(&page),
        }
    }

    fn sources(&self) -> (Sources, Vec<(String, UserSeries)>) {
        let mut filters = self.filters.as_ref().map(|read| read()).unwrap_or_default();
        bound_filters(&mut filters, self.metrics.filters.bound());
        let mut user: Vec<(String, UserSeries)> = Vec::new();
        for stats in &mut filters {
            let filter = &stats.filter;
            user.extend(stats.user.drain(..).map(|series| (filter.clone(), series)));
        }
        let left_out = user.len().saturating_sub(USER_SERIES);
        user.truncate(USER_SERIES);
        let sources = Sources {
            metrics: self.metrics.clone(),
            filters,
            user_left_out: left_out,
            tracer: self.tracer.clone(),
            export: self.export.clone(),
            log: self.log.clone(),
            process: Process::read(),
        };
        (sources, user)
    }
}

impl Collector for MetricsPage {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (sources, user) = self.sources();
        for family in families::all() {
            encode_family(family, &sources, &mut encoder)?;
        }
        encode_user(user, &mut encoder)
    }
}

fn encode_family(
    family: &Family,
    sources: &Sources,
    encoder: &mut DescriptorEncoder,
) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut encoder =
        encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), kind)?;
    let mut result = Ok(());
    (family.read)(sources, &mut |values, number| {
        let labels: Vec<(&str, &str)> =
            family.labels.iter().copied().zip(values.iter().copied()).collect();
        result = result.and_then(|()| match number {
            Number::One => encoder.encode_info(&labels),
            number if labels.is_empty() => encode_number(number, &mut encoder),
            number => encode_number(number, &mut encoder.encode_family(&labels)?),
        });
    });
    result
}

fn encode_number(number: Number, encoder: &mut MetricEncoder) -> fmt::Result {
    match number {
        Number::Count(count) => encoder.encode_counter(&count, NO_EXEMPLAR),
        Number::Amount(amount) => encoder.encode_counter::<NoLabelSet, f64, u64>(&amount, None),
        Number::Level(level) => encoder.encode_gauge(&level),
        Number::Spread(sum, buckets) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
        // Its labels are its content: there is none without.
        Number::One => Ok(()),
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

/// Filters' own series. One name is one kind on the page: where one filter counts and another
/// measures under one name, the gauge is called `…_gauge`.
fn encode_user(user: Vec<(String, UserSeries)>, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let mut counters: BTreeMap<String, Vec<(String, UserSeries)>> = BTreeMap::new();
    let mut gauges: BTreeMap<String, Vec<(String, UserSeries)>> = BTreeMap::new();
    for (filter, series) in user {
        let (families, name) = match series.value {
            UserValue::Counter(_) => (&mut counters, series.name.trim_end_matches("_total")),
            UserValue::Gauge(_) => (&mut gauges, series.name.as_str()),
        };
        families.entry(format!("penstock_filter_user_{name}")).or_default().push((filter, series));
    }
    let taken: Vec<String> =
        gauges.keys().filter(|name| counters.contains_key(*name)).cloned().collect();
    for name in taken {
        if let Some(series) = gauges.remove(&name) {
            gauges.entry(format!("{name}_gauge")).or_default().extend(series);
        }
    }
    for (families, kind) in [(counters, MetricType::Counter), (gauges, MetricType::Gauge)] {
        for (name, family) in families {
            let help = "A metric of a filter's own.";
            let mut encoder = encoder.encode_descriptor(&name, help, None, kind)?;
            for (filter, series) in &family {
                let own = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let labels: Vec<(&str, &str)> =
                    std::iter::once(("filter", filter.as_str())).chain(own).collect();
                let mut encoder = encoder.encode_family(&labels)?;
                match series.value {
                    UserValue::Counter(count) => encoder.encode_counter(&count, NO_EXEMPLAR)?,
                    UserValue::Gauge(level) => encoder.encode_gauge(&level)?,
                }
            }
        }
    }
    Ok(())
}

/// Keeps so many filters; the others become one, called [`OVERFLOW`], without series of their own.
fn bound_filters(filters: &mut Vec<FilterStats>, bound: usize) {
    if filters.len() <= bound {
        return;
    }
    let mut overflow = FilterStats { filter: OVERFLOW.into(), ..FilterStats::default() };
    for stats in filters.drain(bound..) {
        let add = |sums: &mut [u64], counts: &[u64]| {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        };
        add(&mut overflow.steps, &stats.steps);
        add(&mut overflow.failures, &stats.failures);
        add(&mut overflow.call_times, &stats.call_times);
        overflow.call_time_sum += stats.call_time_sum;
        overflow.recycles += stats.recycles;
        overflow.log_dropped += stats.log_dropped;
        overflow.instances += stats.instances;
        overflow.memory_bytes += stats.memory_bytes;
        overflow.quarantined |= stats.quarantined;
    }
    filters.push(overflow);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{FilterVerdict, MetricsOptions, metrics::cells::status_class};
    use penstock_filter_host::Tier;
    use std::{collections::BTreeSet, fmt::Write, time::Duration};

    fn stats(filter: &str) -> FilterStats {
        let mut stats = FilterStats { filter: filter.into(), ..FilterStats::default() };
        stats.steps[Tier::Call as usize] = 5;
        stats.failures[0] = 2;
        stats.call_times[2] = 3;
        stats.call_times[16] = 1;
        stats.call_time_sum = Duration::from_millis(30);
        stats.quarantined = true;
        stats
    }

    fn user(name: &str, label: &str, value: UserValue) -> UserSeries {
        UserSeries { name: name.into(), labels: vec![("plan".into(), label.into())], value }
    }

    /// A page on which every family has a series.
    fn page(filters: Vec<FilterStats>) -> MetricsPage {
        let metrics = Metrics::new(MetricsOptions::new(2));
        let route = metrics.routes.get("shop/api");
        for worker in 0..2 {
            route.at(worker).requests[status_class(200)].add(10);
            route.at(worker).duration.observe(Duration::from_micros(900));
        }
        let listener = metrics.listeners.get("shop/gw/https");
        listener.at(0).requests[1].inc();
        listener.at(0).handshakes[1].inc();
        listener.at(1).handshake_failures.inc("unknown-name");
        let backend = metrics.backends.get("shop/api:80");
        backend.at(0).responses[status_class(503)].inc();
        backend.at(0).failures.inc("connection-refused");
        backend.at(0).connections.inc();
        backend.at(1).connections.inc();
        metrics.filters.get("shop/key").at(1).count(FilterVerdict::Edit);
        metrics.workers.at(1).errors.inc("no-route");
        metrics.workers.at(1).connections_closed.inc("idle");
        metrics.config.applied("abc");
        metrics.config.refused("PortUnavailable");
        MetricsPage {
            metrics: Arc::new(metrics),
            filters: Some(Arc::new(move || filters.clone())),
            tracer: Some(Arc::new(Tracer::unsent())),
            export: Some(Arc::default()),
            log: Some(Arc::new(
                AccessLog::start(crate::telemetry::AccessLogFormat::Text, std::io::sink()).unwrap(),
            )),
        }
    }

    fn has(page: &str, line: &str) {
        let name = line.split(['{', ' ']).next().unwrap();
        let near: Vec<&str> =
            page.lines().filter(|known| known.starts_with(name)).take(20).collect();
        assert!(near.contains(&line) || page.lines().any(|l| l == line), "{line}\n{near:#?}");
    }

    #[test]
    fn what_workers_counted_is_summed() {
        let page = page(vec![stats("shop/key")]).render(PageFormat::OpenMetrics);
        has(&page, r#"penstock_http_requests_total{route="shop/api",status_class="2xx"} 20"#);
        has(
            &page,
            r#"penstock_http_request_duration_seconds_bucket{le="0.001",route="shop/api"} 2"#,
        );
        has(
            &page,
            r#"penstock_http_request_duration_seconds_bucket{le="0.0005",route="shop/api"} 0"#,
        );
        has(
            &page,
            r#"penstock_http_request_duration_seconds_bucket{le="+Inf",route="shop/api"} 2"#,
        );
        has(&page, r#"penstock_http_request_duration_seconds_sum{route="shop/api"} 0.0018"#);
        has(&page, r#"penstock_http_request_duration_seconds_count{route="shop/api"} 2"#);
        has(&page, r#"penstock_upstream_connections{backend="shop/api:80"} 2"#);
        has(
            &page,
            r#"penstock_tls_handshake_failures_total{listener="shop/gw/https",reason="unknown-name"} 1"#,
        );
        has(&page, r#"penstock_filter_verdicts_total{filter="shop/key",verdict="edit"} 1"#);
        has(&page, r#"penstock_config_info{version="abc"} 1"#);
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn what_the_filter_host_counted_is_shown() {
        let page = page(vec![stats("shop/key")]).render(PageFormat::OpenMetrics);
        has(&page, r#"penstock_filter_steps_total{filter="shop/key",tier="call"} 5"#);
        has(&page, r#"penstock_filter_failures_total{filter="shop/key",reason="filter-fault"} 2"#);
        has(&page, r#"penstock_filter_quarantined{filter="shop/key"} 1"#);
        has(
            &page,
            r#"penstock_filter_call_duration_seconds_bucket{le="0.001",filter="shop/key"} 3"#,
        );
        has(&page, r#"penstock_filter_call_duration_seconds_count{filter="shop/key"} 4"#);
        has(&page, r#"penstock_filter_call_duration_seconds_sum{filter="shop/key"} 0.03"#);
    }

    #[test]
    fn filters_own_metrics_are_one_family_for_each_name_and_kind() {
        let mut one = stats("shop/key");
        one.user = vec![
            user("calls_total", "a\"b", UserValue::Counter(3)),
            user("level", "x", UserValue::Gauge(0.5)),
        ];
        let mut two = stats("shop/tidy");
        two.user = vec![user("calls", "c", UserValue::Gauge(7.0))];
        let page = page(vec![one, two]).render(PageFormat::OpenMetrics);
        has(&page, r#"penstock_filter_user_calls_total{filter="shop/key",plan="a\"b"} 3"#);
        has(&page, r#"penstock_filter_user_level{filter="shop/key",plan="x"} 0.5"#);
        has(&page, r#"penstock_filter_user_calls_gauge{filter="shop/tidy",plan="c"} 7.0"#);
        let types: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let different: BTreeSet<&str> =
            types.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(types.len(), different.len(), "a family is described twice");
    }

    #[test]
    fn filters_beyond_the_bound_become_one() {
        let mut filters: Vec<FilterStats> = (0..5).map(|i| stats(&format!("n/{i}"))).collect();
        bound_filters(&mut filters, 3);
        let names: Vec<&str> = filters.iter().map(|stats| stats.filter.as_str()).collect();
        assert_eq!(names, ["n/0", "n/1", "n/2", OVERFLOW]);
        assert_eq!(filters[3].steps(Tier::Call), 10);
        assert_eq!(filters[3].call_times[2], 6);
        assert_eq!(filters[3].call_time_sum, Duration::from_millis(60));
    }

    #[test]
    fn too_many_series_of_filters_own_are_left_out_and_counted() {
        let mut one = stats("shop/key");
        let series = |i| user(&format!("m{i}"), "", UserValue::Counter(1));
        one.user = (0..USER_SERIES + 3).map(series).collect();
        let page = page(vec![one]).render(PageFormat::OpenMetrics);
        has(&page, "penstock_filter_metrics_left_out 3");
        let shown = page.lines().filter(|line| line.starts_with("penstock_filter_user_")).count();
        assert_eq!(shown, USER_SERIES);
    }

    #[test]
    fn every_family_is_on_the_page_in_both_formats() {
        let page = page(vec![stats("shop/key")]);
        let open = page.render(PageFormat::OpenMetrics);
        let old = page.render(PageFormat::Prometheus);
        for family in families::all() {
            let sample = match family.kind {
                Kind::Histogram => format!("{}_bucket", family.sample()),
                _ => family.sample(),
            };
            let has = |page: &str| {
                page.lines().any(|line| {
                    line.strip_prefix(&sample).is_some_and(|rest| rest.starts_with(['{', ' ']))
                })
            };
            assert!(has(&open) && has(&old), "{sample} has no series");
            assert!(old.contains(&format!("# TYPE {} ", family.sample())), "{sample}");
        }
        assert!(!old.contains("# EOF") && !old.contains("# UNIT"));
    }

    #[test]
    fn the_reference_describes_exactly_these_families() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let documented: BTreeSet<&str> =
            reference.lines().filter(|line| line.starts_with("| `penstock_")).collect();
        let mut expected = String::new();
        for family in families::all() {
            let labels: Vec<String> =
                family.labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(
                expected,
                "| `{}` | {} | {} | {} |",
                family.sample(),
                format!("{:?}", family.kind).to_lowercase(),
                labels.join(", "),
                family.help,
            )
            .unwrap();
        }
        let expected: BTreeSet<&str> = expected.lines().collect();
        let missing: Vec<_> = expected.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&expected).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "docs/reference/metrics.md lacks {missing:#?} and should not have {stale:#?}"
        );
    }
}
