//! Names of endpoints (Services of type ExternalName).

use hashbrown::HashMap;
use std::{
    cell::RefCell,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an answer is used. Short, since the system's resolver does not tell the record's own.
const KEEP: Duration = Duration::from_secs(5);

/// Addresses by name, each worker's own.
#[derive(Debug, Default)]
pub struct Resolver {
    known: RefCell<HashMap<Arc<str>, Answer>>,
}

#[derive(Debug)]
struct Answer {
    until: Instant,
    addresses: Arc<[IpAddr]>,
    next: usize,
}

impl Resolver {
    /// An address of a name; each call takes the next one.
    ///
    /// # Errors
    /// The name does not exist or the resolver does not answer; a retry can help.
    pub async fn resolve(&self, name: &Arc<str>) -> io::Result<IpAddr> {
        if let Some(address) = self.cached(name, Instant::now()) {
            return Ok(address);
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in tokio::net::lookup_host((&**name, 0)).await? {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let answer = Answer { until: Instant::now() + KEEP, addresses: addresses.into(), next: 0 };
        self.known.borrow_mut().insert(name.clone(), answer);
        self.cached(name, Instant::now())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }

    fn cached(&self, name: &Arc<str>, now: Instant) -> Option<IpAddr> {
        let mut known = self.known.borrow_mut();
        let answer = known.get_mut(name).filter(|answer| answer.until > now)?;
        let address = *answer.addresses.get(answer.next % answer.addresses.len())?;
        answer.next = answer.next.wrapping_add(1);
        Some(address)
    }

    /// Forgets answers that are no longer used.
    pub fn prune(&self) {
        let now = Instant::now();
        self.known.borrow_mut().retain(|_, answer| answer.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_name_are_used_in_turn_until_the_answer_is_old() {
        let resolver = Resolver::default();
        let name: Arc<str> = "example.com".into();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Instant::now();
        let answer = Answer { until: now + KEEP, addresses: [one, two].into(), next: 0 };
        resolver.known.borrow_mut().insert(name.clone(), answer);
        let found: Vec<_> = (0..3).map(|_| resolver.cached(&name, now)).collect();
        assert_eq!(found, [Some(one), Some(two), Some(one)]);
        assert_eq!(resolver.cached(&name, now + KEEP), None);
    }
}
