//! `examples/cluster`, typed as its README says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Site, eventually, repository};

pub(crate) const ALL: &[super::Scenario] = &[("examples/cluster does what it says", example)];

const README: &str = "examples/cluster/README.md";

fn example(site: &Site) -> Result<()> {
    penstock_e2e::filters_folder()?;
    let root = repository();
    let text = std::fs::read_to_string(root.join(README))?;
    let blocks: Vec<_> = text.split("```sh\n").skip(1).collect();
    ensure!(blocks.len() == 2, "{README} has another form than this test");
    let result = blocks.iter().zip(["x-served-by: penstock", "x-served-by: me"]).try_for_each(
        |(block, expected)| {
            let block = block.split("```").next().context("no end of a block")?;
            let (commands, last) = block.trim().rsplit_once('\n').context("one command")?;
            for command in commands.lines() {
                shell(site, &root, command)?;
            }
            // A condition of an earlier generation may still be there.
            eventually(expected, Duration::from_secs(20), || {
                let said = shell(site, &root, last)?;
                ensure!(said.contains(expected), "{said}");
                Ok(())
            })
        },
    );
    let gone =
        "kubectl delete -f examples/cluster/echo.yaml && kubectl delete configmap header-rules";
    result.and(shell(site, &root, gone).map(drop))
}

fn shell(site: &Site, root: &Path, command: &str) -> Result<String> {
    let run = site.cluster().client("sh").args(["-c", command]).current_dir(root).output()?;
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    ensure!(
        run.status.success(),
        "{command}: {}\n{said}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(said)
}
