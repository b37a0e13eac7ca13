//! What the kernel of the node lacks.

use std::fmt;
use std::io;
use std::path::Path;

use aya::maps::MapType;
use aya::programs::{ProgramError, ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};

use crate::nat;
use crate::netlink::Netlink;
use crate::pins::Pins;

/// The least kernel that has all that is needed.
pub const LEAST_KERNEL: (u32, u32) = (5, 10);

/// Something that the node must have, or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// A kernel of [`LEAST_KERNEL`] or newer.
    Kernel,
    /// A BPF file system at the folder for pins.
    BpfFileSystem,
    /// The privilege to load programs: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
    Privilege,
    /// `bpf_sk_assign` for programs on devices.
    AssignSocket,
    /// `bpf_skc_lookup_tcp` for programs on devices.
    LookUpConnection,
    /// `bpf_redirect_peer` for programs on devices.
    RedirectPeer,
    /// Maps of sockets.
    SocketMap,
    /// Ring buffers.
    RingBuffer,
    /// Programs that look listening sockets up.
    SocketLookup,
    /// Routing by marks (`CONFIG_IP_MULTIPLE_TABLES`).
    PolicyRouting,
    /// nftables with `notrack`: needed beside kube-proxy.
    Nftables,
    /// Links to devices (tcx); without them filters of `clsact` are used.
    DeviceLinks,
}

impl Feature {
    /// Steering works without it, where nothing else on the node makes it necessary.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Nftables | Self::DeviceLinks)
    }

    /// The version of Linux that brought it.
    #[must_use]
    pub const fn since(self) -> (u32, u32) {
        match self {
            Self::Kernel => LEAST_KERNEL,
            Self::RedirectPeer => (5, 10),
            Self::BpfFileSystem => (4, 4),
            Self::Privilege | Self::RingBuffer => (5, 8),
            Self::AssignSocket => (5, 7),
            Self::LookUpConnection => (5, 2),
            // That a program may look a socket up in one: 5.8; that the socket may be listening: 5.7.
            Self::SocketMap => (5, 8),
            Self::SocketLookup => (5, 9),
            Self::PolicyRouting => (2, 2),
            // The family `inet` for priorities before connection tracking.
            Self::Nftables => (3, 14),
            Self::DeviceLinks => (6, 6),
        }
    }
}

/// A feature that the node does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub feature: Feature,
    /// How it was found out.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.feature.since();
        let part = match self.feature {
            Feature::Kernel => "a newer kernel",
            Feature::BpfFileSystem => "a BPF file system for pins (mount -t bpf)",
            Feature::Privilege => "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
            Feature::AssignSocket => "bpf_sk_assign at TC ingress",
            Feature::LookUpConnection => "bpf_skc_lookup_tcp at TC ingress",
            Feature::RedirectPeer => "bpf_redirect_peer at TC ingress",
            Feature::SocketMap => "BPF maps of sockets",
            Feature::RingBuffer => "BPF ring buffers",
            Feature::SocketLookup => "BPF socket lookup programs",
            Feature::PolicyRouting => "routing rules by mark (CONFIG_IP_MULTIPLE_TABLES)",
            Feature::Nftables => "nftables with notrack (CONFIG_NF_TABLES_INET, CONFIG_NFT_CT)",
            Feature::DeviceLinks => "tcx links",
        };
        write!(f, "the node lacks {part} (Linux {major}.{minor}): {}", self.why)
    }
}

/// Tries each feature, in the calling thread's network namespace; empty when nothing is missing.
/// Changes nothing.
#[must_use]
pub fn probe(pins: &Path) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut note = |feature, why: Option<String>| {
        missing.extend(why.map(|why| Missing { feature, why }));
    };
    note(Feature::Kernel, kernel(&rustix::system::uname().release().to_string_lossy()));
    note(Feature::BpfFileSystem, Pins::open(pins).err().map(|error| error.to_string()));
    // Where programs cannot be loaded at all, everything below would look missing too.
    let loadable = is_program_supported(ProgramType::SchedClassifier);
    if let Err(error) = &loadable {
        note(Feature::Privilege, Some(error.to_string()));
    } else {
        let helper = |helper| is_helper_supported(ProgramType::SchedClassifier, helper);
        note(Feature::AssignSocket, verdict(helper(BpfHelper::BPF_FUNC_sk_assign)));
        note(Feature::LookUpConnection, verdict(helper(BpfHelper::BPF_FUNC_skc_lookup_tcp)));
        note(Feature::RedirectPeer, verdict(helper(BpfHelper::BPF_FUNC_redirect_peer)));
        let map = |kind| is_map_supported(kind).map_err(ProgramError::from);
        note(Feature::SocketMap, verdict(map(MapType::SockMap)));
        note(Feature::RingBuffer, verdict(map(MapType::RingBuf)));
        note(Feature::SocketLookup, verdict(is_program_supported(ProgramType::SkLookup)));
        let links = SchedClassifier::query_tcx("lo", TcAttachType::Ingress);
        note(Feature::DeviceLinks, links.err().filter(refused).map(|error| error.to_string()));
    }
    note(Feature::PolicyRouting, rules().err().map(|error| error.to_string()));
    note(Feature::Nftables, nat::probe().err().map(|error| error.to_string()));
    missing
}

/// Whether the kernel refused to list the programs of a device. That a program which it listed may not
/// be opened (that needs CAP_SYS_ADMIN) says nothing about the list.
fn refused(error: &ProgramError) -> bool {
    !matches!(error, ProgramError::SyscallError(error) if error.call == "bpf_prog_get_fd_by_id")
}

fn verdict(supported: Result<bool, ProgramError>) -> Option<String> {
    match supported {
        Ok(true) => None,
        Ok(false) => Some("the kernel does not know it".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Why this release is too old, or `None`.
fn kernel(release: &str) -> Option<String> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    match (next(), next()) {
        (Some(major), Some(minor)) if (major, minor) >= LEAST_KERNEL => None,
        _ => Some(format!("this is {release}")),
    }
}

/// Lists the rules of IPv4 (`RTM_GETRULE`).
fn rules() -> io::Result<()> {
    const GET_RULE: u16 = 34;
    let mut header = [0; 12];
    header[0] = 2;
    let there = Netlink::route()?.dump(GET_RULE, &header)?;
    if there.is_empty() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for new in ["5.10.0-rc1", "6.1.119-129.201.amzn2023.x86_64", "6.18.4", "10.0"] {
            assert_eq!(kernel(new), None, "{new}");
        }
        for old in ["5.9.16", "4.19.0-27-amd64", "unknown", ""] {
            assert!(kernel(old).is_some(), "{old}");
        }
    }

    #[test]
    fn no_required_feature_is_newer_than_the_least_kernel() {
        use Feature as F;
        for feature in [
            F::Kernel,
            F::BpfFileSystem,
            F::Privilege,
            F::AssignSocket,
            F::LookUpConnection,
            F::RedirectPeer,
            F::SocketMap,
            F::RingBuffer,
            F::SocketLookup,
            F::PolicyRouting,
            F::Nftables,
            F::DeviceLinks,
        ] {
            assert!(feature.is_optional() || feature.since() <= LEAST_KERNEL, "{feature:?}");
        }
    }
}
