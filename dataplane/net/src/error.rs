//! What can go wrong with the kernel.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use thiserror::Error;

/// What went wrong. Except for [`NetError::Device`] and [`NetError::TooMany`], what the caller asked for
/// was right and the node is at fault: [`crate::probe()`] tells which part of it.
#[derive(Debug, Error)]
pub enum NetError {
    /// The folder for pins is on no BPF file system, or cannot be written.
    #[error("{path}: {source}; remedy: mount -t bpf bpffs on it or on a folder above it")]
    Pins {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The programs were not loaded.
    #[error("the steering programs were not loaded: {0}")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused a program, or to attach it.
    #[error("{what}: {source}")]
    Program {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A map was not read or written.
    #[error("map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// No such device in this namespace, or one that carries no Ethernet frames. Trying again helps
    /// only when the device comes.
    #[error("device {name}: {reason}")]
    Device {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// More of something than its map holds; nothing was changed.
    #[error("{count} {what}, and at most {most} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// How many fit.
        most: u32,
    },
    /// The kernel refused a route, a rule or a table of rules.
    #[error("{what}: {source}")]
    Netlink {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A socket was not made.
    #[error("{what}: {source}")]
    Socket {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl NetError {
    /// Its bounded name in metrics and conditions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Pins { .. } => "Pins",
            Self::Load(_) => "Load",
            Self::Program { .. } => "Program",
            Self::Map { .. } => "Map",
            Self::Device { .. } => "Device",
            Self::TooMany { .. } => "TooMany",
            Self::Netlink { .. } => "Netlink",
            Self::Socket { .. } => "Socket",
        }
    }

    pub(crate) fn program(what: &'static str) -> impl Fn(ProgramError) -> Self {
        move |source| Self::Program { what, source: Box::new(source) }
    }

    pub(crate) fn map(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map { map, source }
    }

    pub(crate) fn netlink(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Netlink { what, source }
    }

    pub(crate) fn socket(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Socket { what, source }
    }
}
