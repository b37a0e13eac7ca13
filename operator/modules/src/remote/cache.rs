//! What was fetched, by digest.

use super::verify::verify;
use crate::Failure;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Bytes that are kept.
const CAPACITY: usize = 32 << 20;

/// Content of all namespaces, what was put last at the end.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    namespace: String,
    digest: String,
    content: Bytes,
}

/// The part of a namespace: who knows a digest must not get from here what only another namespace
/// has the secret for.
pub(crate) struct Cache<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namespace: &'a str,
}

impl Cache<'_> {
    pub(crate) fn get(&self, digest: &str) -> Option<Bytes> {
        let entries = self.store.0.lock();
        let is_it = |entry: &&Entry| entry.digest == digest && entry.namespace == self.namespace;
        entries.iter().find(is_it).map(|entry| entry.content.clone())
    }

    /// Compares content with its digest, and keeps it.
    ///
    /// # Errors
    /// It has another digest.
    pub(crate) fn put(&self, digest: &str, content: &Bytes) -> Result<(), Failure> {
        verify(digest, content)?;
        if self.get(digest).is_some() {
            return Ok(());
        }
        let mut entries = self.store.0.lock();
        entries.push_back(Entry {
            namespace: self.namespace.to_owned(),
            digest: digest.to_owned(),
            content: content.clone(),
        });
        let mut size: usize = entries.iter().map(|entry| entry.content.len()).sum();
        while size > CAPACITY {
            let Some(oldest) = entries.pop_front() else { break };
            size -= oldest.content.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_filter_host::digest;

    #[test]
    fn content_is_kept_for_its_namespace_until_newer_content_needs_the_room() {
        let store = Store::default();
        let cache = |namespace| Cache { store: &store, namespace };
        let first = Bytes::from_static(b"first");
        let name = digest(&first);
        cache("a").put(&name, &first).expect("its digest");
        assert_eq!(cache("a").get(&name), Some(first));
        assert_eq!(cache("b").get(&name), None);
        assert!(cache("a").put(&name, &Bytes::from_static(b"other")).is_err());
        for fill in 0..4_u8 {
            let large = Bytes::from(vec![fill; CAPACITY / 3]);
            cache("b").put(&digest(&large), &large).expect("its digest");
        }
        assert_eq!(cache("a").get(&name), None);
    }
}
