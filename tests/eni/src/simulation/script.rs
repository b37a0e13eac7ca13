//! What is done to a cluster, step by step, as text that can be run again.

use std::{fmt, str::FromStr};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A pod starts on a node.
    Start(u8),
    /// So many at once.
    Burst(u8, u8),
    /// The n-th of a node's pods ends.
    Stop(u8, u8),
    /// All pods of a node end.
    StopAll(u8),
    /// The operator ends; the next one leads after so many seconds.
    OperatorEnds(u8),
    /// A node's agent ends, and begins again after so many seconds.
    AgentEnds(u8, u8),
    /// A node's agent ends after it wrote down a pod's address and before it said so.
    AgentEndsInAdd(u8),
    /// The next calls do not reach EC2, and nobody says so.
    CallsLost(u8),
    /// The next calls take effect, and their answers are lost.
    AnswersLost(u8),
    /// The next calls are throttled.
    Throttled(u8),
    /// What node and operator say to each other is lost for so many seconds.
    Silence(u8, u8),
    /// Others take addresses of the first subnet.
    Taken(u8),
    /// And give all of them back.
    GivenBack,
    /// A node's instance ends, and another one takes its place.
    Replaced(u8),
}

/// A move, and how long nothing is done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In milliseconds.
    pub wait: u32,
    /// What happens then.
    pub does: Move,
}

/// A script. Whatever chance decides within, the seed does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Decides delays, lags, and what else chance does.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u8,
    /// In order.
    pub steps: Vec<Step>,
}

/// A text that is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is no step of a script")]
pub struct ScriptError {
    /// Counted from one.
    pub line: usize,
    /// What is there.
    pub text: String,
}

impl Script {
    /// A script that a seed makes.
    pub fn random(seed: u64, length: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes = random.u8(1..=3);
        // Every other one is about leaders that follow each other while much is given back.
        let leaders = seed.is_multiple_of(2);
        let steps = (0..length).map(|_| Step {
            wait: if random.u8(..) < 200 { random.u32(0..800) } else { random.u32(0..12_000) },
            does: match leaders && random.u8(..) < 100 {
                true => Move::of_leaders(&mut random, nodes),
                false => Move::random(&mut random, nodes),
            },
        });
        Self { seed, nodes, steps: steps.collect() }
    }
}

impl Move {
    fn random(random: &mut fastrand::Rng, nodes: u8) -> Self {
        let node = random.u8(0..nodes);
        match random.u8(0..100) {
            0..38 => Self::Start(node),
            38..42 => Self::Burst(node, random.u8(2..20)),
            42..72 => Self::Stop(node, random.u8(..)),
            72..78 => Self::StopAll(node),
            78..82 => Self::OperatorEnds(random.u8(0..40)),
            82..86 => Self::AgentEnds(node, random.u8(0..15)),
            86..88 => Self::AgentEndsInAdd(node),
            88..90 => Self::CallsLost(random.u8(1..4)),
            90..93 => Self::AnswersLost(random.u8(1..4)),
            93..95 => Self::Throttled(random.u8(1..6)),
            95..97 => Self::Silence(node, random.u8(1..20)),
            97 => Self::Taken(random.u8(..)),
            98 => Self::GivenBack,
            _ => Self::Replaced(node),
        }
    }

    fn of_leaders(random: &mut fastrand::Rng, nodes: u8) -> Self {
        let node = random.u8(0..nodes);
        match random.u8(0..10) {
            0..3 => Self::Burst(node, random.u8(2..20)),
            3..6 => Self::StopAll(node),
            6..9 => Self::OperatorEnds(random.u8(0..2)),
            _ => Self::AnswersLost(1),
        }
    }

    /// Its name and numbers.
    fn parts(self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Start(node) => ("start", vec![node]),
            Self::Burst(node, count) => ("burst", vec![node, count]),
            Self::Stop(node, pod) => ("stop", vec![node, pod]),
            Self::StopAll(node) => ("stop-all", vec![node]),
            Self::OperatorEnds(secs) => ("operator-ends", vec![secs]),
            Self::AgentEnds(node, secs) => ("agent-ends", vec![node, secs]),
            Self::AgentEndsInAdd(node) => ("agent-ends-in-add", vec![node]),
            Self::CallsLost(count) => ("calls-lost", vec![count]),
            Self::AnswersLost(count) => ("answers-lost", vec![count]),
            Self::Throttled(count) => ("throttled", vec![count]),
            Self::Silence(node, secs) => ("silence", vec![node, secs]),
            Self::Taken(count) => ("taken", vec![count]),
            Self::GivenBack => ("given-back", vec![]),
            Self::Replaced(node) => ("replaced", vec![node]),
        }
    }

    fn from_parts(name: &str, numbers: &[u8]) -> Option<Self> {
        Some(match (name, numbers) {
            ("start", &[node]) => Self::Start(node),
            ("burst", &[node, count]) => Self::Burst(node, count),
            ("stop", &[node, pod]) => Self::Stop(node, pod),
            ("stop-all", &[node]) => Self::StopAll(node),
            ("operator-ends", &[secs]) => Self::OperatorEnds(secs),
            ("agent-ends", &[node, secs]) => Self::AgentEnds(node, secs),
            ("agent-ends-in-add", &[node]) => Self::AgentEndsInAdd(node),
            ("calls-lost", &[count]) => Self::CallsLost(count),
            ("answers-lost", &[count]) => Self::AnswersLost(count),
            ("throttled", &[count]) => Self::Throttled(count),
            ("silence", &[node, secs]) => Self::Silence(node, secs),
            ("taken", &[count]) => Self::Taken(count),
            ("given-back", []) => Self::GivenBack,
            ("replaced", &[node]) => Self::Replaced(node),
            _ => return None,
        })
    }
}

/// `seed 7 nodes 2`, then a line for each step: `+120 start 0`.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} nodes {}", self.seed, self.nodes)?;
        for step in &self.steps {
            let (name, numbers) = step.does.parts();
            write!(f, "+{} {name}", step.wait)?;
            numbers.iter().try_for_each(|number| write!(f, " {number}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let mut script = Self { seed: 0, nodes: 1, steps: Vec::new() };
        for (number, line) in lines {
            let error = || ScriptError { line: number + 1, text: line.to_owned() };
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["seed", seed, "nodes", nodes] => {
                    script.seed = seed.parse().map_err(|_| error())?;
                    script.nodes = nodes.parse().map_err(|_| error())?;
                }
                [wait, name, numbers @ ..] => {
                    script.steps.push(step(wait, name, numbers).ok_or_else(error)?)
                }
                _ => return Err(error()),
            }
        }
        Ok(script)
    }
}

fn step(wait: &str, name: &str, numbers: &[&str]) -> Option<Step> {
    let wait = wait.strip_prefix('+')?.parse().ok()?;
    let numbers = numbers.iter().map(|n| n.parse().ok()).collect::<Option<Vec<_>>>()?;
    Some(Step { wait, does: Move::from_parts(name, &numbers)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_what_its_text_says() {
        for seed in 0..20 {
            let script = Script::random(seed, 100);
            assert_eq!(script.to_string().parse(), Ok(script));
        }
        let error = "seed 1 nodes 1\n+5 start\n".parse::<Script>().unwrap_err();
        assert_eq!(error.line, 2);
    }
}
