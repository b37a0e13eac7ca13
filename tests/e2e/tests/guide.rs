//! `docs/guides/first-filter.md` does what it says: every command is typed, and prints what stands
//! below it.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{penstock, repository};
use std::{fmt::Write as _, process::Command};

/// Stands between the outputs of two commands.
const MARK: &str = "@@guide-step@@";

/// One command with the lines that the page shows below it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    expected: String,
}

/// The steps of a page: `console` blocks, and blocks with `file=`, which become files below `$work`.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|i| !i.is_empty()) else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
        if info == "console" {
            for line in block {
                match line.strip_prefix("$ ") {
                    Some(command) => {
                        steps.push(Step { command: command.into(), ..Step::default() });
                    }
                    None => {
                        if let Some(step) = steps.last_mut() {
                            step.expected += line;
                            step.expected.push('\n');
                        }
                    }
                }
            }
        } else if let Some((_, path)) = info.split_once("file=") {
            let content = block.join("\n");
            let command = format!("cat > \"$work/{path}\" <<'END_OF_FILE'\n{content}\nEND_OF_FILE");
            steps.push(Step { command, ..Step::default() });
        }
    }
    steps
}

/// One shell types all of them. The command itself is built already: the page's way to build it is
/// the only line that is not typed, and `$penstock` is that binary.
fn script(steps: &[Step], binary: &str) -> String {
    let mut script = String::from("set -u\ntrap 'kill ${gateway:-} ${echo:-} 2>/dev/null' EXIT\n");
    for step in steps {
        let command = match step.command.as_str() {
            c if c.starts_with("cargo build --quiet --bin penstock") => ":",
            c if c.starts_with("penstock=") => &format!("penstock='{binary}'"),
            c => c,
        };
        let _ = writeln!(script, "{command}\necho '{MARK}'");
    }
    script
}

#[test]
fn the_first_filter_page_runs_step_by_step() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/guides/first-filter.md"))?;
    let steps = steps(&page);
    ensure!(steps.len() > 15, "the page has its steps: {steps:?}");
    let binary = penstock()?;
    let script = script(&steps, binary.to_str().context("a path in UTF-8")?);
    let output = Command::new("bash").arg("-c").arg(script).current_dir(repository()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let outputs: Vec<&str> = text.split(&format!("{MARK}\n")).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(outputs.len() == steps.len() + 1, "the shell ended early: {text}\n{errors}");
    for (step, printed) in steps.iter().zip(outputs) {
        ensure!(
            printed == step.expected,
            "$ {}\nprinted: {printed}expected: {}\n{errors}",
            step.command,
            step.expected
        );
    }
    Ok(())
}

#[test]
fn a_page_is_read_as_commands_with_their_outputs() {
    let page = "x\n```console\n$ a\nb\n$ c\n```\n```rust file=d/e.rs\nf\n```\n```text\n$ g\n```\n";
    let read = steps(page);
    assert_eq!(read[0], Step { command: "a".into(), expected: "b\n".into() });
    assert_eq!(read[1], Step { command: "c".into(), expected: String::new() });
    assert!(read[2].command.contains("$work/d/e.rs") && read[2].command.contains("\nf\n"));
    assert_eq!(read.len(), 3, "other blocks are not typed");
}
