//! News of devices.

use crate::error::NetError;
use crate::netlink::Netlink;

/// `RTMGRP_LINK` (linux/rtnetlink.h).
const LINKS: u32 = 1;

/// Told by the kernel when a device of a network namespace comes, changes or goes.
pub struct DeviceWatch(Netlink);

impl DeviceWatch {
    /// Of the calling thread's namespace, from now on.
    ///
    /// # Errors
    /// The kernel has no such socket to give.
    pub fn open() -> Result<Self, NetError> {
        Netlink::listening(LINKS).map(Self).map_err(NetError::netlink("watching devices"))
    }

    /// Waits for something to happen, for five seconds at most. Whether something did; what it was,
    /// [`crate::devices()`] tells.
    ///
    /// # Errors
    /// The socket broke.
    pub fn wait(&self) -> Result<bool, NetError> {
        self.0.news().map_err(NetError::netlink("watching devices"))
    }
}

impl std::fmt::Debug for DeviceWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceWatch").finish_non_exhaustive()
    }
}
