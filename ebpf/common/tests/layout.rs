//! The bytes of user space are the layout of the kernel side: same size, same offsets, nothing between.

use core::mem::{offset_of, size_of};

use penstock_ebpf_common::{
    ANY_ADDRESS, Event, ListenerKey, Ports, Reason, Settings, TCP, Worker, mapped,
};
use proptest::prelude::*;

#[test]
fn listener_key_has_no_padding_and_the_port_in_wire_order() {
    assert_eq!(size_of::<ListenerKey>(), 20);
    let key = ListenerKey::tcp(mapped([192, 0, 2, 1]), 443);
    let bytes = key.to_bytes();
    assert_eq!(offset_of!(ListenerKey, port), 16);
    assert_eq!(bytes[10..], [0xff, 0xff, 192, 0, 2, 1, 1, 0xbb, TCP, 0]);
    assert_ne!(key.address, ANY_ADDRESS);
}

#[test]
fn event_offsets_are_those_that_user_space_reads() {
    assert_eq!(size_of::<Event>(), Event::SIZE);
    let mut bytes = [0u8; Event::SIZE];
    bytes[offset_of!(Event, time)..][..8].copy_from_slice(&7u64.to_ne_bytes());
    bytes[offset_of!(Event, source)] = 1;
    bytes[offset_of!(Event, destination)] = 2;
    bytes[offset_of!(Event, source_port)..][..2].copy_from_slice(&[3, 4]);
    bytes[offset_of!(Event, destination_port)..][..2].copy_from_slice(&[5, 6]);
    bytes[offset_of!(Event, device)..][..4].copy_from_slice(&8u32.to_ne_bytes());
    bytes[offset_of!(Event, reason)..][..4].copy_from_slice(&9u32.to_ne_bytes());
    bytes[offset_of!(Event, worker)..][..4].copy_from_slice(&10u32.to_ne_bytes());
    let event = Event::from_bytes(&bytes).expect("of the right size");
    assert_eq!((event.time, event.source[0], event.destination[0]), (7, 1, 2));
    assert_eq!((event.source_port, event.destination_port), ([3, 4], [5, 6]));
    assert_eq!((event.device, event.reason, event.worker), (8, 9, 10));
    assert_eq!(Event::from_bytes(&bytes[1..]), None);
}

#[test]
fn every_reason_has_its_number_and_a_name_of_its_own() {
    for (number, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, number);
        assert_eq!(Reason::from_number(number as u32), Some(reason));
        let same = Reason::ALL.iter().filter(|other| other.name() == reason.name()).count();
        assert_eq!(same, 1, "{}", reason.name());
    }
    assert_eq!(Reason::from_number(Reason::COUNT), None);
}

#[test]
fn a_port_is_known_by_the_kinds_of_its_listeners_and_its_neighbours_are_not() {
    assert_eq!(size_of::<Ports>(), Ports::SIZE);
    for port in [0, 1, 15, 16, 443, 30_080, u16::MAX] {
        let mut ports = Ports::NONE;
        ports.add(&ListenerKey::tcp(mapped([192, 0, 2, 1]), port));
        assert_eq!(ports.of(port), Ports::ADDRESS);
        let bytes = ports.to_bytes();
        let word = usize::from(port >> 4) * 4;
        assert_eq!(bytes[word..][..4], (1u32 << ((port & 15) * 2)).to_ne_bytes());
        ports.add(&ListenerKey::tcp(ANY_ADDRESS, port));
        assert_eq!(ports.of(port), Ports::ADDRESS | Ports::ANY);
        for other in (0..=u16::MAX).filter(|other| *other != port) {
            assert_eq!(ports.of(other), 0, "{other} beside {port}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        address: [u8; 16], port: u16, load: u64, open: u64, workers: u32, sample: u32, pods: u32
    ) {
        let key = ListenerKey::tcp(address, port);
        prop_assert_eq!(ListenerKey::from_bytes(key.to_bytes()), key);
        let worker = Worker { load, open };
        prop_assert_eq!(size_of::<Worker>(), worker.to_bytes().len());
        prop_assert_eq!(Worker::from_bytes(worker.to_bytes()), worker);
        let settings = Settings { workers, sample, pods };
        prop_assert_eq!(size_of::<Settings>(), settings.to_bytes().len());
        prop_assert_eq!(Settings::from_bytes(settings.to_bytes()), settings);
    }
}
