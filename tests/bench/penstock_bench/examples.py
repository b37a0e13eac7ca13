"""Measuring programs of the crates: their examples."""

import subprocess

from . import peers, rig


def output(package: str, example: str, say) -> str:
    """What an example prints, built as the shipped binary is."""
    say(f"{package}: {example}")
    build = ["cargo", "build", "--release", "-q", "-p", package, "--example", example]
    subprocess.run(build, cwd=peers.REPO, check=True)
    return rig.on_load_core([str(peers.target_dir() / "release/examples" / example)], timeout=600)
