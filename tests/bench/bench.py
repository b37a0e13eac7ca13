#!/usr/bin/env python3
"""Measures Penstock beside its peers and writes docs/benchmarks.md.

  tests/bench/bench.py                    every measurement (about 25 minutes)
  tests/bench/bench.py --only http,micro  some of them
  tests/bench/bench.py --quick            short rounds, to see that everything runs; writes nothing

Needs `make bench`'s installation (xtask/setup/bench-peers.sh) and the release binary.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from penstock_bench import (addresses, cluster, handshakes, hostile, http_load,  # noqa: E402
                            instructions, memory, micro, pairs, pods, report, workers)

REPO = pathlib.Path(__file__).resolve().parents[2]
MEASUREMENTS = ("http", "tls", "memory", "pairs", "instructions", "workers", "micro", "hostile", "pods",
                "cluster", "addresses")


def main() -> None:
    args = _arguments()
    chosen = args.only.split(",") if args.only else MEASUREMENTS
    unknown = set(chosen) - set(MEASUREMENTS)
    if unknown:
        raise SystemExit(f"unknown measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    seconds, rounds = (1, 1) if args.quick else (args.seconds, args.rounds)

    def say(line: str) -> None:
        print(f"  {line}", file=sys.stderr, flush=True)

    runs = {
        "http": lambda: http_load.run(seconds, rounds, args.task, say),
        "tls": lambda: handshakes.run(seconds, rounds, say),
        "memory": lambda: memory.run(say),
        "pairs": lambda: pairs.run(say),
        "instructions": lambda: instructions.run(say),
        "workers": lambda: workers.run(seconds, say),
        "micro": lambda: micro.run(say),
        "hostile": lambda: hostile.run(say),
        "pods": lambda: pods.run(args.quick, say),
        "cluster": lambda: cluster.run(say),
        "addresses": lambda: addresses.run(say),
    }
    results = {}
    for name in chosen:
        results[name] = runs[name]()
        if not args.quick:
            # Each at once: a later one may fail.
            report.write(REPO / "docs" / "benchmarks.md", {name: results[name]})
    if args.output == "json":
        print(json.dumps(results, indent=2))
    else:
        print(report.markdown(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"comma-separated: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--task", help="only HTTP rows whose `protocol task` contains this")
    parser.add_argument("--seconds", type=int, default=4, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each proxy")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing is written")
    parser.add_argument("-o", "--output", choices=("markdown", "json"), default="markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
