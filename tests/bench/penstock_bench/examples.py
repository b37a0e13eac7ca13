"""Measuring programs of the crates: their examples."""

import subprocess

from . import peers, rig


# Those that have one: built as one choice of packages, so that what is below them is compiled once.
PACKAGES = ("penstock-filter-host", "penstock-proxy", "penstock-net")


def output(package: str, example: str, runs: int, say) -> str:
    """What an example prints in so many runs, built as the shipped binary is."""
    say(f"{package}: {example}, {runs} runs")
    chosen = [argument for name in PACKAGES for argument in ("-p", name)]
    build = ["cargo", "build", "--release", "-q", *chosen, "--example", example]
    subprocess.run(build, cwd=peers.REPO, check=True)
    program = [str(peers.target_dir() / "release/examples" / example)]
    return "".join(rig.on_load_core(program, timeout=600) for _ in range(runs))
