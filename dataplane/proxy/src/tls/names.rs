//! Lookup by server name.

use hashbrown::HashMap;

/// Values by host name pattern: a name, `*.` and a suffix (one or more labels before it), or empty
/// for any name. Lookup takes as many steps as the name has labels.
#[derive(Debug)]
pub(super) struct NameMap<T> {
    exact: HashMap<Box<str>, T>,
    wildcard: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> NameMap<T> {
    /// Puts a value in.
    ///
    /// # Errors
    /// The value, when the pattern is taken.
    pub(super) fn insert(&mut self, pattern: &str, value: T) -> Result<(), T> {
        let (map, key) = match pattern.strip_prefix("*.") {
            _ if pattern.is_empty() && self.any.is_some() => return Err(value),
            _ if pattern.is_empty() => {
                self.any = Some(value);
                return Ok(());
            }
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, pattern),
        };
        if map.contains_key(key) {
            return Err(value);
        }
        map.insert(key.into(), value);
        Ok(())
    }

    /// The value of the most specific pattern for a lower-case name: the name itself, else the
    /// wildcard with the longest suffix, else any.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let mut rest = name;
        while let Some((label, suffix)) = rest.split_once('.') {
            if !label.is_empty()
                && let Some(value) = self.wildcard.get(suffix)
            {
                return Some(value);
            }
            rest = suffix;
        }
        self.any.as_ref()
    }

    /// The value under exactly this pattern.
    pub(super) fn pattern(&self, pattern: &str) -> Option<&T> {
        match pattern.strip_prefix("*.") {
            _ if pattern.is_empty() => self.any.as_ref(),
            Some(suffix) => self.wildcard.get(suffix),
            None => self.exact.get(pattern),
        }
    }

    /// Every value, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::HostPrecedence;

    fn covers(pattern: &str, name: &str) -> bool {
        match pattern.strip_prefix('*') {
            Some(dotted) => name.len() > dotted.len() && name.ends_with(dotted),
            None => pattern.is_empty() || pattern == name,
        }
    }

    #[test]
    fn point_22_the_most_specific_pattern_wins_by_the_order_of_the_specification() {
        let patterns =
            ["", "*.example.org", "*.a.example.org", "b.a.example.org", "example.org", "*.org"];
        let names = [
            "example.org",
            "x.example.org",
            "a.example.org",
            "b.a.example.org",
            "c.a.example.org",
            "d.c.a.example.org",
            "org",
            "example.net",
            "",
            ".example.org",
        ];
        for subset in 0_u32..1 << patterns.len() {
            let chosen: Vec<&str> = (0..patterns.len())
                .filter(|i| subset & (1 << i) != 0)
                .map(|i| patterns[i])
                .collect();
            let mut map = NameMap::default();
            for pattern in &chosen {
                map.insert(pattern, *pattern).expect("each pattern is new");
            }
            for name in names {
                let naive = chosen
                    .iter()
                    .filter(|pattern| covers(pattern, name))
                    .min_by_key(|pattern| HostPrecedence::new(pattern));
                if !name.starts_with('.') {
                    assert_eq!(map.get(name), naive, "{name} among {chosen:?}");
                }
            }
        }
    }

    #[test]
    fn a_taken_pattern_stays_with_its_first_owner() {
        let mut map = NameMap::default();
        for pattern in ["", "a.example", "*.example"] {
            assert_eq!(map.insert(pattern, 1), Ok(()));
            assert_eq!(map.insert(pattern, 2), Err(2));
            assert_eq!(map.pattern(pattern), Some(&1));
        }
        assert_eq!(map.values().count(), 3);
    }

    #[test]
    fn an_empty_label_is_no_label() {
        let mut map = NameMap::default();
        map.insert("*.example.org", ()).expect("new");
        assert_eq!(map.get(".example.org"), None);
    }
}
