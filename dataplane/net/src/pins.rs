//! Where maps and links are pinned.
//!
//! ```text
//! DIR/v<layout>/<MAP>        the maps of a layout
//! DIR/tcx-<ifindex>          link to the ingress of a device
//! DIR/clsact-<ifindex>/      (a folder) a device with a filter instead of a link
//! DIR/namespace-<n>          link to the network namespace
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use penstock_ebpf_common::LAYOUT;

use crate::error::NetError;

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS: i64 = 0xcafe_4a11;

/// The folder with the pins.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    dir: PathBuf,
}

/// What a pin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pin {
    /// A link to a device.
    Tcx(u32),
    /// A device with a filter.
    Clsact(u32),
    /// A link to the namespace.
    Namespace(u32),
}

impl Pins {
    /// The pins in this folder, which is made where it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, NetError> {
        let pins = Self { dir: dir.to_owned() };
        let fail = |source: io::Error| NetError::Pins { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(fail)?;
        let kind = rustix::fs::statfs(dir).map_err(|errno| fail(errno.into()))?.f_type;
        // The width of the field is the machine's.
        #[allow(clippy::unnecessary_cast, reason = "needed on some machines")]
        if kind as i64 != BPF_FS {
            return Err(fail(io::Error::other("no BPF file system")));
        }
        fs::create_dir_all(pins.maps()).map_err(fail)?;
        Ok(pins)
    }

    /// The folder of the maps of this layout.
    fn maps(&self) -> PathBuf {
        self.dir.join(format!("v{LAYOUT}"))
    }

    /// Where a map is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where a link is pinned, or the folder that says that there is a filter.
    pub(crate) fn path(&self, pin: Pin) -> PathBuf {
        self.dir.join(match pin {
            Pin::Tcx(device) => format!("tcx-{device}"),
            Pin::Clsact(device) => format!("clsact-{device}"),
            Pin::Namespace(number) => format!("namespace-{number}"),
        })
    }

    /// What is pinned beside the maps, in order.
    pub(crate) fn list(&self) -> Vec<Pin> {
        let mut pins: Vec<Pin> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| parse(entry.ok()?.file_name().to_str()?))
            .collect();
        pins.sort_unstable();
        pins
    }

    /// Makes the folder that says that a device has a filter.
    pub(crate) fn note(&self, pin: Pin) -> Result<(), NetError> {
        let path = self.path(pin);
        match fs::create_dir(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(NetError::Pins { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Takes a pin away; with a link's pin goes the link, once nobody else holds it.
    pub(crate) fn remove(&self, pin: Pin) -> Result<(), NetError> {
        let path = self.path(pin);
        let removed = match pin {
            Pin::Clsact(_) => fs::remove_dir(&path),
            Pin::Tcx(_) | Pin::Namespace(_) => fs::remove_file(&path),
        };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(NetError::Pins { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Takes the maps of all layouts but this one away.
    pub(crate) fn remove_other_layouts(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let other = entry.path() != self.maps();
            let layout = entry.file_name().to_str().is_some_and(is_layout);
            if other && layout {
                // Maps that cannot be removed now are tried again by the next load, and cost memory only.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Takes everything away.
    pub(crate) fn remove_all(self) -> Result<(), NetError> {
        let fail = |source| NetError::Pins { path: self.dir.clone(), source };
        for entry in fs::read_dir(&self.dir).map_err(fail)?.flatten() {
            if entry.file_name().to_str().is_some_and(is_layout) {
                fs::remove_dir_all(entry.path()).map_err(fail)?;
            }
        }
        // The folder may be a mount, or hold what is not ours: then it stays.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }
}

fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
}

fn parse(name: &str) -> Option<Pin> {
    let (kind, number) = name.split_once('-')?;
    let number = number.parse().ok()?;
    match kind {
        "tcx" => Some(Pin::Tcx(number)),
        "clsact" => Some(Pin::Clsact(number)),
        "namespace" => Some(Pin::Namespace(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_not_ours() {
        let pins = Pins { dir: PathBuf::from("/d") };
        for pin in [Pin::Tcx(3), Pin::Clsact(4), Pin::Namespace(0)] {
            let path = pins.path(pin);
            assert_eq!(parse(path.file_name().unwrap().to_str().unwrap()), Some(pin));
        }
        for other in ["v1", "tcx-", "tcx-eth0", "xdp-3", "LISTENERS"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_folder_that_is_no_bpf_file_system_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = Pins::open(dir.path()).unwrap_err();
        assert_eq!(error.reason(), "Pins");
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    }
}
