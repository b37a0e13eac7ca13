//! What a node process is.

use std::fmt;

/// What a node process is, and so what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Serves requests: told everything.
    Proxy,
    /// Steers packets: told where clients come in; no certificate, no key, no route.
    Agent,
}

impl Role {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Proxy => "proxy",
            Role::Agent => "agent",
        }
    }

    /// Its number on the wire; 0 is none, so that a missing role is not taken for one.
    pub fn number(self) -> u32 {
        match self {
            Role::Proxy => 1,
            Role::Agent => 2,
        }
    }

    /// The role of a number on the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        [Role::Proxy, Role::Agent].into_iter().find(|role| role.number() == number)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
