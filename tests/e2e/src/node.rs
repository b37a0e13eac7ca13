//! What runs on a node of the cluster.

use anyhow::{Context as _, Result, ensure};
use penstock_test_cluster::Node;

/// Runs a shell script on a node and returns what it prints.
///
/// # Errors
/// It failed: what it said.
pub fn run(node: &Node, script: &str) -> Result<String> {
    let output = node.machine.command("bash")?.args(["-e", "-c", script]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "on {}: {script}\n{error}", node.name());
    Ok(String::from_utf8(output.stdout)?)
}

/// The processes of a program, as the node numbers them.
///
/// # Errors
/// The node is down.
pub fn processes(node: &Node, program: &str) -> Result<Vec<u32>> {
    let script = r#"for process in /proc/[0-9]*; do
           name=$(cat "$process/comm" 2>/dev/null) || continue
           echo "${process#/proc/} $name"
         done"#;
    let all = run(node, script)?;
    let named = all.lines().filter_map(|line| line.split_once(' '));
    let pids = named.filter(|(_, name)| *name == program).map(|(pid, _)| pid.parse());
    Ok(pids.collect::<Result<_, _>>()?)
}

/// The one process of a program.
///
/// # Errors
/// There is none, or more than one.
pub fn process(node: &Node, program: &str) -> Result<u32> {
    match processes(node, program)?[..] {
        [pid] => Ok(pid),
        ref all => anyhow::bail!("on {} {program} runs as {all:?}", node.name()),
    }
}

/// A line of a process's `/proc/PID/status`.
///
/// # Errors
/// There is no such process or no such line.
pub fn status(node: &Node, pid: u32, field: &str) -> Result<String> {
    let all = run(node, &format!("cat /proc/{pid}/status"))?;
    let mut fields = all.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(name, _)| *name == field);
    found.map(|(_, value)| value.trim().to_owned()).with_context(|| format!("no {field}"))
}
