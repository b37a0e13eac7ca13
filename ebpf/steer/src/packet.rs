//! From a packet to the flow that it belongs to.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use penstock_ebpf_common::{Reason, Segment, TCP, mapped};

/// Length of an Ethernet header without tags.
const ETHERNET: u32 = 14;
/// Ethertypes, in the order of the wire as `__sk_buff` has them.
const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;
const VLAN: u32 = 0x8100u16.to_be() as u32;
const VLAN_OF_VLANS: u32 = 0x88a8u16.to_be() as u32;

/// IPv6 extension headers (RFC 8200, 4) by their numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// How many extension headers are followed: each kind once, and destination options twice (RFC 8200,
/// 4.1), without fragment and encrypted ones.
const EXTENSIONS: usize = 5;

/// The TCP connection that a packet belongs to, as the client sent it.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    /// IPv6 address, or IPv4 mapped.
    pub(crate) source: [u8; 16],
    /// Likewise.
    pub(crate) destination: [u8; 16],
    /// Port, in the machine's order.
    pub(crate) source_port: u16,
    /// Likewise.
    pub(crate) destination_port: u16,
    /// The bytes are IPv4.
    pub(crate) ipv4: bool,
    /// IPv4 without options: nothing in it asks anything of those who forward it.
    pub(crate) plain: bool,
    /// Asks for a new connection: SYN without ACK.
    pub(crate) opens: bool,
    /// What it says to the other end; whether it carries data is known of plain packets only.
    pub(crate) segment: Segment,
}

/// What is known of a packet before its TCP header is read.
struct Envelope {
    source: [u8; 16],
    destination: [u8; 16],
    ipv4: bool,
    plain: bool,
    /// Length of the TCP segment, as the IPv4 header has it.
    length: u32,
}

impl Flow {
    /// The last four bytes of both addresses: all there is of IPv4.
    #[inline(always)]
    pub(crate) fn ipv4(&self) -> ([u8; 4], [u8; 4]) {
        let (s, d) = (&self.source, &self.destination);
        ([s[12], s[13], s[14], s[15]], [d[12], d[13], d[14], d[15]])
    }

    /// [`spread`] of the flow.
    #[inline(always)]
    pub(crate) fn hash(&self) -> u32 {
        let (source, destination) = self.ipv4();
        let ports = (self.source_port, self.destination_port);
        spread(u32::from_ne_bytes(source), u32::from_ne_bytes(destination), ports)
    }
}

/// Spreads flows evenly: from the last four bytes of both addresses, and both ports.
#[inline(always)]
pub(crate) fn spread(source: u32, destination: u32, ports: (u16, u16)) -> u32 {
    let ports = u32::from(ports.0) << 16 | u32::from(ports.1);
    let mut hash = source ^ ports.rotate_left(7) ^ destination;
    // The finalizer of MurmurHash3: each bit of the input changes half of the output's.
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The flow of a packet, or why it has none here.
#[inline(always)]
pub(crate) fn flow(skb: *mut __sk_buff) -> Result<Flow, Reason> {
    // SAFETY: the kernel gives the program a live `__sk_buff`; the verifier checks each read.
    let (tagged, protocol) = unsafe { ((*skb).vlan_present, (*skb).protocol) };
    if tagged != 0 || protocol == VLAN || protocol == VLAN_OF_VLANS {
        return Err(Reason::Vlan);
    }
    match protocol {
        IPV4 => ipv4(skb),
        IPV6 => ipv6(skb),
        _ => Err(Reason::NotIp),
    }
}

/// Copies bytes of a packet, wherever its fragments lie: most often in the part that can be read
/// directly, which is several times as fast as asking for a copy.
#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, offset: u32) -> Result<[u8; N], Reason> {
    // Beyond any header that is read here; the verifier must see it.
    let offset = offset & 0x3fff;
    // SAFETY: the kernel gives the program a live `__sk_buff`, and what lies between these two may be
    // read, which the verifier checks.
    unsafe {
        let (data, end) = ((*skb).data as usize, (*skb).data_end as usize);
        let start = data + offset as usize;
        if start + N <= end {
            return Ok((start as *const [u8; N]).read_unaligned());
        }
    }
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the buffer has N bytes, and the helper fills all of them or fails.
    unsafe {
        match bpf_skb_load_bytes(skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) {
            0 => Ok(bytes.assume_init()),
            _ => Err(Reason::Malformed),
        }
    }
}

/// RFC 791, 3.1.
#[inline(always)]
fn ipv4(skb: *mut __sk_buff) -> Result<Flow, Reason> {
    let header: [u8; 20] = load(skb, ETHERNET)?;
    let length = u32::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < 20 {
        return Err(Reason::Malformed);
    }
    if header[9] != TCP {
        return Err(Reason::NotTcp);
    }
    // "More fragments", or an offset: all but "don't fragment" and the reserved bit.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Reason::Fragment);
    }
    let source = mapped([header[12], header[13], header[14], header[15]]);
    let destination = mapped([header[16], header[17], header[18], header[19]]);
    let all = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let envelope = Envelope {
        source,
        destination,
        ipv4: true,
        plain: length == 20,
        length: all.wrapping_sub(length),
    };
    tcp(skb, ETHERNET + length, envelope)
}

/// RFC 8200, 3 and 4.
#[inline(always)]
fn ipv6(skb: *mut __sk_buff) -> Result<Flow, Reason> {
    let header: [u8; 40] = load(skb, ETHERNET)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let [mut source, mut destination] = [[0; 16]; 2];
    source.copy_from_slice(&header[8..24]);
    destination.copy_from_slice(&header[24..40]);
    let of = || Envelope { source, destination, ipv4: false, plain: false, length: 0 };
    let mut next = header[6];
    let mut offset = ETHERNET + 40;
    for _ in 0..EXTENSIONS {
        match next {
            TCP => return tcp(skb, offset, of()),
            FRAGMENT => return Err(Reason::Fragment),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let [following, length] = load(skb, offset)?;
                next = following;
                offset += (u32::from(length) + 1) * 8;
            }
            // RFC 4302, 2.2: in words of four bytes, less two.
            AUTHENTICATION => {
                let [following, length] = load(skb, offset)?;
                next = following;
                offset += (u32::from(length) + 2) * 4;
            }
            _ => return Err(Reason::NotTcp),
        }
    }
    match next {
        TCP => tcp(skb, offset, of()),
        _ => Err(Reason::ExtensionHeaders),
    }
}

/// RFC 9293, 3.1.
#[inline(always)]
fn tcp(skb: *mut __sk_buff, offset: u32, envelope: Envelope) -> Result<Flow, Reason> {
    let header: [u8; 14] = load(skb, offset)?;
    let flags = header[13];
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let Envelope { source, destination, ipv4, plain, length } = envelope;
    Ok(Flow {
        source,
        destination,
        source_port: u16::from_be_bytes([header[0], header[1]]),
        destination_port: u16::from_be_bytes([header[2], header[3]]),
        ipv4,
        plain,
        opens: flags & (SYN | ACK) == SYN,
        segment: Segment {
            flags,
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledged: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            carries: length != u32::from(header[12] >> 4) * 4,
        },
    })
}
