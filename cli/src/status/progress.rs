//! What is told while somebody waits: changes, and nothing else.

use crate::cluster::Problem;
use std::{collections::BTreeSet, time::Duration};

/// Lines on what is new and what is solved since the last look; empty where nothing changed. The
/// words of a problem may change (they hold times); what it is about and its reason make it the same.
pub(crate) fn lines(before: &[Problem], now: &[Problem], elapsed: Duration) -> Vec<String> {
    let key = |problem: &Problem| (problem.object.clone(), problem.reason.clone());
    let old: BTreeSet<_> = before.iter().map(key).collect();
    let new: BTreeSet<_> = now.iter().map(key).collect();
    let solved = before.iter().filter(|problem| !new.contains(&key(problem)));
    let solved = solved.map(|problem| format!("solved: {} ({})", problem.object, problem.reason));
    let added = now.iter().filter(|problem| !old.contains(&key(problem)));
    let added = added.map(|problem| format!("waiting: {problem}"));
    let mut seen = BTreeSet::new();
    let lines = solved.chain(added).filter(|line| seen.insert(line.clone()));
    lines.map(|line| format!("{:>4} s  {line}", elapsed.as_secs())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let problem = |object: &str, cause: &str| Problem::new(object, "R", cause, "do");
        let at = Duration::from_secs(7);
        let (a, b) = (problem("Pod n/a", "c"), problem("Pod n/b", "c"));
        let both = [a.clone(), b.clone()];
        assert_eq!(
            lines(&[], &both, at),
            ["   7 s  waiting: Pod n/a: c; do", "   7 s  waiting: Pod n/b: c; do"]
        );
        assert_eq!(lines(&both, &[b], at), ["   7 s  solved: Pod n/a (R)"]);
        let worded = problem("Pod n/a", "back-off 20s");
        assert!(lines(&[a], &[worded], at).is_empty(), "a time in a message is no change");
    }
}
