"""Nanoseconds of single operations, from the crates' own measuring programs. That of penstock-net needs
root, for a network namespace and for loading a program into the kernel."""

import re

from . import examples

PROGRAMS = (("penstock-filter-host", "tiers"), ("penstock-proxy", "route_lookup"),
            ("penstock-net", "steering"))
LINE = re.compile(r"^(.+?): +([\d.]+) ns", re.M)


def run(say) -> list[dict]:
    """Rows {program, operation, ns}. A program prints lines `name: 12.3 ns`."""
    rows = []
    for package, example in PROGRAMS:
        found = LINE.findall(examples.output(package, example, say))
        if not found:
            raise RuntimeError(f"{example} printed no line `name: 12.3 ns`")
        rows += [{"program": example, "operation": name.strip(), "ns": float(ns)}
                 for name, ns in found]
    return rows
