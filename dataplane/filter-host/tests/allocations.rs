//! What a step costs the heap, counted by the allocator.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use penstock_filter_host::{Tier, Worker};
use support::{Words, config, host, mode, prepare};

thread_local! {
    /// Allocations of this thread, and its bytes in use.
    static COUNTED: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(allocations: u64, bytes: i64) {
    // A thread that is going away no longer counts.
    let _ = COUNTED.try_with(|cell| {
        let (n, sum) = cell.get();
        cell.set((n + allocations, sum + bytes));
    });
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its interface; this one forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as for this function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: as for this function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of 1000 steps after a first one.
fn allocations(mode_name: &str, words: &Words, tier: Tier) -> u64 {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("shop/a", mode_name));
    worker.on_request(&policy, words);
    let before = COUNTED.get().0;
    for _ in 0..1000 {
        let outcome = worker.on_request(&policy, words);
        assert_eq!(outcome.tier, tier);
    }
    COUNTED.get().0 - before
}

#[test]
fn a_constant_a_missed_guard_and_a_remembered_decision_allocate_nothing() {
    let words = Words::told("value").with("path", "/a/b");
    assert_eq!(allocations("constant", &words, Tier::Constant), 0);
    assert_eq!(allocations("guard", &words, Tier::GuardMiss), 0);
    assert_eq!(allocations("memo", &words, Tier::Memo), 0);
}

/// The one is the engine's, which notes that the policy's handle is lent for the call.
#[test]
fn a_call_that_passes_allocates_once() {
    assert_eq!(allocations("obey", &Words::told("pass"), Tier::Call), 1000);
}

#[test]
fn a_hundred_thousand_calls_leave_no_memory_behind() {
    let host = host(config());
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("shop/a", "obey"));
    let mut calls = |n: u32| {
        for i in 0..n {
            let order = ["pass", "some value", "respond", "fault"][i as usize % 4];
            let outcome = worker.on_request(&policy, &Words::told(order));
            assert_eq!(outcome.tier, Tier::Call);
        }
    };
    calls(1000);
    let (bytes, guest) = (COUNTED.get().1, host.stats()[0].memory_bytes);
    calls(100_000);
    let grown = COUNTED.get().1 - bytes;
    assert!(grown < 4096, "the host kept {grown} bytes");
    assert_eq!(host.stats()[0].memory_bytes, guest, "the guest grew");
}
