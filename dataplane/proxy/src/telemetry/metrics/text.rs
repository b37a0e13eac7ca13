//! From OpenMetrics to the older Prometheus text format.
//!
//! The samples are the same. What differs are the comments: there the descriptor of a counter or
//! an info names the sample (with `_total`, `_info`), an info is a gauge, and units and the end are
//! unknown.

/// An OpenMetrics page as Prometheus text format 0.0.4.
pub(super) fn to_prometheus(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            // The type follows at once; the name of the sample depends on it.
            let kind = lines
                .peek()
                .and_then(|next| next.strip_prefix("# TYPE "))
                .and_then(|rest| rest.split_once(' '))
                .map_or("untyped", |(_, kind)| kind);
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            out.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
            continue;
        }
        if !line.starts_with("# TYPE ") {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_change_and_samples_stay() {
        let page = "\
# HELP a_bytes Bytes.
# TYPE a_bytes counter
# UNIT a_bytes bytes
a_bytes_total{x=\"# HELP y\"} 1
# HELP b Version.
# TYPE b info
b_info{v=\"1\"} 1
# HELP c Level.
# TYPE c gauge
c 2
# EOF
";
        let expected = "\
# HELP a_bytes_total Bytes.
# TYPE a_bytes_total counter
a_bytes_total{x=\"# HELP y\"} 1
# HELP b_info Version.
# TYPE b_info gauge
b_info{v=\"1\"} 1
# HELP c Level.
# TYPE c gauge
c 2
";
        assert_eq!(to_prometheus(page), expected);
    }
}
