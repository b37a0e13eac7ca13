//! Processor time and memory of our processes on the nodes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::Site;
use serde_json::{Value, json};

use crate::objects::{Objects, to_blue};

const PROCESSES: [&str; 3] = ["penstock-operator", "penstock-agent", "penstock-proxy"];
/// Bytes of a name that the kernel shows (proc_pid_stat(5), field 2).
const SHOWN: usize = 15;
/// Clock ticks in a second, and bytes of a page, as Linux shows them to user space.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// A process: seconds on a processor, resident bytes.
type Process = (f64, u64);

/// Resident MiB of the largest process of each kind.
pub(crate) fn all(site: &Site) -> Result<Value> {
    let mut result = serde_json::Map::new();
    for name in PROCESSES {
        let processes = processes(site, name)?;
        let most = processes.values().map(|(_, resident)| *resident).max();
        let most = most.with_context(|| format!("no {name} runs"))?;
        result.insert(name.into(), json!(most as f64 / f64::from(1 << 20)));
    }
    Ok(Value::Object(result))
}

/// Cores that the operator's busiest replica uses while a route changes each second.
pub(crate) async fn with_changes(site: &Site, objects: &Objects, seconds: u64) -> Result<f64> {
    let before = processes(site, PROCESSES[0])?;
    let start = Instant::now();
    for second in 0..seconds {
        let mut rules = to_blue();
        rules[0]["backendRefs"][0]["weight"] = json!(second + 1);
        objects.route("r0", rules).await?;
        let next = start + Duration::from_secs(second + 1);
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let took = start.elapsed().as_secs_f64();
    let after = processes(site, PROCESSES[0])?;
    let used = after.iter().filter_map(|(pid, (now, _))| Some(now - before.get(pid)?.0));
    let most = used.fold(0.0, f64::max);
    ensure!(most > 0.0, "no operator did anything");
    Ok(most / took)
}

/// The processes of a name on all nodes, by node and process id.
fn processes(site: &Site, name: &str) -> Result<BTreeMap<(String, u32), Process>> {
    let mut found = BTreeMap::new();
    for node in site.cluster().nodes() {
        // A process may end between two files.
        let shown = &name[..name.len().min(SHOWN)];
        let script = format!("cat /proc/[0-9]*/stat 2>/dev/null | grep -F '({shown})' || true");
        let run = node.machine.command("sh")?.args(["-c", &script]).output()?;
        for line in String::from_utf8_lossy(&run.stdout).lines() {
            let (pid, process) = parse(line).with_context(|| line.to_owned())?;
            found.insert((node.name().to_owned(), pid), process);
        }
    }
    Ok(found)
}

/// A line of `/proc/PID/stat` (proc_pid_stat(5)): fields 1, 14 and 15, and 24.
fn parse(line: &str) -> Option<(u32, Process)> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = line.rsplit(')').next()?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some((pid, (ticks as f64 / TICKS, field(24)? * PAGE)))
}
