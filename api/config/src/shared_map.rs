//! A sorted map whose copies share what they have in common.
//!
//! Entries stand in chunks of some dozens. Where a chunk ends is decided by its keys alone, so that
//! equal maps have equal chunks however they came to be. A copy costs one pointer, a change one
//! chunk, and what two maps share is skipped where they are compared.

use std::{
    cmp::Ordering,
    fmt,
    ops::Index,
    slice,
    sync::{Arc, OnceLock},
};

/// What a chunk is worth to somebody who sums it up; see [`SharedMap::sums`].
pub(crate) type Sum = [u8; 16];

/// A key of a [`SharedMap`].
pub trait MapKey: Ord + Clone {
    /// Whether a chunk ends behind this key. The same for equal keys, on every machine: see
    /// [`ends_chunk`].
    fn ends_chunk(&self) -> bool;
}

/// [`MapKey::ends_chunk`] of a key that consists of these texts: true for one in 64.
pub fn ends_chunk(parts: &[&str]) -> bool {
    // FNV-1a, and a last step that lets every bit count.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash >> 58) == 0
}

/// A sorted map whose copies share what they have in common.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: usize,
}

/// Entries in order, never none. Only its last key ends a chunk, and that of each but the last
/// chunk does.
#[derive(Debug)]
struct Chunk<K, V> {
    entries: Vec<(K, V)>,
    sum: OnceLock<Sum>,
}

/// An entry of which two maps have something else.
#[derive(Debug)]
pub struct Difference<'a, K, V> {
    /// Its key.
    pub key: &'a K,
    /// What the old map has.
    pub old: Option<&'a V>,
    /// What the new one has.
    pub new: Option<&'a V>,
}

impl<K, V> Chunk<K, V> {
    fn new(entries: Vec<(K, V)>) -> Arc<Self> {
        Arc::new(Self { entries, sum: OnceLock::new() })
    }
}

impl<K: Clone, V: Clone> Clone for Chunk<K, V> {
    fn clone(&self) -> Self {
        // Whoever clones it is about to change it.
        Self { entries: self.entries.clone(), sum: OnceLock::new() }
    }
}

impl<K: MapKey, V: Clone> SharedMap<K, V> {
    /// Puts an entry in. Gives what it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (at, found) = self.find(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        if let Ok(index) = found {
            let entries = entries(&mut chunks[at]);
            return Some(std::mem::replace(&mut entries[index].1, value));
        }
        self.len += 1;
        let open = at == chunks.len() && chunks.last().is_some_and(|last| !last.is_closed());
        let at = if open { at - 1 } else { at };
        let closes = key.ends_chunk();
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Chunk::new(vec![(key, value)]));
            return None;
        };
        let entries = entries(chunk);
        let index = entries.partition_point(|(known, _)| *known < key);
        entries.insert(index, (key, value));
        if closes && index + 1 < entries.len() {
            let rest = entries.split_off(index + 1);
            chunks.insert(at + 1, Chunk::new(rest));
        }
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (at, Ok(index)) = self.find(key) else { return None };
        self.len -= 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = entries(&mut chunks[at]);
        let (_, value) = chunk.remove(index);
        if chunk.is_empty() {
            chunks.remove(at);
        } else if index == chunk.len() && at + 1 < chunks.len() {
            // Its end is gone, so that it goes on with the next one.
            let next = chunks.remove(at + 1);
            entries(&mut chunks[at]).extend(next.entries.iter().cloned());
        }
        Some(value)
    }

    /// A value, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (at, Ok(index)) = self.find(key) else { return None };
        let chunks = Arc::make_mut(&mut self.chunks);
        Some(&mut entries(&mut chunks[at])[index].1)
    }
}

/// The entries of a chunk, to change them.
fn entries<K: Clone, V: Clone>(chunk: &mut Arc<Chunk<K, V>>) -> &mut Vec<(K, V)> {
    let chunk = Arc::make_mut(chunk);
    chunk.sum = OnceLock::new();
    &mut chunk.entries
}

impl<K: MapKey, V> Chunk<K, V> {
    fn is_closed(&self) -> bool {
        self.entries.last().is_some_and(|(key, _)| key.ends_chunk())
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The first chunk that ends at the key or behind it, and the key's place in it.
    fn find(&self, key: &K) -> (usize, Result<usize, usize>) {
        let before =
            |chunk: &Arc<Chunk<K, V>>| chunk.entries.last().is_some_and(|(last, _)| last < key);
        let at = self.chunks.partition_point(before);
        let found = self
            .chunks
            .get(at)
            .map_or(Err(0), |chunk| chunk.entries.binary_search_by(|(known, _)| known.cmp(key)));
        (at, found)
    }

    /// A value.
    pub fn get(&self, key: &K) -> Option<&V> {
        let (at, Ok(index)) = self.find(key) else { return None };
        Some(&self.chunks[at].entries[index].1)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).1.is_ok()
    }

    /// The entries from the first one on that is not `before`, which holds for none that follows one
    /// for which it does not.
    pub fn iter_from<'a>(
        &'a self,
        before: impl Fn(&K) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a K, &'a V)> {
        let at = self
            .chunks
            .partition_point(|chunk| chunk.entries.last().is_some_and(|(last, _)| before(last)));
        let entries = self.chunks[at..].iter().flat_map(|chunk| &chunk.entries);
        entries.map(|(key, value)| (key, value)).skip_while(move |(key, _)| before(key))
    }

    /// The entries of which `new` has something else, in order. What both share is not looked at.
    pub fn differences<'a>(
        &'a self,
        new: &'a Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Difference<'a, K, V>> {
        let mut found = Vec::new();
        let (mut old, mut new) = (Walk::new(self), Walk::new(new));
        loop {
            if let (Some(left), Some(right)) = (old.chunk(), new.chunk())
                && Arc::ptr_eq(left, right)
            {
                old.skip();
                new.skip();
                continue;
            }
            let (left, right) = (old.entry(), new.entry());
            let order = match (left, right) {
                (None, None) => return found,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
            };
            let left = left.filter(|_| order.is_le());
            let right = right.filter(|_| order.is_ge());
            if left.is_some() {
                old.step();
            }
            if right.is_some() {
                new.step();
            }
            let (before, after) = (left.map(|(_, value)| value), right.map(|(_, value)| value));
            if let (Some(before), Some(after)) = (before, after)
                && same(before, after)
            {
                continue;
            }
            if let Some((key, _)) = left.or(right) {
                found.push(Difference { key, old: before, new: after });
            }
        }
    }
}

/// A place in a map.
struct Walk<'a, K, V> {
    chunks: &'a [Arc<Chunk<K, V>>],
    /// In the first chunk.
    index: usize,
}

impl<'a, K, V> Walk<'a, K, V> {
    fn new(map: &'a SharedMap<K, V>) -> Self {
        Self { chunks: &map.chunks, index: 0 }
    }

    /// The chunk that begins here.
    fn chunk(&self) -> Option<&'a Arc<Chunk<K, V>>> {
        self.chunks.first().filter(|_| self.index == 0)
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        self.chunks.first().map(|chunk| &chunk.entries[self.index])
    }

    fn step(&mut self) {
        self.index += 1;
        if self.chunks.first().is_some_and(|chunk| self.index == chunk.entries.len()) {
            self.skip();
        }
    }

    fn skip(&mut self) {
        self.chunks = &self.chunks[1..];
        self.index = 0;
    }
}

impl<K, V> SharedMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: self.chunks.iter(), entries: Default::default() }
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// A sum of each chunk, in order: made by `sum` once, however often it is asked for.
    pub(crate) fn sums(&self, sum: impl Fn(&[(K, V)]) -> Sum) -> impl Iterator<Item = Sum> {
        self.chunks.iter().map(move |chunk| *chunk.sum.get_or_init(|| sum(&chunk.entries)))
    }
}

/// See [`SharedMap::iter`].
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    chunks: slice::Iter<'a, Arc<Chunk<K, V>>>,
    entries: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.entries.next() {
                return Some((key, value));
            }
            self.entries = self.chunks.next()?.entries.iter();
        }
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.differences(other, V::eq).is_empty()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: MapKey, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Ord, V> Index<&K> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// Where there is no such key, as with the maps of the standard library.
    fn index(&self, key: &K) -> &V {
        match self.get(key) {
            Some(value) => value,
            None => panic!("no entry of this key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Few(u8);

    impl MapKey for Few {
        fn ends_chunk(&self) -> bool {
            self.0.is_multiple_of(5)
        }
    }

    fn boundaries(map: &SharedMap<Few, u8>) -> Vec<Vec<(Few, u8)>> {
        map.chunks.iter().map(|chunk| chunk.entries.clone()).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_equal_maps_have_equal_chunks(
            steps in prop::collection::vec((0_u8..60, prop::option::of(0_u8..3)), 0..120),
            copied in 0_usize..120,
        ) {
            let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
            let (mut copy, mut model_of_copy) = (map.clone(), model.clone());
            for (at, (key, value)) in steps.into_iter().enumerate() {
                if at == copied {
                    (copy, model_of_copy) = (map.clone(), model.clone());
                }
                let key = Few(key);
                let (found, expected) = match value {
                    Some(value) => (map.insert(key, value), model.insert(key, value)),
                    None => (map.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(found, expected);
            }
            for (map, model) in [(&map, &model), (&copy, &model_of_copy)] {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                let anew: SharedMap<_, _> = model.iter().map(|(k, v)| (*k, *v)).collect();
                prop_assert_eq!(boundaries(map), boundaries(&anew));
                prop_assert_eq!(map, &anew);
                for key in (0..60).map(Few) {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                    let rest = map.iter_from(|known| *known < key);
                    prop_assert!(rest.eq(model.range(key..)));
                }
            }
            let found = copy.differences(&map, u8::eq);
            let mut expected = BTreeMap::new();
            for key in model_of_copy.keys().chain(model.keys()) {
                let (old, new) = (model_of_copy.get(key), model.get(key));
                if old != new {
                    expected.insert(key, (old, new));
                }
            }
            let found: Vec<_> = found.iter().map(|d| (d.key, (d.old, d.new))).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_shared_is_not_compared() {
        let map: SharedMap<Few, u8> = (0..100).map(|n| (Few(n), n)).collect();
        let mut changed = map.clone();
        *changed.get_mut(&Few(42)).expect("it is there") += 1;
        let compared = std::cell::Cell::new(0);
        let differences = map.differences(&changed, |old, new| {
            compared.set(compared.get() + 1);
            old == new
        });
        assert_eq!(differences.len(), 1);
        assert_eq!(compared.get(), 5, "one chunk");
        assert_ne!(map, changed);
    }

    #[test]
    fn one_key_in_some_dozens_ends_a_chunk() {
        let names: Vec<String> = (0..6400).map(|n| format!("shop/route-{n:05}")).collect();
        let ends = names.iter().filter(|name| ends_chunk(&["8", name])).count();
        assert!((60..140).contains(&ends), "{ends} of 6400");
    }
}
