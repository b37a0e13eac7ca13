//! Host names and maps by host name.

use smallvec::SmallVec;
use std::sync::Arc;

/// A host as rules compare it: lower-case, without port and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(SmallVec<[u8; 64]>);

impl HostName {
    /// From `Host` or `:authority`. The port is ignored (Gateway API v1.6.1,
    /// `HTTPRouteSpec.hostnames`).
    pub fn of_authority(authority: &str) -> Self {
        let bytes = authority.as_bytes();
        let host = match bytes.first() {
            Some(b'[') => match bytes.iter().position(|&b| b == b']') {
                Some(end) => &bytes[..=end],
                None => bytes,
            },
            _ => match bytes.iter().position(|&b| b == b':') {
                Some(colon) => &bytes[..colon],
                None => bytes,
            },
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut name: SmallVec<[u8; 64]> = SmallVec::from_slice(host);
        name.make_ascii_lowercase();
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // Lower-casing ASCII keeps UTF-8, and the delimiters that were cut at are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

type Names<T> = hashbrown::HashMap<Arc<str>, T, ahash::RandomState>;

/// Values by hostname: exact names, `*.` wildcards for one or more labels, and "any" (empty). A copy
/// shares the names.
#[derive(Clone, Debug)]
pub struct HostMap<T> {
    exact: Names<T>,
    /// By what follows `*.`.
    wildcards: Names<T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: Default::default(), wildcards: Default::default(), any: None }
    }
}

impl<T> HostMap<T> {
    /// The value of exactly this hostname, made by `make` where there is none.
    pub fn entry(&mut self, hostname: &str, make: impl FnOnce() -> T) -> &mut T {
        if hostname.is_empty() {
            return self.any.get_or_insert_with(make);
        }
        let (map, name) = match hostname.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcards, suffix),
            None => (&mut self.exact, hostname),
        };
        map.entry_ref(name).or_insert_with(make)
    }

    /// Takes out the value of exactly this hostname.
    pub fn remove(&mut self, hostname: &str) {
        if hostname.is_empty() {
            self.any = None;
        } else if let Some(suffix) = hostname.strip_prefix("*.") {
            self.wildcards.remove(suffix);
        } else {
            self.exact.remove(hostname);
        }
    }

    /// The values whose hostname matches `host`, the most specific first.
    pub fn matching<'m, 'h>(&'m self, host: &'h str) -> Matching<'m, 'h, T> {
        Matching { map: self, rest: host, next: Next::Exact }
    }

    /// The value of the most specific hostname that matches.
    pub fn most_specific(&self, host: &str) -> Option<&T> {
        self.matching(host).next()
    }
}

/// See [`HostMap::matching`].
pub struct Matching<'m, 'h, T> {
    map: &'m HostMap<T>,
    rest: &'h str,
    next: Next,
}

enum Next {
    Exact,
    Wildcard,
    Any,
    Done,
}

impl<'m, T> Iterator for Matching<'m, '_, T> {
    type Item = &'m T;

    fn next(&mut self) -> Option<&'m T> {
        loop {
            match self.next {
                Next::Exact => {
                    self.next =
                        if self.map.wildcards.is_empty() { Next::Any } else { Next::Wildcard };
                    if let Some(found) = self.map.exact.get(self.rest) {
                        return Some(found);
                    }
                }
                Next::Wildcard => match self.rest.split_once('.') {
                    // A wildcard stands for at least one label, and a label is not empty.
                    Some((label, suffix)) => {
                        self.rest = suffix;
                        if !label.is_empty()
                            && let Some(found) = self.map.wildcards.get(suffix)
                        {
                            return Some(found);
                        }
                    }
                    None => self.next = Next::Any,
                },
                Next::Any => {
                    self.next = Next::Done;
                    return self.map.any.as_ref();
                }
                Next::Done => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: &[&'static str]) -> HostMap<&'static str> {
        let mut map = HostMap::default();
        for name in names {
            map.entry(name, || *name);
        }
        map
    }

    #[test]
    fn s7_04_the_port_is_ignored_and_case_does_not_count() {
        for (authority, name) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("", ""),
        ] {
            assert_eq!(HostName::of_authority(authority).as_str(), name, "{authority}");
        }
    }

    #[test]
    fn s7_04_a_wildcard_matches_one_or_more_labels_and_never_the_apex() {
        let map = map(&["*.example.com"]);
        for (host, found) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("aexample.com", false),
            ("a.example.org", false),
        ] {
            assert_eq!(map.most_specific(host).is_some(), found, "{host}");
        }
    }

    #[test]
    fn s7_01_the_most_specific_hostname_comes_first() {
        let map = map(&["", "*.com", "*.example.com", "a.example.com", "*.a.example.com"]);
        let order = |host| map.matching(host).copied().collect::<Vec<_>>();
        assert_eq!(order("a.example.com"), ["a.example.com", "*.example.com", "*.com", ""]);
        assert_eq!(order("b.a.example.com"), ["*.a.example.com", "*.example.com", "*.com", ""]);
        assert_eq!(order("localhost"), [""]);
    }
}
