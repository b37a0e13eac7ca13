//! Things by an index that stays theirs from one snapshot to the next.

use penstock_config::{Key, SharedMap};
use std::{ops::Index, sync::Arc};

/// Things by key, each at an index that it keeps as long as it is there: what refers to it by its
/// index stays as it is when others come and go.
#[derive(Debug)]
pub struct Slots<T> {
    items: Vec<Option<Arc<T>>>,
    by_key: SharedMap<Key, usize>,
    free: Vec<usize>,
}

impl<T> Slots<T> {
    /// Puts one in, in place of that of the same key. Gives its index.
    pub fn put(&mut self, key: &Key, item: T) -> usize {
        let item = Some(Arc::new(item));
        if let Some(index) = self.position(key) {
            self.items[index] = item;
            return index;
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.items[index] = item;
                index
            }
            None => {
                self.items.push(item);
                self.items.len() - 1
            }
        };
        self.by_key.insert(key.clone(), index);
        index
    }

    /// Takes one out. Gives the index that it had.
    pub fn remove(&mut self, key: &Key) -> Option<usize> {
        let index = self.by_key.remove(key)?;
        self.items[index] = None;
        self.free.push(index);
        Some(index)
    }

    /// The index of the one with this key.
    pub fn position(&self, key: &Key) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The one at an index, if any.
    pub fn get(&self, index: usize) -> Option<&Arc<T>> {
        self.items.get(index)?.as_ref()
    }

    /// All places by index, free ones as well.
    pub fn places(&self) -> impl Iterator<Item = Option<&Arc<T>>> {
        self.items.iter().map(Option::as_ref)
    }

    /// All things with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<T>)> {
        self.items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_ref()?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// Shares the things.
impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        let (items, free) = (self.items.clone(), self.free.clone());
        Self { items, by_key: self.by_key.clone(), free }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { items: Vec::new(), by_key: SharedMap::default(), free: Vec::new() }
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;

    /// # Panics
    /// Where nothing is at that index: nothing refers to a free place.
    #[inline]
    fn index(&self, index: usize) -> &T {
        match &self.items[index] {
            Some(item) => item,
            None => nothing(),
        }
    }
}

#[cold]
fn nothing() -> ! {
    panic!("nothing is at this index")
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::Kind;

    #[test]
    fn an_index_stays_and_a_free_place_is_taken_again() {
        let key = |name: &str| Key::new(Kind::Backend, name);
        let mut slots = Slots::default();
        let first: Vec<usize> = ["b", "a", "c"].map(|name| slots.put(&key(name), name)).into();
        assert_eq!(first, [0, 1, 2]);
        let before = slots.clone();
        assert_eq!(slots.remove(&key("a")), Some(1));
        assert_eq!(slots.remove(&key("a")), None);
        assert_eq!((slots.get(1), slots.len()), (None, 2));
        assert_eq!(slots.put(&key("c"), "C"), 2);
        assert_eq!(slots.put(&key("d"), "d"), 1);
        assert_eq!((slots[0], slots[1], slots[2]), ("b", "d", "C"));
        assert_eq!((before[1], before[2]), ("a", "c"), "a copy is another one");
        assert_eq!(slots.position(&key("d")), Some(1));
        assert!(slots.iter().map(|(index, _)| index).eq(0..3) && !slots.is_empty());
    }
}
