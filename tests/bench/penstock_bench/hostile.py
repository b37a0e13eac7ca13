"""What hostile policies cost others: by the test that holds its bounds, with more rounds."""

import os
import re
import subprocess

from . import peers

REPEATS = 30
LINE = re.compile(r"p99 beside crimes: ([\d.]+) ms; harmless requests: ([\d.]+) ms; "
                  r"quarantine: ([\d.]+) ms; alone: ([\d.]+) ms")


def run(say) -> list[dict]:
    """Rows {phase, ms, ratio}: the 99th percentile of the other tenant's requests."""
    say(f"hostile: {REPEATS} rounds without, with harmless and with hostile requests (some minutes)")
    test = ["cargo", "test", "-q", "--workspace", "--test", "hostile", "--", "--nocapture"]
    environment = os.environ | {"PENSTOCK_HOSTILE_REPEATS": str(REPEATS),
                                "PENSTOCK_BIN": str(peers.target_dir() / "release/penstock")}
    done = subprocess.run(test, cwd=peers.REPO, check=True, text=True, stdout=subprocess.PIPE,
                          timeout=3600, env=environment)
    crimes, harmless, quarantine, alone = map(float, LINE.findall(done.stdout)[-1])
    return [{"phase": phase, "ms": ms, "ratio": ms / alone} for phase, ms in (
        ("nothing of the other tenant's", alone),
        ("one in a hundred, before quarantine", crimes),
        (f"the same after quarantine, median of {REPEATS + 1}", quarantine),
        (f"one in a hundred, harmless, median of {REPEATS}", harmless),
    )]
