"""User-space instructions for each request, counted by callgrind: the slope between two runs."""

import pathlib
import re
import signal
import subprocess
import tempfile

from . import peers, rig

FEW, MANY = 500, 3500


def run(say) -> list[dict]:
    """Rows {task, instructions} of Penstock over one HTTP/1.1 connection."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with peers.backend(folder) as backend:
            for task in ("plain", "edit", "wasm"):
                say(f"instructions: {task}")
                few, many = (_count(folder, task, backend.port, n) for n in (FEW, MANY))
                rows.append({"task": task, "instructions": (many - few) / (MANY - FEW)})
    return rows


def _count(folder: pathlib.Path, task: str, upstream: int, requests: int) -> int:
    port, out = rig.free_port(), folder / f"callgrind.{task}.{requests}"
    command = peers.penstock_command(folder, task, port, upstream)
    # Under valgrind signals do not tell WASM traps from faults, and the pool's reservation is too
    # large: only calls that do not trap are counted here.
    server = rig.Server("penstock", [rig.need("valgrind"), "--tool=callgrind",
                                     f"--callgrind-out-file={out}", *command], port, wait=120)
    try:
        text = rig.on_load_core([rig.need("h2load"), "--h1", "-c1", f"-n{requests}", "-H", "x-n: 1",
                                 f"http://127.0.0.1:{port}/"], timeout=300)
        if f"{requests} succeeded" not in text:
            raise RuntimeError(text)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(120)
        return int(re.search(r"Collected : (\d+)", server.output())[1])
    except subprocess.TimeoutExpired as late:
        raise RuntimeError("penstock did not end under valgrind") from late
    finally:
        server.stop()
