//! What operator and agents never do, whatever happens to them.
//!
//! `PENSTOCK_ENI_STEPS` makes it longer, `PENSTOCK_ENI_SEED` begins with another seed, and
//! `PENSTOCK_ENI_SCRIPT` names a file with a script that a failure printed.

use penstock_test_eni::simulation::{Script, Violation, run, shrink};

const LENGTH: usize = 250;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn fail(script: &Script, violation: &Violation) -> ! {
    eprintln!("seed {}: {violation}; looking for a shorter script", script.seed);
    let (least, found) = shrink(script, violation);
    panic!("{violation}\nThe shortest script found breaks it so: {found}\n{least}");
}

#[test]
fn no_address_is_of_two_pods_none_in_use_is_unassigned_none_is_lost_and_nothing_leaks() {
    let (steps, first) = (number("PENSTOCK_ENI_STEPS", 40_000), number("PENSTOCK_ENI_SEED", 1));
    for seed in first..first + steps.div_ceil(LENGTH as u64) {
        let script = Script::random(seed, LENGTH);
        if let Err(violation) = run(&script) {
            fail(&script, &violation);
        }
    }
}

/// Scripts that once failed: those in `scripts/`, and the one that is named.
#[test]
fn scripts_that_once_failed_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    let kept = std::fs::read_dir(folder).expect("there are scripts");
    let mut paths: Vec<_> = kept.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!paths.is_empty(), "there are scripts");
    paths.extend(std::env::var_os("PENSTOCK_ENI_SCRIPT").map(Into::into));
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("the script can be read");
        let script: Script = text.parse().expect("it is a script");
        if let Err(violation) = run(&script) {
            panic!("{}: {violation}", path.display());
        }
    }
}
