"""Nanoseconds of single operations, from the crates' own measuring programs. That of penstock-net needs
root, for a network namespace and for loading a program into the kernel.

Each program runs several times and the least of each operation counts: what else the machine does only adds.
"""

import re

from . import examples

PROGRAMS = (("penstock-filter-host", "tiers"), ("penstock-proxy", "route_lookup"),
            ("penstock-net", "steering"))
RUNS = 10
LINE = re.compile(r"^(.+?): +([\d.]+) ns", re.M)


def run(say) -> list[dict]:
    """Rows {program, operation, ns}. A program prints lines `name: 12.3 ns`."""
    rows = []
    for package, example in PROGRAMS:
        least: dict[str, float] = {}
        for name, ns in LINE.findall(examples.output(package, example, RUNS, say)):
            least[name.strip()] = min(float(ns), least.get(name.strip(), float(ns)))
        if not least:
            raise RuntimeError(f"{example} printed no line `name: 12.3 ns`")
        rows += [{"program": example, "operation": name, "ns": ns} for name, ns in least.items()]
    return rows
