#!/usr/bin/env python3
"""Changes pure code in every small way that cargo-mutants knows, and runs the tests on each change.

  tests/faults/mutants.py                      config, gateway and routing
  tests/faults/mutants.py gateway              all of penstock-gateway
  tests/faults/mutants.py routing --re hosts   those of the set whose name matches

cargo-mutants names the mutants, and would build the crate anew for each: here most are built
together. A function with mutants becomes a choice between its bodies, and the environment says at
run time which one is in force, so that a mutant costs one run of the tests. What is left goes one
by one: a mutant outside a function, and one whose function has an opaque type, which no choice has.

A mutant that does not compile is none. One that no test notices, and that `.cargo/mutants.toml`
does not exclude with a reason, is named at the end, which is then an error.

Where the copy of the tree is: see tree.py.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import tree

SETS = {
    "config": ["-p", "penstock-config"],
    "gateway": ["-p", "penstock-gateway"],
    "routing": ["-p", "penstock-proxy", "-f", "dataplane/proxy/src/routing/*.rs"],
}
# The tests that a set is judged by.
TESTS = {
    "config": ["-p", "penstock-config"],
    "gateway": ["-p", "penstock-gateway", "--lib", "--test", "translation"],
    "routing": ["-p", "penstock-proxy", "--lib", "--test", "matching"],
}
# Of the unit tests of the crate, those that matter.
FILTER = {"routing": "routing"}
VARIABLE = "PENSTOCK_MUTANT"
CHOICE = f"""
#[doc(hidden)]
#[allow(missing_docs, reason = "planted")]
pub fn mutant() -> u32 {{
    static MUTANT: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *MUTANT.get_or_init(|| std::env::var("{VARIABLE}").map_or(0, |m| m.parse().unwrap_or(0)))
}}
"""
# A busy machine must not pass for an endless loop.
SECONDS = 60


@dataclasses.dataclass
class Mutant:
    """A change to a file: what stands in a span becomes another text."""
    number: int
    name: str
    file: str
    start: int
    end: int
    text: str
    # Where the body of its function is, braces included, where it can stand in a choice.
    body: tuple[int, int] | None

    def planted(self, source: str) -> str:
        """The file, or the part of it up to an end behind the span, with the change."""
        return source[:self.start] + self.text + source[self.end:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="config, gateway, routing; all where none is named")
    parser.add_argument("--re", default="", help="only mutants whose name this expression finds")
    args = parser.parse_args()
    if unknown := set(args.sets) - set(SETS):
        raise SystemExit(f"no such set: {', '.join(unknown)}; there are {', '.join(SETS)}")
    with tree.copied() as cache:
        runs = (Run(of, args.re, cache) for of in args.sets or SETS)
        survivors = [name for run in runs for name in run.survivors()]
    if survivors:
        raise SystemExit("no test notices:\n" + "\n".join(f"  {name}" for name in survivors))


class Run:
    """The mutants of one set."""

    def __init__(self, of: str, pattern: str, cache: pathlib.Path):
        self.set = of
        self.tree = cache / "tree"
        self.env = os.environ | {"CARGO_TARGET_DIR": str(cache / "target"),
                                 "PROPTEST_MAX_SHRINK_ITERS": "0",
                                 "RUST_BACKTRACE": "0"}
        self.sources: dict[str, str] = {}
        self.mutants = [m for m in self._listed() if re.search(pattern, m.name)]
        # Where cargo runs the tests of a package.
        package = next(iter(self.sources)).split("/src/")[0]
        self.package = self.tree / package
        self.root = f"{package}/src/lib.rs"
        self.sources.setdefault(self.root, (self.tree / self.root).read_text())

    def survivors(self) -> list[str]:
        began = time.monotonic()
        together = [m for m in self.mutants if m.body and not self._is_inner(m)]
        alone = [m for m in self.mutants if m not in together]
        viable, tests = self._build_together(together)
        caught = {0: self._caught(tests, 0)}
        if caught[0]:
            raise SystemExit(f"{self.set}: the tests fail without a mutant: {caught[0]}")
        built = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            caught |= zip([m.number for m in viable],
                          pool.map(lambda m: self._judged(m, tests, m.number), viable))
        self._restore()
        each = (time.monotonic() - built) / max(len(viable), 1)
        for mutant in alone:
            if tests := self._build_alone(mutant):
                viable.append(mutant)
                caught[mutant.number] = self._judged(mutant, tests, 0)
            self._restore()
        left = [m.name for m in viable if not caught[m.number]]
        took = time.monotonic() - began
        print(f"{self.set}: {len(self.mutants)} mutants, {len(viable) - len(left)} caught, "
              f"{len(self.mutants) - len(viable)} do not compile, {len(left)} survive "
              f"({took:.0f} s; {each:.1f} s for each run)", flush=True)
        return left

    def _is_inner(self, mutant: Mutant) -> bool:
        """Whether its function stands in another one that has mutants."""
        others = (m.body for m in self.mutants if m.body and m.file == mutant.file)
        return any(o[0] < mutant.body[0] < o[1] for o in others)

    def _judged(self, mutant: Mutant, tests: list[list[str]], number: int) -> str:
        caught = self._caught(tests, number)
        self._say(mutant, f"caught by {caught}" if caught else "SURVIVES")
        return caught

    @staticmethod
    def _say(mutant: Mutant, what: str) -> None:
        # One write, so that two threads do not share a line.
        sys.stderr.write(f"  {mutant.name}: {what}\n")

    def _listed(self) -> list[Mutant]:
        """What cargo-mutants would do, without what `.cargo/mutants.toml` excludes."""
        setup = subprocess.run(["xtask/setup/cargo-mutants.sh"], cwd=tree.REPO, text=True,
                               check=True, stdout=subprocess.PIPE)
        listed = subprocess.run([f"{setup.stdout.strip()}/cargo-mutants", "mutants", "--list",
                                 "--json", *SETS[self.set]], cwd=self.tree, text=True, check=True,
                                stdout=subprocess.PIPE)
        mutants = []
        for number, found in enumerate(json.loads(listed.stdout), 1):
            file = found["file"]
            source = self.sources.setdefault(file, (self.tree / file).read_text())
            start, end = _span(source, found["span"])
            mutants.append(Mutant(number, found["name"], file, start, end,
                                  found["replacement"] + " ", _body(source, found["function"])))
        return mutants

    def _build_together(self, mutants: list[Mutant]) -> tuple[list[Mutant], list[list[str]]]:
        """Builds the tests with all mutants in, but for those that do not compile: each round of
        the compiler finds more of them."""
        viable = mutants
        for _ in range(12):
            lines = self._plant(viable)
            errors, tests = self._cargo()
            if not errors:
                return viable, tests
            bad = {lines[at] for at in errors if at in lines}
            if not bad:
                raise SystemExit(f"{self.set}: no mutant is to blame for the errors at {errors}")
            for mutant in (m for m in viable if m.number in bad):
                self._say(mutant, "does not compile")
            viable = [m for m in viable if m.number not in bad]
        raise SystemExit(f"{self.set}: does not compile after twelve rounds")

    def _plant(self, mutants: list[Mutant]) -> dict[tuple[str, int], int]:
        """Writes the files with a choice in each function. Returns whose mutant's each line is."""
        lines = {}
        for file, source in self.sources.items():
            bodies: dict[tuple[int, int], list[Mutant]] = {}
            for mutant in mutants:
                if mutant.file == file:
                    bodies.setdefault(mutant.body, []).append(mutant)
            out, at = "", 0
            for (start, end), own in sorted(bodies.items()):
                out += source[at:start] + "{ match crate::mutant() {\n"
                for mutant in own:
                    first = out.count("\n") + 1
                    out += f"{mutant.number} => " + mutant.planted(source[:end])[start:] + "\n"
                    span = range(first, out.count("\n") + 1)
                    lines |= {(file, line): mutant.number for line in span}
                out += "_ => " + source[start:end] + "\n} }"
                at = end
            self._write(file, out + source[at:] + (CHOICE if file == self.root else ""))
        return lines

    def _restore(self) -> None:
        for file, source in self.sources.items():
            self._write(file, source)

    def _write(self, file: str, text: str) -> None:
        path = self.tree / file
        if path.read_text() != text:
            path.write_text(text)

    def _cargo(self) -> tuple[list[tuple[str, int]], list[list[str]]]:
        """Where it does not compile, or else the tests, each as a command."""
        done = subprocess.run(["cargo", "test", "--no-run", "--quiet",
                               "--message-format=json", *TESTS[self.set]], cwd=self.tree, text=True,
                              env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        errors, tests = [], []
        for line in done.stdout.splitlines():
            said = json.loads(line)
            message = said.get("message", {})
            if said["reason"] == "compiler-message" and message["level"].startswith("error"):
                spans = [s for s in message["spans"] if s["is_primary"]]
                errors += [(s["file_name"], s["line_start"]) for s in spans]
            is_test = said["reason"] == "compiler-artifact" and said["profile"]["test"]
            if is_test and said["executable"]:
                name = FILTER.get(self.set, "") if "lib" in said["target"]["kind"] else ""
                tests.append([said["executable"], *filter(None, [name])])
        if done.returncode != 0 and not errors:
            raise SystemExit(f"{self.set}: cargo fails\n{done.stderr[-3000:]}")
        return errors, tests

    def _build_alone(self, mutant: Mutant) -> list[list[str]]:
        """Builds the tests with one mutant; none where it does not compile."""
        self._write(mutant.file, mutant.planted(self.sources[mutant.file]))
        errors, tests = self._cargo()
        if errors:
            self._say(mutant, "does not compile")
        return tests if not errors else []

    def _caught(self, tests: list[list[str]], number: int) -> str:
        """The test that fails with a mutant; empty where none does."""
        for test in tests:
            child = subprocess.Popen(test, cwd=self.package, text=True,
                                     env=self.env | {VARIABLE: str(number)},
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            timer = threading.Timer(SECONDS, child.kill)
            timer.start()
            for line in child.stdout:
                if failed := re.match(r"test (\S+) .*\.\.\. FAILED$", line):
                    child.kill()
                    child.wait()
                    timer.cancel()
                    return failed[1]
            code = child.wait()
            timer.cancel()
            if code != 0:
                return "no end" if code < 0 else "an abort"
        return ""


def _span(source: str, span: dict) -> tuple[int, int]:
    starts = [0, *(at.end() for at in re.finditer("\n", source))]
    return tuple(starts[span[at]["line"] - 1] + span[at]["column"] - 1 for at in ("start", "end"))


def _body(source: str, function: dict | None) -> tuple[int, int] | None:
    if not function or "impl " in function["return_type"]:
        return None
    start, end = _span(source, function["span"])
    at = source.index("fn ", start)
    if "const" in source[start:at]:
        return None
    # The body begins at the first brace outside the parentheses of the arguments.
    depth = 0
    for place in range(at, end):
        depth += {"(": 1, ")": -1}.get(source[place], 0)
        if source[place] == "{" and depth == 0:
            return place, end
    return None


if __name__ == "__main__":
    main()
