//! Which pods get packets of others of the node straight.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use penstock_ebpf_common::{MAX_PODS, Settings};

use crate::error::NetError;
use crate::program::PODS;
use crate::steering::{Changes, Steering};

impl Steering {
    /// Brings the pods between which connections pass the stack by to these: each address with the index
    /// of the node's end of its wire (see [`crate::pods`]), which must have the program: of a connection
    /// both directions pass the stack by, or none. Others are not touched on the way; connections that
    /// are open go on, by the stack where a pod is missing now.
    ///
    /// # Errors
    /// Too many, or the map was not written: then part of the change may have been made.
    pub fn set_pods(&mut self, pods: &BTreeMap<Ipv4Addr, u32>) -> Result<Changes, NetError> {
        if pods.len() > MAX_PODS as usize {
            return Err(NetError::TooMany { what: PODS, count: pods.len(), most: MAX_PODS });
        }
        let there = self.pods()?;
        let mut changes = Changes::default();
        // What is gone first: its device leads nowhere.
        for address in there.keys().filter(|address| !pods.contains_key(address)) {
            self.pods.remove(&address.octets()).map_err(NetError::map(PODS))?;
            changes.removed += 1;
        }
        for (address, device) in
            pods.iter().filter(|(address, device)| there.get(address) != Some(device))
        {
            self.pods.insert(address.octets(), device, 0).map_err(NetError::map(PODS))?;
            changes.added += 1;
        }
        let settings = self.read_settings()?;
        let wanted = Settings { pods: u32::from(!pods.is_empty()), ..settings };
        if wanted != settings {
            self.write_settings(wanted)?;
        }
        Ok(changes)
    }

    /// The pods that there are for the programs.
    ///
    /// # Errors
    /// The map was not read.
    pub fn pods(&self) -> Result<BTreeMap<Ipv4Addr, u32>, NetError> {
        let entry =
            |entry: Result<([u8; 4], u32), _>| entry.map(|(key, device)| (key.into(), device));
        self.pods.iter().map(entry).collect::<Result<_, _>>().map_err(NetError::map(PODS))
    }
}
