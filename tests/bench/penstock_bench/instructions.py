"""User-space instructions of the worker for each request, counted by callgrind: the slope between two
runs, as a whole, by part of the program and by function.

Only the thread that serves is counted: what the others do depends on how long the run takes.
"""

import collections
import pathlib
import signal
import subprocess
import tempfile

from . import callgrind, peers, rig

FEW, MANY = 500, 3500
TASKS = ("plain", "edit", "wasm")


def run(say) -> list[dict]:
    """Rows {task, instructions, parts, functions} of Penstock over one HTTP/1.1 connection."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with peers.backend(folder) as backend:
            for task in TASKS:
                say(f"instructions: {task}")
                few, many = (_count(folder, task, backend.port, n) for n in (FEW, MANY))
                each = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
                rows.append({"task": task, "instructions": sum(each.values()),
                             "parts": callgrind.by_part(each), "functions": each})
    return rows


def _count(folder: pathlib.Path, task: str, upstream: int, requests: int) -> collections.Counter:
    port, out = rig.free_port(), folder / f"callgrind.{task}.{requests}"
    command = peers.penstock_command(folder, task, port, upstream)
    # Under valgrind signals do not tell WASM traps from faults, and the pool's reservation is too
    # large: only calls that do not trap are counted here.
    server = rig.Server("penstock", [rig.need("valgrind"), "--tool=callgrind",
                                     "--separate-threads=yes", f"--callgrind-out-file={out}",
                                     *command], port, wait=120)
    try:
        text = rig.on_load_core([rig.need("h2load"), "--h1", "-c1", f"-n{requests}", "-H", "x-n: 1",
                                 f"http://127.0.0.1:{port}/"], timeout=300)
        if f"{requests} succeeded" not in text:
            raise RuntimeError(text)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(120)
        return callgrind.worker_costs(out)
    except subprocess.TimeoutExpired as late:
        raise RuntimeError("penstock did not end under valgrind") from late
    finally:
        server.stop()
