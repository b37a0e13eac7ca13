"""What hostile policies cost others: by the test that holds its bounds, with more rounds."""

import os
import re
import subprocess

from . import peers

PAIRS = 15
LINE = re.compile(r"p99 beside crimes: ([\d.]+) ms; beside quarantine: ([\d.]+) ms, ([\d.]+) x "
                  r"([\d.]+) ms alone")


def run(say) -> list[dict]:
    """Rows {phase, ms, ratio}: the 99th percentile of the other tenant's requests."""
    say(f"hostile: {PAIRS} pairs of phases with and without crimes (some minutes)")
    test = ["cargo", "test", "-q", "--workspace", "--test", "hostile", "--", "--nocapture"]
    environment = os.environ | {"PENSTOCK_HOSTILE_PAIRS": str(PAIRS),
                                "PENSTOCK_BIN": str(peers.target_dir() / "release/penstock")}
    done = subprocess.run(test, cwd=peers.REPO, check=True, text=True, stdout=subprocess.PIPE,
                          timeout=3600, env=environment)
    crimes, quarantine, ratio, alone = LINE.findall(done.stdout)[-1]
    return [{"phase": "no hostile request", "ms": float(alone), "ratio": 1.0},
            {"phase": "one in a hundred, before quarantine", "ms": float(crimes),
             "ratio": float(crimes) / float(alone)},
            {"phase": f"the same after quarantine, median of {PAIRS + 1}", "ms": float(quarantine),
             "ratio": float(ratio)}]
