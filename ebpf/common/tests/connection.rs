//! Which segments between pods pass the stack by. `A` is the pod that dials, `B` the one that answers; a
//! translated connection is one that `A` dialled a Service for, of which only `B`'s answers come here.

use core::cell::Cell;
use core::mem::size_of;

use penstock_ebpf_common::{Connection, ConnectionKey, LINGER, Segment, Verdict};
use proptest::prelude::*;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Who sends a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}
use Side::{A, B};

/// The program's map for one key, and the clock.
#[derive(Default)]
struct Table {
    known: Option<Connection>,
    now: Cell<u64>,
}

impl Table {
    /// As the program does it. Whether the segment is redirected.
    fn meets(&mut self, from: Side, segment: Segment) -> bool {
        let low = from == A;
        let Some(connection) = &mut self.known else {
            self.known = Connection::asked(&segment, low);
            return self.known.is_some();
        };
        let verdict = connection.next(&segment, low, || self.now.get());
        if matches!(verdict, Verdict::RedirectAndForget | Verdict::PassAndForget) {
            self.known = None;
        }
        matches!(verdict, Verdict::Redirect | Verdict::RedirectAndForget)
    }

    fn later(&self, nanoseconds: u64) {
        self.now.set(self.now.get() + nanoseconds);
    }

    /// Has `A` dial straight, and both say hello.
    fn open(number: u32) -> Self {
        let mut table = Self::default();
        table.now.set(1);
        assert!(table.meets(A, syn(number)));
        assert!(table.meets(B, syn_ack(number.wrapping_add(1))));
        assert!(table.meets(A, plain(ACK)));
        table
    }
}

fn syn(sequence: u32) -> Segment {
    Segment { flags: SYN, sequence, acknowledged: 0, carries: false }
}

fn syn_ack(acknowledged: u32) -> Segment {
    Segment { flags: SYN | ACK, sequence: 77, acknowledged, carries: false }
}

/// How a closed port answers.
fn refusal(acknowledged: u32) -> Segment {
    Segment { flags: RST | ACK, sequence: 0, acknowledged, carries: false }
}

fn plain(flags: u8) -> Segment {
    Segment { flags, sequence: 1_000, acknowledged: 2_000, carries: true }
}

#[test]
fn both_directions_have_one_key_and_other_connections_another() {
    assert_eq!((size_of::<ConnectionKey>(), size_of::<Connection>()), (12, 32));
    let (a, b) = (([10, 0, 0, 9], 40_000), ([10, 0, 0, 10], 80));
    let (there, low) = ConnectionKey::of(a, b);
    let (back, high) = ConnectionKey::of(b, a);
    assert_eq!((there, low), (back, !high));
    // The same address, told apart by the port; and each part counts.
    let (same, low) = ConnectionKey::of(a, (a.0, 40_001));
    assert!(low && same != there);
    for other in [((a.0, 40_001), b), (a, (b.0, 81)), (([10, 0, 1, 9], 40_000), b)] {
        assert_ne!(ConnectionKey::of(other.0, other.1).0, there);
    }
}

#[test]
fn a_connection_from_pod_to_pod_is_redirected_from_its_syn_to_its_last_segment() {
    let mut table = Table::open(u32::MAX);
    for (from, flags) in
        [(A, ACK), (B, ACK), (A, FIN | ACK), (B, ACK), (B, ACK), (B, FIN | ACK), (A, ACK)]
    {
        assert!(table.meets(from, plain(flags)), "{from:?} {flags:#x}");
    }
}

#[test]
fn what_was_not_seen_from_its_beginning_is_the_stacks() {
    for flags in [ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, SYN | FIN, SYN | RST, 0] {
        let mut table = Table::default();
        assert!(!table.meets(A, plain(flags)), "{flags:#x}");
        assert_eq!(table.known, None, "{flags:#x}");
    }
    // A SYN with data is acknowledged by another number (RFC 7413).
    assert!(!Table::default().meets(A, Segment { carries: true, ..syn(5) }));
}

#[test]
fn a_half_closed_connection_goes_on_for_as_long_as_it_likes() {
    let mut table = Table::open(5);
    assert!(table.meets(A, plain(FIN | ACK)));
    table.later(100 * LINGER);
    assert!(table.meets(B, plain(ACK)));
    assert!(table.meets(A, plain(FIN | ACK)), "again");
    table.later(100 * LINGER);
    assert!(table.meets(B, plain(ACK)));
}

#[test]
fn late_segments_and_repeated_fins_are_redirected_for_a_while_after_the_end() {
    let ends: [&[(Side, u8)]; 2] = [&[(A, FIN | ACK), (B, FIN | ACK)], &[(B, RST)]];
    for end in ends {
        let mut table = Table::open(5);
        for (from, flags) in end {
            assert!(table.meets(*from, plain(*flags)));
        }
        // For as long as Linux keeps `TIME_WAIT`, and answers.
        table.later(60_000_000_000);
        assert!(table.meets(A, plain(ACK)), "{end:?}");
        table.later(LINGER.saturating_sub(60_000_000_000));
        assert!(table.meets(B, plain(FIN | ACK)), "{end:?}");
        // The FIN came again, so that the end did.
        let again = if end.len() == 2 { LINGER } else { 0 };
        table.later(again);
        assert!(table.meets(B, plain(ACK)), "{end:?}");
        table.later(1);
        assert!(!table.meets(B, plain(ACK)), "{end:?}");
        assert_eq!(table.known, None, "{end:?}");
    }
}

#[test]
fn a_closed_port_says_so_straight_and_is_forgotten() {
    let mut table = Table::default();
    assert!(table.meets(A, syn(5)));
    assert!(table.meets(B, refusal(6)));
    assert_eq!(table.known, None);
}

#[test]
fn a_port_is_used_again_for_a_connection_straight_to_the_pod() {
    let mut table = Table::open(5);
    for (from, flags) in [(A, FIN | ACK), (B, FIN | ACK), (A, ACK)] {
        assert!(table.meets(from, plain(flags)));
    }
    assert!(table.meets(A, syn(900)));
    assert!(!table.meets(B, syn_ack(6)), "of the old one");
    let mut table = Table::open(5);
    assert!(table.meets(A, syn(900)));
    assert!(table.meets(B, syn_ack(901)));
    assert!(table.meets(A, plain(ACK)));
    // And the other way round, by the pod that answered.
    assert!(table.meets(B, syn(70)));
    assert!(table.meets(A, syn_ack(71)));
    assert!(table.meets(B, plain(ACK)));
}

#[test]
fn pods_that_dial_each_other_at_once_meet() {
    let mut table = Table::default();
    assert!(table.meets(A, syn(5)) && table.meets(B, syn(8)));
    assert!(table.meets(B, syn_ack(6)) && table.meets(A, syn_ack(9)));
    assert!(table.meets(A, plain(ACK)) && table.meets(B, plain(ACK)));
}

#[test]
fn a_syn_that_comes_again_changes_nothing_of_an_open_connection() {
    let mut table = Table::open(5);
    for _ in 0..5 {
        assert!(table.meets(A, syn(5)));
    }
    assert!(table.meets(B, syn_ack(6)), "again");
    assert!(table.meets(A, plain(ACK)) && table.meets(B, plain(ACK)));
}

/// A translated connection is there between the same ports: `B` answers a SYN for another connection with
/// what it has of that one (RFC 9293, 3.10.7.4). Only the stack can give the new one another port.
#[test]
fn a_syn_that_nobody_answers_becomes_the_stacks_and_the_next_one_begins_anew() {
    let mut table = Table::default();
    assert!(table.meets(A, syn(5)));
    assert!(!table.meets(B, plain(ACK)), "of the translated connection");
    assert!(table.meets(A, syn(5)));
    assert!(!table.meets(B, plain(ACK)));
    assert!(!table.meets(A, syn(5)));
    // All of it is the stack's then.
    assert!(!table.meets(A, syn(5)));
    assert!(!table.meets(B, plain(ACK)));
    let mut answered = Table { known: table.known, ..Table::default() };
    assert!(!answered.meets(B, syn_ack(6)), "the stack had the SYN");
    assert!(!answered.meets(A, plain(ACK)));
    assert!(table.meets(A, syn(6)), "another connection");
    assert!(table.meets(B, syn_ack(7)));
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(A), Just(B)]
}

/// Segments of a connection straight from `A` to `B`, cut off anywhere: processes, pods and agents may
/// end at any time.
fn straight() -> impl Strategy<Value = Vec<(Side, Segment)>> {
    let number = any::<u32>();
    let rest = proptest::collection::vec(
        (any_side(), prop_oneof![Just(ACK), Just(FIN | ACK), Just(RST), Just(RST | ACK)]),
        0..8,
    );
    (number, rest, 0..12usize).prop_map(|(number, rest, cut)| {
        let mut all =
            vec![(A, syn(number)), (A, syn(number)), (B, syn_ack(number.wrapping_add(1)))];
        all.extend(rest.into_iter().map(|(from, flags)| (from, plain(flags))));
        all.truncate(cut);
        all
    })
}

proptest! {
    #[test]
    fn no_answer_of_a_translated_connection_is_redirected_whatever_was_before(
        before in straight(),
        pause in prop_oneof![Just(0), Just(LINGER / 2), Just(3 * LINGER)],
        number: u32,
        refused: bool,
        after in proptest::collection::vec(
            prop_oneof![Just(ACK), Just(FIN | ACK), Just(RST), Just(RST | ACK)], 1..8),
    ) {
        let mut table = Table::default();
        table.now.set(1);
        for (from, segment) in &before {
            prop_assert!(table.meets(*from, *segment), "{segment:?}");
        }
        table.later(pause);
        // Its number is another one: by chance it is the same once in four thousand million times.
        let same = before.first().is_some_and(|(_, segment)| segment.sequence == number);
        prop_assume!(!same);
        let acknowledged = number.wrapping_add(1);
        let first = if refused { refusal(acknowledged) } else { syn_ack(acknowledged) };
        prop_assert!(!table.meets(B, first));
        for flags in after {
            prop_assert!(!table.meets(B, plain(flags)));
        }
    }

    #[test]
    fn a_connection_goes_one_way_from_beginning_to_end_whatever_was_before(
        before in proptest::collection::vec((any_side(), any::<u8>(), 0..4u32, 0..4u32), 0..12),
        number in 10u32..,
        rest in proptest::collection::vec((any_side(), any::<bool>()), 1..12),
    ) {
        let mut table = Table::default();
        table.now.set(1);
        for (from, flags, sequence, acknowledged) in before {
            let segment = Segment { flags, sequence, acknowledged, carries: flags & 0x20 != 0 };
            let _ = table.meets(from, segment);
        }
        prop_assert!(table.meets(A, syn(number)));
        prop_assert!(table.meets(B, syn_ack(number.wrapping_add(1))));
        for (from, ends) in rest {
            let flags = if ends { FIN | ACK } else { ACK };
            prop_assert!(table.meets(from, plain(flags)));
        }
    }

    #[test]
    fn what_the_stack_had_a_syn_of_stays_with_it(
        rest in proptest::collection::vec((any_side(), any::<u8>()), 0..12),
    ) {
        let mut table = Table::default();
        let with_data = Segment { carries: true, ..syn(5) };
        prop_assert!(!table.meets(A, with_data));
        prop_assert!(!table.meets(B, syn_ack(6)));
        for (from, flags) in rest {
            prop_assert!(!table.meets(from, plain(flags)));
        }
    }
}
