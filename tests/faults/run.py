#!/usr/bin/env python3
"""Plants one fault after another in a copy of the tree and expects the tests to catch each.

  tests/faults/run.py                      every fault
  tests/faults/run.py write-set-ignored    this one
  tests/faults/run.py --list               whether each can still be planted, without running it

A fault is a text in one file that is replaced by another, and the command that must fail then. A
fault whose text is not found exactly once is an error: the code moved, and so must the fault. A
command that fails for another reason than a failed test (it does not compile, no test of that name)
is an error too. Where the copy is: see tree.py.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tomllib

import tree

FAULTS = pathlib.Path(__file__).with_name("faults.toml")
FIELDS = {"name", "means", "file", "old", "new", "test"}
SECONDS = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="faults to plant; all where none is named")
    parser.add_argument("--list", action="store_true", help="only check that each can be planted")
    args = parser.parse_args()
    faults = tomllib.loads(FAULTS.read_text())["fault"]
    known = [fault.get("name") for fault in faults]
    if unknown := set(args.names) - set(known):
        raise SystemExit(f"no such fault: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [f for f in faults if not args.names or f["name"] in args.names]
    if wrong := [problem for f in chosen if (problem := _problem(f, known))]:
        raise SystemExit("\n".join(wrong))
    if args.list:
        print("\n".join(f"{f['name']}: {f['means']}" for f in chosen))
        return
    with tree.copied() as cache:
        survivors = [f["name"] for f in chosen if not _caught(f, cache)]
    if survivors:
        raise SystemExit(f"not caught: {', '.join(survivors)}")
    print(f"{len(chosen)} faults, each caught")


def _problem(fault: dict, known: list) -> str | None:
    name = fault.get("name")
    if set(fault) != FIELDS:
        return f"{name}: has {sorted(fault)}, wants {sorted(FIELDS)}"
    if known.count(name) != 1:
        return f"{name}: stands there {known.count(name)} times"
    if fault["old"] == fault["new"]:
        return f"{name}: changes nothing"
    path = tree.REPO / fault["file"]
    count = path.read_text().count(fault["old"]) if path.is_file() else 0
    if count != 1:
        return f"{name}: the text stands {count} times in {fault['file']}, not once"
    return None


def _caught(fault: dict, cache: pathlib.Path) -> bool:
    """Plants a fault and says whether a test fails by it."""
    path = cache / "tree" / fault["file"]
    sound = path.read_text()
    path.write_text(sound.replace(fault["old"], fault["new"]))
    began = time.monotonic()
    try:
        code, said = _run(fault["test"], cache)
    finally:
        path.write_text(sound)
    failed = re.findall(r"^test (\S+) \.\.\. FAILED$", said, re.MULTILINE)
    ran = sum(map(int, re.findall(r"^running (\d+) tests?$", said, re.MULTILINE)))
    if not failed and (code != 0 or ran == 0):
        raise SystemExit(f"{fault['name']}: no test ran to its end\n{said[-3000:]}")
    outcome = f"caught by {', '.join(failed)}" if failed else "NOT CAUGHT"
    print(f"  {fault['name']}: {outcome} ({time.monotonic() - began:.0f} s)", file=sys.stderr,
          flush=True)
    return bool(failed)


def _run(test: str, cache: pathlib.Path) -> tuple[int, str]:
    """Exit code and output of a test. One that does not end in time is killed with all that it
    started: a cargo that is left behind would hold the target folder of the next."""
    child = subprocess.Popen(test, shell=True, cwd=cache / "tree", text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True,
                             env=os.environ | {"CARGO_TARGET_DIR": str(cache / "target")})
    try:
        said, _ = child.communicate(timeout=SECONDS)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SystemExit(f"`{test}` took more than {SECONDS} s") from None
        raise
    return child.returncode, said


if __name__ == "__main__":
    main()
