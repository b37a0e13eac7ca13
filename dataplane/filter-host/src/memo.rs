//! Remembered decisions: the least recently used one makes room. A decision is found by a hash of
//! all inputs and a comparison of all inputs.

use std::time::Instant;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::plan::MemoPlan;

/// Most bytes of all keys and decisions of one memo.
const MAX_BYTES: usize = 4 << 20;
/// Most bytes of one key and decision.
const MAX_ENTRY_BYTES: usize = 16 << 10;
/// No entry.
const NONE: u32 = u32::MAX;

/// Rough size of a decision beyond the size of its type, in bytes.
pub(crate) trait Weigh {
    fn weight(&self) -> usize;
}

/// Decisions by inputs.
pub(crate) struct Memo<D> {
    plan: MemoPlan,
    hasher: RandomState,
    table: HashTable<u32>,
    entries: Vec<Entry<D>>,
    /// Most and least recently used entry.
    newest: u32,
    oldest: u32,
    bytes: usize,
}

struct Entry<D> {
    hash: u64,
    key: Key,
    decision: D,
    bytes: usize,
    expires: Option<Instant>,
    newer: u32,
    older: u32,
}

/// All inputs, in order.
struct Key(Box<[Option<Box<str>>]>);

impl Key {
    fn of(inputs: &[Option<&str>]) -> Self {
        Self(inputs.iter().map(|input| input.map(Into::into)).collect())
    }

    fn is(&self, inputs: &[Option<&str>]) -> bool {
        self.0.len() == inputs.len()
            && self.0.iter().zip(inputs).all(|(known, input)| known.as_deref() == *input)
    }
}

impl<D: Clone + Weigh> Memo<D> {
    pub(crate) fn new(plan: MemoPlan) -> Self {
        Self {
            plan,
            hasher: RandomState::new(),
            table: HashTable::new(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
        }
    }

    fn hash(&self, inputs: &[Option<&str>]) -> u64 {
        self.hasher.hash_one(inputs)
    }

    /// The decision for these inputs.
    #[inline]
    pub(crate) fn get(&mut self, inputs: &[Option<&str>]) -> Option<D> {
        let hash = self.hash(inputs);
        let entries = &self.entries;
        let found = self.table.find(hash, |i| entries[*i as usize].key.is(inputs));
        let index = *found?;
        let expires = self.entries[index as usize].expires;
        if expires.is_some_and(|at| Instant::now() >= at) {
            self.remove(index);
            return None;
        }
        if self.newest != index {
            self.unlink(index);
            self.link_newest(index);
        }
        Some(self.entries[index as usize].decision.clone())
    }

    /// Remembers a decision. One that is too large to keep is not.
    pub(crate) fn insert(&mut self, inputs: &[Option<&str>], decision: &D) {
        let key: usize = inputs.iter().flatten().map(|input| input.len()).sum();
        let bytes = key + size_of::<Entry<D>>() + decision.weight();
        if bytes > MAX_ENTRY_BYTES {
            return;
        }
        while self.entries.len() >= self.plan.max_entries as usize || self.bytes + bytes > MAX_BYTES
        {
            self.remove(self.oldest);
        }
        let hash = self.hash(inputs);
        let entries = &self.entries;
        if let Some(old) = self.table.find(hash, |i| entries[*i as usize].key.is(inputs)).copied() {
            self.remove(old);
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let expires = self.plan.ttl.map(|ttl| Instant::now() + ttl);
        let key = Key::of(inputs);
        let decision = decision.clone();
        self.entries.push(Entry { hash, key, decision, bytes, expires, newer: NONE, older: NONE });
        self.bytes += bytes;
        self.link_newest(index);
        let entries = &self.entries;
        self.table.insert_unique(hash, index, |i| entries[*i as usize].hash);
    }

    /// Takes an entry out. The last one moves into its place.
    fn remove(&mut self, index: u32) {
        self.unlink(index);
        let hash = self.entries[index as usize].hash;
        if let Ok(found) = self.table.find_entry(hash, |i| *i == index) {
            found.remove();
        }
        let last = u32::try_from(self.entries.len() - 1).unwrap_or(NONE);
        if last != index {
            let moved = &self.entries[last as usize];
            let (hash, newer, older) = (moved.hash, moved.newer, moved.older);
            if let Some(place) = self.table.find_mut(hash, |i| *i == last) {
                *place = index;
            }
            self.set_older(newer, index);
            self.set_newer(older, index);
        }
        let removed = self.entries.swap_remove(index as usize);
        self.bytes -= removed.bytes;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (newer, older) = (entry.newer, entry.older);
        self.set_older(newer, older);
        self.set_newer(older, newer);
    }

    fn link_newest(&mut self, index: u32) {
        let older = self.newest;
        self.entries[index as usize].newer = NONE;
        self.entries[index as usize].older = older;
        self.set_newer(older, index);
        self.newest = index;
    }

    /// Sets the older neighbour of `of`; of none, the newest entry.
    fn set_older(&mut self, of: u32, to: u32) {
        match of {
            NONE => self.newest = to,
            of => self.entries[of as usize].older = to,
        }
    }

    /// Sets the newer neighbour of `of`; of none, the oldest entry.
    fn set_newer(&mut self, of: u32, to: u32) {
        match of {
            NONE => self.oldest = to,
            of => self.entries[of as usize].newer = to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    impl Weigh for u32 {
        fn weight(&self) -> usize {
            0
        }
    }

    fn memo(max_entries: u32) -> Memo<u32> {
        Memo::new(MemoPlan { max_entries, ttl: None })
    }

    #[test]
    fn a_decision_is_found_only_under_all_its_inputs() {
        let mut memo = memo(64);
        let all = [Some("a"), None, Some("c")];
        memo.insert(&all, &1);
        assert_eq!(memo.get(&all), Some(1));
        for other in [
            &[Some("a"), None][..],
            &[Some("a"), None, Some("d")],
            &[Some("a"), Some(""), Some("c")],
            &[Some("x"), None, Some("c")],
            &[None, Some("a"), Some("c")],
            &[Some("ac"), None, Some("")],
        ] {
            assert_eq!(memo.get(other), None, "{other:?}");
        }
    }

    #[test]
    fn equal_hashes_do_not_make_equal_inputs() {
        let mut memo = memo(4);
        memo.insert(&[Some("a")], &1);
        let hash = memo.hash(&[Some("b")]);
        // Puts the entry of `a` where `b` is looked for.
        memo.table.clear();
        memo.table.insert_unique(hash, 0, |_| hash);
        assert_eq!(memo.get(&[Some("b")]), None);
    }

    #[test]
    fn the_least_recently_used_decision_makes_room() {
        let mut memo = memo(2);
        memo.insert(&[Some("a")], &1);
        memo.insert(&[Some("b")], &2);
        assert_eq!(memo.get(&[Some("a")]), Some(1));
        memo.insert(&[Some("c")], &3);
        assert_eq!(memo.get(&[Some("b")]), None);
        assert_eq!((memo.get(&[Some("a")]), memo.get(&[Some("c")])), (Some(1), Some(3)));
    }

    #[test]
    fn a_decision_is_used_only_for_its_time() {
        let ttl = Some(Duration::from_millis(20));
        let mut memo: Memo<u32> = Memo::new(MemoPlan { max_entries: 2, ttl });
        memo.insert(&[Some("a")], &1);
        assert_eq!(memo.get(&[Some("a")]), Some(1));
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(memo.get(&[Some("a")]), None);
        assert!(memo.entries.is_empty());
    }

    #[test]
    fn what_is_large_is_not_kept_and_the_whole_is_bounded() {
        let mut memo = memo(4096);
        memo.insert(&[Some(&"x".repeat(MAX_ENTRY_BYTES))], &1);
        assert!(memo.entries.is_empty());
        for i in 0..2000 {
            memo.insert(&[Some(&format!("{i}{}", "x".repeat(8000)))], &i);
        }
        assert!(memo.bytes <= MAX_BYTES && memo.entries.len() > 100);
    }

    proptest! {
        /// Against a list that is searched from its end.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec((0u8..8, any::<bool>()), 1..200)) {
            let mut memo = memo(5);
            let mut list: Vec<(u8, u32)> = Vec::new();
            for (n, (key, insert)) in steps.into_iter().enumerate() {
                let text = key.to_string();
                let inputs = [Some(text.as_str()), None];
                let known = list.iter().position(|(k, _)| *k == key);
                if insert && known.is_none() {
                    if list.len() == 5 {
                        list.remove(0);
                    }
                    list.push((key, n as u32));
                    memo.insert(&inputs, &(n as u32));
                } else {
                    let expected = known.map(|at| {
                        let entry = list.remove(at);
                        list.push(entry);
                        entry.1
                    });
                    prop_assert_eq!(memo.get(&inputs), expected);
                }
                prop_assert_eq!(memo.entries.len(), list.len());
            }
        }
    }
}
