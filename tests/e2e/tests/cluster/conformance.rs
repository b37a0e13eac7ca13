//! The official conformance suite: every core test of the HTTP profile, and those of the features that
//! the GatewayClass claims.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::Site;
use penstock_test_cluster::Suite;

pub(crate) const ALL: &[super::Scenario] = &[("conformance", conformance)];

fn conformance(site: &Site) -> Result<()> {
    let run = Suite::default().prepare(site.cluster())?.output().context("cannot run it")?;
    let said = String::from_utf8_lossy(&run.stdout);
    let summary = |what: &str| {
        let line = said.lines().find(|line| line.starts_with(&format!("GATEWAY-HTTP {what}: ")));
        line.map(str::to_owned).with_context(|| format!("no summary\n{said}"))
    };
    let (core, extended) = (summary("core")?, summary("extended")?);
    println!("{core}\n{extended}");
    ensure!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    ensure!(core == "GATEWAY-HTTP core: 37 run, 37 passed", "{core}");
    Ok(())
}
