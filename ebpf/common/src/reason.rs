//! What became of a packet, and why.

/// What became of a packet, and why: the index of its counter. Everything that is not steered goes on
/// to whoever would have had it without the gateway.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A new connection, given to a worker.
    Steered = 0,
    /// Belongs to a connection that this node has.
    Established = 1,
    /// To a listener, but of no connection that is known here: a worker's socket answers it (with a
    /// reset, or takes it when it carries a SYN cookie).
    Stray = 2,
    /// No listener has this address and port.
    NoListener = 3,
    /// Neither IPv4 nor IPv6.
    NotIp = 4,
    /// IP, but not TCP.
    NotTcp = 5,
    /// A fragment: ports are only in the first, and nobody may take half a packet.
    Fragment = 6,
    /// Tagged for a VLAN: it is seen again, without its tag, on the VLAN's own device.
    Vlan = 7,
    /// Ends before its headers do, or its header lengths are impossible.
    Malformed = 8,
    /// More IPv6 extension headers than are followed.
    ExtensionHeaders = 9,
    /// To a listener, but no worker is there.
    NoWorker = 10,
    /// To a listener, but the kernel refused the worker's socket.
    Refused = 11,
}

impl Reason {
    /// How many there are.
    pub const COUNT: u32 = 12;

    /// All, by number.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Steered,
        Self::Established,
        Self::Stray,
        Self::NoListener,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::Vlan,
        Self::Malformed,
        Self::ExtensionHeaders,
        Self::NoWorker,
        Self::Refused,
    ];

    /// The reason of this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// Its name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steered => "steered",
            Self::Established => "established",
            Self::Stray => "stray",
            Self::NoListener => "no_listener",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::Vlan => "vlan",
            Self::Malformed => "malformed",
            Self::ExtensionHeaders => "extension_headers",
            Self::NoWorker => "no_worker",
            Self::Refused => "refused",
        }
    }
}
