//! Programs on devices and on the namespace.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use aya::programs::links::{FdLink, Link as _, LinkError, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, SkLookup, TcAttachType};
use rustix::io::Errno;

use crate::devices::{Device, device_named, devices};
use crate::error::NetError;
use crate::pins::{Pin, Pins};
use crate::program::{FIND, STEER, program};
use crate::steering::Steering;

/// Priority and handle of the filter where there are no links: ours alone.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x5053);

const DEVICE: &str = "attaching to a device";
const NAMESPACE: &str = "attaching to the namespace";

/// How a program sits on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// By a link (tcx, Linux 6.6): before all other programs, and replaced without a gap.
    Tcx,
    /// As a filter of the device's `clsact` queueing discipline: before other filters of a higher
    /// number, and replaced without a gap.
    Clsact,
}

impl Steering {
    /// Puts the program on the ingress of a device, or this program in the place of an older one.
    /// By a link where the kernel has them, else as a filter.
    ///
    /// # Errors
    /// No such device, one without Ethernet frames, or the kernel refuses.
    pub fn attach(&mut self, device: &str) -> Result<Hook, NetError> {
        match self.attach_by(device, Hook::Tcx) {
            Err(NetError::Program { source, .. }) if has_no_links(&source) => {
                self.attach_by(device, Hook::Clsact)
            }
            other => other,
        }
    }

    /// As [`Self::attach`], by this hook and no other.
    ///
    /// # Errors
    /// As [`Self::attach`]; for [`Hook::Tcx`] also a kernel without it.
    pub fn attach_by(&mut self, device: &str, hook: Hook) -> Result<Hook, NetError> {
        let device = device_named(device)?;
        let Self { pins, ebpf, .. } = self;
        let steer: &mut SchedClassifier = program(ebpf, STEER)?;
        match hook {
            Hook::Tcx => link(pins, steer, &device)?,
            Hook::Clsact => filter(pins, steer, &device)?,
        }
        Ok(hook)
    }

    /// Takes the program off a device; one that is gone has none.
    ///
    /// # Errors
    /// The pin was not removed, or the filter.
    pub fn detach(&mut self, index: u32) -> Result<(), NetError> {
        remove(&self.pins, Pin::Tcx(index))?;
        remove(&self.pins, Pin::Clsact(index))
    }

    /// Puts this program in the place of an older one, wherever one is attached, and on the
    /// namespace; forgets devices that are gone. After this the older program runs nowhere.
    ///
    /// # Errors
    /// The kernel refuses; some devices may still have the older one.
    pub fn replace(&mut self) -> Result<(), NetError> {
        let there = devices()?;
        for pin in self.pins.list() {
            let (Pin::Tcx(index) | Pin::Clsact(index)) = pin else { continue };
            match there.iter().find(|device| device.index == index) {
                None => remove(&self.pins, pin)?,
                Some(device) => {
                    let hook = if matches!(pin, Pin::Tcx(_)) { Hook::Tcx } else { Hook::Clsact };
                    self.attach_by(&device.name, hook)?;
                }
            }
        }
        self.attach_namespace()?;
        self.pins.remove_other_layouts();
        Ok(())
    }

    /// Indices of the devices that have the program.
    #[must_use]
    pub fn attached(&self) -> BTreeSet<u32> {
        let index = |pin| match pin {
            Pin::Tcx(index) | Pin::Clsact(index) => Some(index),
            Pin::Namespace(_) => None,
        };
        self.pins.list().into_iter().filter_map(index).collect()
    }

    /// The new one first, then the older ones go: a lookup in between asks both, and the first that
    /// finds a socket is right.
    fn attach_namespace(&mut self) -> Result<(), NetError> {
        let Self { pins, ebpf, .. } = self;
        let older: Vec<Pin> =
            pins.list().into_iter().filter(|pin| matches!(pin, Pin::Namespace(_))).collect();
        let number = match older.last() {
            Some(Pin::Namespace(number)) => number.wrapping_add(1),
            _ => 0,
        };
        let namespace = File::open("/proc/thread-self/ns/net")
            .map_err(NetError::netlink("opening the namespace"))?;
        let find: &mut SkLookup = program(ebpf, FIND)?;
        let id = find.attach(namespace).map_err(NetError::program(NAMESPACE))?;
        let link: FdLink = find.take_link(id).map_err(NetError::program(NAMESPACE))?.into();
        pin(pins, link, Pin::Namespace(number))?;
        older.into_iter().try_for_each(|pin| pins.remove(pin))
    }
}

/// Takes a program off.
pub(crate) fn remove(pins: &Pins, pin: Pin) -> Result<(), NetError> {
    if let Pin::Clsact(index) = pin
        && pins.path(pin).exists()
        && let Some(device) = devices()?.into_iter().find(|device| device.index == index)
    {
        match present_filter(&device)?.detach() {
            Err(ProgramError::NetlinkError(error)) if is_absent(error.raw_os_error()) => {}
            other => other.map_err(NetError::program("removing the filter of a device"))?,
        }
    }
    pins.remove(pin)
}

fn link(pins: &Pins, steer: &mut SchedClassifier, device: &Device) -> Result<(), NetError> {
    let at = Pin::Tcx(device.index);
    if let Ok(pinned) = PinnedLink::from_pin(pins.path(at)) {
        match replace_link(steer, pinned.into()) {
            Ok(()) => return Ok(()),
            // The device is another one of the same number, and the link dead (ENOLINK).
            Err(_) => pins.remove(at)?,
        }
    }
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = steer
        .attach_with_options(&device.name, TcAttachType::Ingress, order)
        .map_err(NetError::program(DEVICE))?;
    let link = steer.take_link(id).map_err(NetError::program(DEVICE))?;
    let link = FdLink::try_from(link).map_err(|error| NetError::program(DEVICE)(of_link(error)))?;
    pin(pins, link, at)
}

fn replace_link(steer: &mut SchedClassifier, link: FdLink) -> Result<(), ProgramError> {
    let link = SchedClassifierLink::try_from(link).map_err(of_link)?;
    let id = steer.attach_to_link(link)?;
    // Closed here, and kept by its pin.
    let _: FdLink = FdLink::try_from(steer.take_link(id)?).map_err(of_link)?;
    Ok(())
}

fn filter(pins: &Pins, steer: &mut SchedClassifier, device: &Device) -> Result<(), NetError> {
    match qdisc_add_clsact(&device.name) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == raw(Errno::EXIST) => {}
        other => {
            other.map_err(|error| NetError::program(DEVICE)(ProgramError::TcError(error)))?;
        }
    }
    // The filter that is there is replaced; where there is none, one is made.
    let id = match steer.attach_to_link(present_filter(device)?) {
        Ok(id) => id,
        Err(_) => {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
            let options = TcAttachOptions::Netlink(options);
            steer
                .attach_with_options(&device.name, TcAttachType::Ingress, options)
                .map_err(NetError::program(DEVICE))?
        }
    };
    // A filter stays until it is removed by name; dropping the handle would remove it.
    std::mem::forget(steer.take_link(id).map_err(NetError::program(DEVICE))?);
    pins.note(Pin::Clsact(device.index))
}

fn present_filter(device: &Device) -> Result<SchedClassifierLink, NetError> {
    let ingress = TcAttachType::Ingress;
    SchedClassifierLink::attached(&device.name, ingress, PRIORITY, HANDLE, None)
        .map_err(NetError::netlink("finding a device"))
}

fn pin(pins: &Pins, link: FdLink, at: Pin) -> Result<(), NetError> {
    let path = pins.path(at);
    link.pin(&path)
        .map(drop)
        .map_err(|error| NetError::Pins { path, source: io::Error::other(error) })
}

fn of_link(error: LinkError) -> ProgramError {
    match error {
        LinkError::SyscallError(error) => ProgramError::SyscallError(error),
        LinkError::InvalidLink | LinkError::UnknownLinkType(_) => ProgramError::NotAttached,
    }
}

fn raw(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

/// What a kernel says of a filter, or of the discipline that it would be in, that is not there.
fn is_absent(errno: Option<i32>) -> bool {
    errno == raw(Errno::NOENT) || errno == raw(Errno::INVAL)
}

/// Before Linux 6.6 the attach type is unknown.
fn has_no_links(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error)
        if [raw(Errno::INVAL), raw(Errno::OPNOTSUPP)].contains(&error.io_error.raw_os_error()))
}
