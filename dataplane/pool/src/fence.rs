//! What is asked back.

use crate::kept::Kept;
use penstock_config::address::{Held, NodeAddresses, Verdict};

impl Kept {
    /// Takes in what the node is told, unless it knows something newer, and answers its proposals.
    pub(crate) fn tell(&mut self, told: NodeAddresses) -> bool {
        if told.epoch <= self.told.epoch {
            return false;
        }
        self.told = told;
        let (told, epoch) = (&self.told, self.told.epoch);
        self.verdicts.retain(|held, (of, verdict)| {
            let is_there = told.interfaces.get(&held.interface).is_some_and(|interface| {
                held.unit.is_none_or(|unit| interface.units.contains(&unit))
            });
            let stands = told.proposals.contains_key(held);
            is_there && (stands || (*verdict == Verdict::Fenced && of.term < epoch.term))
        });
        let proposals: Vec<_> =
            told.proposals.iter().map(|(held, proposal)| (held.clone(), proposal.epoch)).collect();
        for (held, epoch) in proposals {
            if self.verdicts.get(&held).is_none_or(|(answered, _)| *answered != epoch) {
                let verdict = self.judge(&held);
                self.verdicts.insert(held, (epoch, verdict));
            }
        }
        true
    }

    fn judge(&self, held: &Held) -> Verdict {
        if self.uses(held) > 0 { Verdict::InUse } else { Verdict::Fenced }
    }

    /// How many pods use something, whatever the node was told of it since. An address alone does not
    /// say of what it is: EC2 may have given it anew, as a part of something else.
    pub(crate) fn uses(&self, held: &Held) -> u32 {
        let own = self.pods.values().filter(|granted| {
            granted.of.interface == held.interface
                && (held.unit.is_none() || granted.of.unit == held.unit)
        });
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    /// Whether nobody may get anything of it.
    pub(crate) fn is_fenced(&self, held: &Held) -> bool {
        let fenced = |held: &Held| {
            self.verdicts.get(held).is_some_and(|(_, verdict)| *verdict == Verdict::Fenced)
        };
        fenced(held) || fenced(&Held::interface(&held.interface))
    }
}
