//! Hostnames: exact names, `*.` and a suffix, or empty for any name.
//!
//! The Gateway API v1.6.1 (`Listener.hostname`): a wildcard "MUST be interpreted as a suffix match",
//! so `*.example.com` stands for one or more labels before `example.com` and never for
//! `example.com` itself.

/// As names are compared: lower-case, without a final dot.
pub(crate) fn normalize(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether every name that `inner` stands for is also one that `outer` stands for.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    if outer.is_empty() || outer == inner {
        return true;
    }
    let Some(suffix) = outer.strip_prefix('*') else { return false };
    let inner = inner.strip_prefix('*').unwrap_or(inner);
    inner.len() > suffix.len() && inner.ends_with(suffix)
}

/// The names that both stand for.
pub(crate) fn intersect<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// `name` and all that cover it, the narrowest first.
pub(crate) fn wider(name: &str) -> impl Iterator<Item = String> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let wildcards = rest.match_indices('.').map(|(dot, _)| format!("*{}", &rest[dot..]));
    let any = (!name.is_empty()).then(String::new);
    std::iter::once(name.to_owned()).chain(wildcards).chain(any)
}

/// Whether a text is a DNS name (RFC 1123), perhaps with `*` for its first label. Addresses are
/// none.
pub(crate) fn is_valid(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && rest.split('.').all(label) && rest.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_05_hostnames_intersect_as_suffixes() {
        for (a, b, expected) in [
            ("", "", Some("")),
            ("", "a.example.com", Some("a.example.com")),
            ("a.example.com", "a.example.com", Some("a.example.com")),
            ("a.example.com", "b.example.com", None),
            ("*.example.com", "a.example.com", Some("a.example.com")),
            ("*.example.com", "a.b.example.com", Some("a.b.example.com")),
            ("*.example.com", "example.com", None),
            ("*.example.com", "badexample.com", None),
            ("*.example.com", ".example.com", None),
            ("*.example.com", "*.a.example.com", Some("*.a.example.com")),
            ("*.example.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "*.com", Some("*.example.com")),
            ("*.example.com", "*.example.org", None),
        ] {
            assert_eq!(intersect(a, b), expected, "{a} and {b}");
            assert_eq!(intersect(b, a), expected, "{b} and {a}");
        }
    }

    #[test]
    fn wider_names_are_those_that_cover() {
        let names = ["", "*.com", "*.b.com", "a.b.com", "*.a.b.com", "b.com", "x.a.b.com", "com"];
        for name in names {
            let wider: Vec<_> = wider(name).collect();
            for other in names {
                assert_eq!(
                    wider.contains(&other.to_owned()),
                    covers(other, name),
                    "{other} {name}"
                );
            }
        }
    }

    #[test]
    fn names_are_compared_in_lower_case_and_without_a_final_dot() {
        for (name, expected) in
            [("A.Example.COM", "a.example.com"), ("a.b.", "a.b"), ("*.B.", "*.b"), ("", "")]
        {
            assert_eq!(normalize(name), expected, "{name}");
        }
    }

    #[test]
    fn rfc1123_2_1_a_label_has_63_characters_and_a_name_253() {
        let label = "a".repeat(63);
        assert!(is_valid(&label));
        assert!(!is_valid(&format!("{label}a")));
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        assert!(longest.len() == 253 && is_valid(&longest));
        assert!(!is_valid(&format!("{longest}a")));
    }

    #[test]
    fn only_dns_names_are_valid() {
        for good in ["example.com", "*.example.com", "a", "xn--a-0.example", "1a.example.com"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "*", "*.", "a..b", "-a.com", "a.*.com", "10.0.0.1", "a_b.com", "::1"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
