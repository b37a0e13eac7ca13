"""Nanoseconds of single operations, from the crates' own measuring programs. That of penstock-net needs
root, for a network namespace and for loading a program into the kernel."""

import re
import subprocess

from . import peers, rig

PROGRAMS = (("penstock-filter-host", "tiers"), ("penstock-proxy", "route_lookup"),
            ("penstock-net", "steering"))


def run(say) -> list[dict]:
    """Rows {program, operation, ns}. A program prints lines `name: 12.3 ns`."""
    rows = []
    for package, example in PROGRAMS:
        say(f"{package}: {example}")
        build = ["cargo", "build", "--release", "-q", "-p", package, "--example", example]
        subprocess.run(build, cwd=peers.REPO, check=True)
        text = rig.on_load_core([str(peers.target_dir() / "release/examples" / example)])
        rows += [{"program": example, "operation": name.strip(), "ns": float(ns)}
                 for name, ns in re.findall(r"^(.+?): +([\d.]+) ns", text, re.M)]
    return rows
