//! Pods of this node that reach each other past its stack. Pure, but for the thread that waits for news.

use crate::Input;
use penstock_cni::Alias;
use penstock_net::{Device, DeviceWatch, NetError, pods};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::mpsc,
    thread,
    time::Duration,
};

/// At the least between two looks because of news: a pod that comes makes a dozen of them.
const PAUSE: Duration = Duration::from_millis(10);

/// Pods by their addresses, with their devices on the node: those that are up and have the program
/// (`attached`). An address that two devices claim has none of them: the routes say whose it is.
pub(crate) fn pods(devices: &[Device], attached: &BTreeSet<u32>) -> BTreeMap<Ipv4Addr, u32> {
    let mut found = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for device in devices.iter().filter(|device| pods::is_wire(device)) {
        let Ok(Alias { address, .. }) = device.alias.parse() else { continue };
        if !claimed.insert(address) {
            found.remove(&address);
        } else if device.up && attached.contains(&device.index) {
            found.insert(address, device.index);
        }
    }
    found
}

/// Has the keeper look at once when a device of the calling thread's namespace comes or goes: the address
/// of a pod may be another one's next. Ends when the keeper has.
///
/// # Errors
/// The kernel does not tell; the keeper looks by itself every now and then.
pub fn watch_devices(keeper: mpsc::Sender<Input>) -> Result<(), NetError> {
    let watch = DeviceWatch::open()?;
    let wait = move || {
        loop {
            if let Err(error) = watch.wait() {
                tracing::warn!("{error}; new and old devices are noticed later");
                return;
            }
            // Without news too: that nobody receives any more is seen by sending only.
            if keeper.send(Input::Devices).is_err() {
                return;
            }
            thread::sleep(PAUSE);
        }
    };
    let thread = thread::Builder::new().name("devices".into()).spawn(wait);
    thread.map(drop).map_err(|source| NetError::Netlink { what: "watching devices", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, alias: &str) -> Device {
        Device {
            index,
            name: format!("pst{index:012x}"),
            kind: "veth".into(),
            ethernet: true,
            loopback: false,
            up: true,
            mac: [0; 6],
            mtu: 9001,
            alias: alias.into(),
        }
    }

    #[test]
    fn pods_are_known_by_devices_of_ours_that_are_up_and_have_the_program() {
        let of_pod = |index: u32| device(index, &format!("penstock 10.0.0.{index} eth0 c{index}"));
        let devices = [
            of_pod(3),
            Device { name: "veth4".into(), ..of_pod(4) },
            Device { kind: "dummy".into(), ..of_pod(5) },
            Device { up: false, ..of_pod(6) },
            device(7, "somebody else's"),
            of_pod(8),
            of_pod(9),
        ];
        let found = pods(&devices, &[3, 4, 5, 6, 7, 9].into());
        let expected = [(Ipv4Addr::new(10, 0, 0, 3), 3), (Ipv4Addr::new(10, 0, 0, 9), 9)];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn an_address_that_more_than_one_device_claims_is_left_to_the_routes() {
        let claims = |index| device(index, "penstock 10.0.0.1 eth0 c");
        let all = BTreeSet::from([1, 2, 3]);
        assert_eq!(pods(&[claims(1)], &all).len(), 1);
        assert_eq!(pods(&[claims(1), claims(2)], &all).len(), 0);
        assert_eq!(pods(&[claims(1), claims(2), claims(3)], &all).len(), 0);
        // One that is down may be the one that the route leads to.
        assert_eq!(pods(&[Device { up: false, ..claims(1) }, claims(2)], &all).len(), 0);
    }
}
