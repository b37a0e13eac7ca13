"""What addresses of pods cost: measured by tests that print it, in a release build where time is what
counts. Needs root, for network namespaces.
"""

import re
import subprocess

from . import peers

RELEASE = ["cargo", "test", "--release", "-q"]
TESTS = (
    # As the tests build it: what is counted is no time.
    ["cargo", "test", "-q", "--workspace", "--test", "first"],
    RELEASE + ["-p", "penstock-eni", "--test", "work"],
    RELEASE + ["-p", "penstock-cni", "--test", "node", "two_hundred"],
    # The operator as the tests build it, with the SDK not optimised, against a real API server.
    ["cargo", "test", "-q", "--workspace", "--test", "api", "a_nodes_demand"],
)
# What is printed, and how the table calls it.
LINES = (
    (r"calls until a cold node has (\w+): (\d+) ",
     lambda m: (f"calls of EC2 until a cold node has {m[1]} on a second interface", m[2])),
    (r"a report among (\d+) nodes: (\d+) ns",
     lambda m: (f"work of the operator for a node's report among {m[1]} nodes, ns", m[2])),
    (r"ADD of (\d+) pods, ([\w ]+): inside ([\d.]+) ms, plugin ([\d.]+) ms, median ([\d.]+) ms",
     lambda m: (f"CNI ADD of {m[1]} pods, {m[2]}: p99 inside the agent at most; p99 of the whole "
                "plugin; its median, ms", f"{m[3]}; {m[4]}; {m[5]}")),
    (r"demand to the first call of EC2: median ([\d.]+) ms, longest ([\d.]+) ms",
     lambda m: ("a node's demand to the first call of EC2: median; longest of eight, ms",
                f"{m[1]}; {m[2]}")),
)


def run(say) -> list[dict]:
    """Rows {measure, value}."""
    rows = []
    for test in TESTS:
        say("addresses: " + " ".join(test))
        done = subprocess.run(test + ["--", "--nocapture"], cwd=peers.REPO, check=True, text=True,
                              stdout=subprocess.PIPE, timeout=3600)
        found = [row(m) for line, row in LINES for m in re.finditer(line, done.stdout)]
        if not found:
            raise RuntimeError(f"{test} printed none of what is looked for")
        rows += [{"measure": measure, "value": value} for measure, value in found]
    return rows
