//! Connections from pod to pod that pass the node's stack by, and when: what the program for devices
//! does with each segment. Pure, so that it is tested without a kernel.
//!
//! The stack tracks connections, and kube-proxy has it translate those to a Service there. It must see
//! all of a connection or nothing: of one that it sees half of, packets are invalid to it and dropped.
//! So only what certainly belongs to a connection that was never translated is redirected:
//!
//! ```text
//!             SYN, straight to a pod                  answer of that SYN           RST, or FIN of both
//!  (none) ──────────────────────────► Asked ─────────────────────────► Open ──────────────────► Over
//!                   the same, thrice │ SYN-ACK, ack = its number + 1     │ SYN-ACK of another     │
//!                                    ▼                                   ▼ connection, or [`LINGER`] after it
//!                              StackHasIt: a new SYN begins anew       (none): the stack has it
//! ```
//!
//! A translated connection between the same addresses and ports has a SYN that is not straight (its
//! destination is the Service's) and so another number; nothing of it comes before the SYN-ACK that
//! tells the two apart. `docs/decisions/0010-pod-redirect.md` has the reasoning.

/// Nanoseconds for which segments of a connection that is over are still redirected: late ones, repeated
/// FINs, what is left to `TIME_WAIT` (60 s in Linux). As long as connection tracking remembers one
/// (`nf_conntrack_tcp_timeout_time_wait`).
pub const LINGER: u64 = 120_000_000_000;

/// How often one SYN is redirected without an answer. Then the stack may know what this map cannot: that
/// a translated connection has the same addresses and ports, and which port is free instead.
pub const SYNS: u8 = 2;

/// Flags of TCP (RFC 9293, 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Who a connection is between: both ends, the lower one first, so that both directions have one key.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// Both IPv4 addresses.
    pub addresses: [[u8; 4]; 2],
    /// Both ports, in the order of the wire.
    pub ports: [[u8; 2]; 2],
}

impl ConnectionKey {
    /// Of a packet with this source and destination, and whether its source is the lower end.
    #[inline(always)]
    #[must_use]
    pub const fn of(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> (Self, bool) {
        let (one, other) = (number(source), number(destination));
        let (low, high) = if one < other { (source, destination) } else { (destination, source) };
        let key =
            Self { addresses: [low.0, high.0], ports: [low.1.to_be_bytes(), high.1.to_be_bytes()] };
        (key, one < other)
    }
}

#[inline(always)]
const fn number((address, port): ([u8; 4], u16)) -> u64 {
    (u32::from_be_bytes(address) as u64) << 16 | port as u64
}

/// What a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its flags, as the header has them.
    pub flags: u8,
    /// Its sequence number.
    pub sequence: u32,
    /// What it acknowledges.
    pub acknowledged: u32,
    /// It carries data.
    pub carries: bool,
}

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Straight into the pod.
    Redirect,
    /// Straight into the pod, and the connection is not known any more.
    RedirectAndForget,
    /// To the stack.
    Pass,
    /// To the stack, and the connection is not known any more.
    PassAndForget,
}

/// What is known of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// When it was over, in nanoseconds of `CLOCK_MONOTONIC`; zero: it is not.
    over: u64,
    low: End,
    high: End,
    /// [`ASKED`], [`OPEN`] or [`STACK_HAS_IT`].
    state: u32,
    reserved: u32,
}

/// What came from one end. Each field is written by what comes from this end alone, so that two CPUs do
/// not undo each other's.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    /// Sequence number of its SYN.
    number: u32,
    /// How often that was sent; zero: it sent none.
    asked: u8,
    /// 1: it sent a FIN.
    ended: u8,
    reserved: u16,
}

/// A SYN was redirected, and not answered yet.
const ASKED: u32 = 0;
/// It was answered.
const OPEN: u32 = 1;
/// It was not answered, and the stack was asked.
const STACK_HAS_IT: u32 = 2;

impl End {
    const SILENT: Self = Self { number: 0, asked: 0, ended: 0, reserved: 0 };
}

impl Segment {
    #[inline(always)]
    const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Asks for a connection, and does nothing else. One that carries data (RFC 7413) is acknowledged by
    /// another number, if at all: the stack has it.
    #[inline(always)]
    const fn opens(&self) -> bool {
        self.flags & (FIN | SYN | RST | ACK) == SYN && !self.carries
    }

    /// Answers a SYN: with yes, or (RFC 9293, 3.10.7.1) with no.
    #[inline(always)]
    const fn answers(&self) -> bool {
        const YES: u8 = SYN | ACK;
        const NO: u8 = RST | ACK;
        match self.flags & (SYN | RST | ACK) {
            YES => true,
            NO => self.sequence == 0,
            _ => false,
        }
    }
}

impl Connection {
    /// Of a segment of no known connection; `None`: the stack has it.
    #[inline(always)]
    #[must_use]
    pub const fn asked(segment: &Segment, from_low: bool) -> Option<Self> {
        if !segment.opens() {
            return None;
        }
        let asks = End { number: segment.sequence, asked: 1, ..End::SILENT };
        let (low, high) = if from_low { (asks, End::SILENT) } else { (End::SILENT, asks) };
        Some(Self { over: 0, low, high, state: ASKED, reserved: 0 })
    }

    /// What becomes of a segment, which comes from the lower end or the other. The clock is read only
    /// where something ends.
    #[inline(always)]
    #[must_use]
    pub fn next(&mut self, segment: &Segment, from_low: bool, now: impl Fn() -> u64) -> Verdict {
        let (own, other) = if from_low {
            (&mut self.low, &mut self.high)
        } else {
            (&mut self.high, &mut self.low)
        };
        if segment.answers() {
            let right = other.asked != 0
                && self.state != STACK_HAS_IT
                && segment.acknowledged == other.number.wrapping_add(1);
            return match right {
                false => Verdict::PassAndForget,
                true if segment.has(RST) => Verdict::RedirectAndForget,
                true => {
                    self.state = OPEN;
                    Verdict::Redirect
                }
            };
        }
        if segment.has(SYN) {
            if !segment.opens() {
                return Verdict::PassAndForget;
            }
            if own.asked != 0 && own.number == segment.sequence && self.over == 0 {
                if self.state == OPEN {
                    return Verdict::Redirect;
                }
                if self.state == ASKED && own.asked < SYNS {
                    own.asked += 1;
                    return Verdict::Redirect;
                }
                self.state = STACK_HAS_IT;
                return Verdict::Pass;
            }
            *own = End { number: segment.sequence, asked: 1, ..End::SILENT };
            // Both ends may ask at once (RFC 9293, 3.5). What the other one asked for earlier is past.
            if self.state != ASKED {
                *other = End::SILENT;
            }
            (self.state, self.over) = (ASKED, 0);
            return Verdict::Redirect;
        }
        if self.state != OPEN {
            return Verdict::Pass;
        }
        if self.over != 0 && now().saturating_sub(self.over) > LINGER {
            return Verdict::PassAndForget;
        }
        if segment.has(FIN | RST) {
            if segment.has(FIN) {
                own.ended = 1;
            }
            if segment.has(RST) || other.ended != 0 {
                self.over = now();
            }
        }
        Verdict::Redirect
    }
}
