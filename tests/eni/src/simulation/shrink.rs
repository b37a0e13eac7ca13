//! A shorter script that fails as well.

use super::{Script, Violation, run};

/// Scripts that are tried.
const TRIES: u32 = 500;

/// Leaves out as many steps as it can while the script still breaks the same rule.
pub fn shrink(script: &Script, violation: &Violation) -> (Script, Violation) {
    let (mut best, mut found) = (script.clone(), violation.clone());
    let mut chunk = best.steps.len().div_ceil(2);
    let mut tries = 0;
    while chunk > 0 && tries < TRIES {
        let (mut at, mut shorter) = (0, false);
        while at < best.steps.len() && tries < TRIES {
            tries += 1;
            let mut less = best.clone();
            let skipped: Vec<_> =
                less.steps.drain(at..(at + chunk).min(best.steps.len())).collect();
            // Time goes by all the same.
            let wait: u32 = skipped.iter().map(|step| step.wait).sum();
            if let Some(next) = less.steps.get_mut(at) {
                next.wait += wait;
            }
            match run(&less) {
                Err(v) if v.rule == found.rule => {
                    (best, found, shorter) = (less, v, true);
                }
                _ => at += chunk,
            }
        }
        if !shorter || chunk > 1 {
            chunk /= 2;
        }
    }
    (best, found)
}
