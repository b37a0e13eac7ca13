//! What became of a packet, and why.

/// What became of a packet, and why: the index of its counter. What is neither steered nor
/// redirected goes on to whoever would have had it without the gateway.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A new connection, given to a worker.
    Steered = 0,
    /// To a listener, but asking for no new connection: the socket layer of this node has the one that
    /// it belongs to, or a worker's socket answers it.
    Continued = 1,
    /// No listener has this address and port.
    NoListener = 2,
    /// Neither IPv4 nor IPv6.
    NotIp = 3,
    /// IP, but not TCP.
    NotTcp = 4,
    /// A fragment: ports are only in the first, and nobody may take half a packet.
    Fragment = 5,
    /// Tagged for a VLAN: it is seen again, without its tag, on the VLAN's own device.
    Vlan = 6,
    /// Ends before its headers do, or its header lengths are impossible.
    Malformed = 7,
    /// More IPv6 extension headers than are followed.
    ExtensionHeaders = 8,
    /// To a listener, but no worker is there.
    NoWorker = 9,
    /// To a listener, but the kernel refused the worker's socket.
    Refused = 10,
    /// From a pod straight into another one of the node.
    Redirected = 11,
}

impl Reason {
    /// How many there are.
    pub const COUNT: u32 = 12;

    /// All, by number.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Steered,
        Self::Continued,
        Self::NoListener,
        Self::NotIp,
        Self::NotTcp,
        Self::Fragment,
        Self::Vlan,
        Self::Malformed,
        Self::ExtensionHeaders,
        Self::NoWorker,
        Self::Refused,
        Self::Redirected,
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
            Self::Continued => "continued",
            Self::NoListener => "no_listener",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::Vlan => "vlan",
            Self::Malformed => "malformed",
            Self::ExtensionHeaders => "extension_headers",
            Self::NoWorker => "no_worker",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
        }
    }
}
