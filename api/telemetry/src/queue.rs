//! The way to a thread that writes: bounded, never waited for.
//!
//! Sending wakes nobody. The writer looks at its queue from time to time, and is woken only when the
//! queue fills: a worker pays a few atomic instructions, not a system call. What finds no room is
//! dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// The sending end. Clone it for each sender.
#[derive(Debug)]
pub struct Queue<T> {
    sender: mpsc::Sender<T>,
    shared: Arc<Shared>,
    wake_at: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), shared: self.shared.clone(), wake_at: self.wake_at }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Drain<T> {
    receiver: mpsc::Receiver<T>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    wake: Notify,
    closed: AtomicBool,
    dropped: AtomicU64,
}

/// A queue with room for `bound` items that wakes its reader when `wake_at` are waiting.
pub fn queue<T>(bound: usize, wake_at: usize) -> (Queue<T>, Drain<T>) {
    let (sender, receiver) = mpsc::channel(bound.max(1));
    let shared = Arc::new(Shared::default());
    (Queue { sender, shared: shared.clone(), wake_at }, Drain { receiver, shared })
}

impl<T> Queue<T> {
    /// Sends, or drops and counts. Never waits.
    pub fn send(&self, item: T) {
        if self.shared.closed.load(Ordering::Relaxed) || self.sender.try_send(item).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.sender.max_capacity() - self.sender.capacity() >= self.wake_at {
            self.shared.wake.notify_one();
        }
    }

    /// How many items found no room.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Makes the reader look now.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Takes nothing more; the reader drains what there is and ends.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl<T> Drain<T> {
    /// Waits until a reader should look. `false` says that nothing comes after what is there now.
    pub async fn wait(&mut self, at_most: Duration) -> bool {
        if !self.shared.closed.load(Ordering::Acquire) {
            // Either outcome means the same: look.
            let _ = tokio::time::timeout(at_most, self.shared.wake.notified()).await;
        }
        !self.shared.closed.load(Ordering::Acquire)
    }

    /// Takes what is there, at most `bound` items.
    pub fn take(&mut self, bound: usize, items: &mut Vec<T>) {
        while items.len() < bound {
            match self.receiver.try_recv() {
                Ok(item) => items.push(item),
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_runtime<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let (queue, mut drain) = queue(2, 2);
        (0..5).for_each(|i| queue.send(i));
        assert_eq!(queue.dropped(), 3);
        let mut items = Vec::new();
        drain.take(10, &mut items);
        assert_eq!(items, [0, 1]);
        queue.send(9);
        assert_eq!(queue.dropped(), 3, "there is room again");
    }

    #[test]
    fn a_filling_queue_wakes_its_reader_and_a_single_item_does_not() {
        on_a_runtime(async {
            let (queue, mut drain) = queue(8, 2);
            queue.send(1);
            let quiet = tokio::time::timeout(
                Duration::from_millis(20),
                drain.wait(Duration::from_secs(60)),
            );
            assert!(quiet.await.is_err(), "one item is not worth a wake-up");
            queue.send(2);
            assert!(drain.wait(Duration::from_secs(60)).await);
        });
    }

    #[test]
    fn after_closing_the_rest_is_drained_and_later_items_are_counted_as_dropped() {
        on_a_runtime(async {
            let (queue, mut drain) = queue(8, 8);
            queue.send(1);
            queue.close();
            queue.send(2);
            assert!(!drain.wait(Duration::from_secs(60)).await);
            let mut items = Vec::new();
            drain.take(8, &mut items);
            assert_eq!((items, queue.dropped()), (vec![1], 1));
        });
    }
}
