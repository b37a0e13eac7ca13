//! An A/B split: who has chosen a variant by cookie gets it, anybody else is assigned one by
//! address, always the same.

use penstock_filter::prelude::*;

/// Which backends take part.
#[config]
pub struct AbSplit {
    /// Name of the cookie that holds the name of a backend.
    #[serde(default = "variant")]
    cookie: String,
    /// The backends, as the rule's backendRefs name them.
    backends: Vec<Variant>,
}

/// A backend and its share.
#[config]
pub struct Variant {
    /// Name of the backend.
    name: String,
    /// Its share of the users, relative to the others.
    weight: u32,
}

fn variant() -> String {
    "variant".to_owned()
}

/// Chooses a backend by the cookie, else by the client's address. The choice depends on these alone,
/// so every gateway makes the same one and none has to remember it.
#[path_policy]
impl AbSplit {
    /// Checks what a schema cannot say. Without this function every configuration that can be read
    /// is accepted.
    fn configure(config: AbSplit) -> Result<AbSplit, Problem> {
        if config.total() == 0 {
            return Err(Problem::at("/backends", "give one backend a weight above 0"));
        }
        Ok(config)
    }

    // An attribute may use the configuration: which cookie is read is up to the user.
    #[memo(1024)]
    fn decide(
        &self,
        #[cookie(&self.cookie)] chosen: Option<&str>,
        #[client_address] address: &str,
    ) -> PathDecision {
        let chosen = self.backends.iter().find(|variant| Some(variant.name.as_str()) == chosen);
        backend(&chosen.unwrap_or_else(|| self.assigned(address)).name)
    }

    fn total(&self) -> u64 {
        self.backends.iter().map(|variant| u64::from(variant.weight)).sum()
    }

    /// The backend in whose share of the numbers from 0 to the total the address falls.
    fn assigned(&self, address: &str) -> &Variant {
        let mut at = hash(address) % self.total();
        let falls_in = |variant: &&Variant| match at.checked_sub(u64::from(variant.weight)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        };
        self.backends.iter().find(falls_in).unwrap_or(&self.backends[0])
    }
}

/// FNV-1a with a final mix: the same on every machine, unlike the standard library's hasher.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AbSplit {
        let json = r#"{"backends": [{"name": "web", "weight": 3}, {"name": "beta", "weight": 1}]}"#;
        from_json(json).unwrap()
    }

    #[test]
    fn a_known_cookie_decides() {
        assert_eq!(policy().decide(Some("beta"), "192.0.2.1"), backend("beta"));
        let other = policy().decide(None, "192.0.2.1");
        assert_eq!(policy().decide(Some("nowhere"), "192.0.2.1"), other);
    }

    #[test]
    fn shares_follow_the_weights_and_an_address_keeps_its_backend() {
        let policy = policy();
        let mut beta = 0;
        for n in 0..4000_u32 {
            let address = std::net::Ipv4Addr::from(0xc000_0200 + n).to_string();
            let decision = policy.decide(None, &address);
            assert_eq!(policy.decide(None, &address), decision);
            beta += u32::from(decision == backend("beta"));
        }
        assert!((900..1100).contains(&beta), "{beta} of 4000 for a share of a quarter");
    }

    #[test]
    fn without_any_weight_the_configuration_is_refused() {
        for json in [r#"{"backends": []}"#, r#"{"backends": [{"name": "a", "weight": 0}]}"#] {
            let problem = AbSplit::configure(from_json(json).unwrap()).unwrap_err();
            assert_eq!(problem.pointer, "/backends");
        }
    }
}
