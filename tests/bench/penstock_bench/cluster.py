"""Penstock in a real cluster of two nodes, by the program in tests/bench/cluster. Needs root.

Its images are those of the tests, optimised a little: what is shipped needs less.
"""

import json
import subprocess

from . import peers


def run(say) -> dict:
    """What bench-cluster prints."""
    say("cluster: images, then a cluster with 1, 1,000 and 5,000 routes (some minutes)")
    subprocess.run(["cargo", "xtask", "images"], cwd=peers.REPO, check=True, stdout=subprocess.DEVNULL)
    # As the tests build it: other features would build what it needs again.
    subprocess.run(["cargo", "build", "-q", "--workspace"], cwd=peers.REPO, check=True)
    program = peers.target_dir() / "debug/bench-cluster"
    done = subprocess.run([program], stdout=subprocess.PIPE, check=True, timeout=1200)
    return json.loads(done.stdout)
