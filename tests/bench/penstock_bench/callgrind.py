"""What callgrind counted, by function: reads the files that it writes (valgrind manual, "Callgrind
Format Specification")."""

import collections
import pathlib
import re

NAME = re.compile(r"^(c?fn)=(?:\((\d+)\))?(?: ?(.+))?$")

# A part of the program, and how the names of its functions begin. The first that fits counts.
PARTS = (
    ("Penstock", ("penstock_",)),
    ("hyper", ("hyper::", "hyper_util::", "httparse::")),
    ("fields (`http`)", ("http::", "http_body::")),
    ("tokio", ("tokio::", "mio::")),
    ("WASM engine", ("wasmtime", "cranelift")),
    ("code of the filter", ("0x",)),
    ("allocator", ("_rjem", "tcache", "arena", "sdallocx", "je_", "__rust", "bytes::")),
    ("copying", ("__memcpy", "__memmove", "__memset", "memcpy", "memmove")),
)
REST = "rest"


def worker_costs(pattern: pathlib.Path) -> collections.Counter:
    """Costs of the thread that serves requests: of all threads the one that parses most."""
    files = pattern.parent.glob(f"{pattern.name}-*")
    return max(map(self_costs, files), key=lambda costs: sum(
        cost for name, cost in costs.items() if "httparse" in name))


def by_part(costs: collections.Counter) -> collections.Counter:
    """The same by part of the program."""
    parts = collections.Counter()
    for name, cost in costs.items():
        bare = name.lstrip("<&")
        parts[next((part for part, begins in PARTS if bare.startswith(begins)), REST)] += cost
    return parts


def self_costs(path: pathlib.Path) -> collections.Counter:
    """Instructions of each function without those of the functions that it calls. What was inlined
    counts where it was inlined."""
    names: dict[str, str] = {}
    costs: collections.Counter = collections.Counter()
    function, of_a_call = "", False
    with path.open(errors="replace") as lines:
        for line in lines:
            if line[0].isdigit() or line[0] in "+-*":
                if of_a_call:
                    of_a_call = False  # the cost of the callee
                else:
                    costs[function] += int(line.split()[1])
            elif line.startswith("calls="):
                of_a_call = True
            elif found := NAME.match(line.rstrip("\n")):
                kind, number, name = found.groups()
                if number and name:
                    names[number] = name
                if kind == "fn":
                    function = names[number] if number else name
    return costs
