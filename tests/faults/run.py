#!/usr/bin/env python3
"""Plants one fault after another in a copy of the tree and expects the tests to catch each.

  tests/faults/run.py                  every fault
  tests/faults/run.py write-set-ignored
  tests/faults/run.py --list           whether each fault can still be planted, without running it

A fault is a text in one file that is replaced by another, and the command that must fail then. A
fault whose text is not found exactly once is an error: the code moved, and so must the fault.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

REPO = pathlib.Path(__file__).resolve().parents[2]
FAULTS = pathlib.Path(__file__).with_name("faults.toml")
COPIED = ["Cargo.toml", "Cargo.lock", "rustfmt.toml", "clippy.toml", "api", "operator", "dataplane",
          "cli", "xtask", "tests", "wit", "filters", "examples", ".cargo"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="faults to plant; all where none is named")
    parser.add_argument("--list", action="store_true", help="only check that each can be planted")
    args = parser.parse_args()
    faults = tomllib.loads(FAULTS.read_text())["fault"]
    chosen = [f for f in faults if not args.names or f["name"] in args.names]
    if not chosen:
        raise SystemExit(f"no such fault; there are {', '.join(f['name'] for f in faults)}")
    stale = [problem for f in chosen if (problem := _problem(f, REPO))]
    if stale:
        raise SystemExit("\n".join(stale))
    if args.list:
        print("\n".join(f"{f['name']}: {f['means']}" for f in chosen))
        return
    survivors = [f["name"] for f in chosen if not _caught(f)]
    if survivors:
        raise SystemExit(f"not caught: {', '.join(survivors)}")
    print(f"{len(chosen)} passed, 0 failed")


def _problem(fault: dict, root: pathlib.Path) -> str | None:
    path = root / fault["file"]
    count = path.read_text().count(fault["old"]) if path.is_file() else 0
    if count == 1:
        return None
    return f"{fault['name']}: the text stands {count} times in {fault['file']}, not once"


def _caught(fault: dict) -> bool:
    """Plants a fault in a copy and says whether the command fails by a failed test."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "tree"
        copy.mkdir()
        for name in COPIED:
            source = REPO / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("target"))
            elif source.exists():
                shutil.copy2(source, copy / name)
        path = copy / fault["file"]
        path.write_text(path.read_text().replace(fault["old"], fault["new"]))
        done = subprocess.run(fault["test"], shell=True, cwd=copy, capture_output=True, text=True,
                              env=os.environ, timeout=1200)
    output = done.stdout + done.stderr
    if "error: could not compile" in output:
        raise SystemExit(f"{fault['name']} does not compile:\n{output[-3000:]}")
    caught = done.returncode != 0 and "test result: FAILED" in output
    print(f"  {fault['name']}: {'caught' if caught else 'NOT CAUGHT'}", file=sys.stderr, flush=True)
    return caught


if __name__ == "__main__":
    main()
