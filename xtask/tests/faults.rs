//! The planted faults of `tests/faults`: each can still be planted. `make faults` plants them.

use std::process::Command;

#[test]
fn every_fault_is_found_where_it_is_to_be_planted() {
    let script = xtask_components::root().join("tests/faults/run.py");
    let output = Command::new("python3").arg(script).arg("--list").output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let faults = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(faults >= 10, "{faults} faults");
}
