"""Upstream reuse and skew of load at 1, 2 and 4 workers, over HTTP/1.1 and few HTTP/2 connections."""

import pathlib
import re
import tempfile
import urllib.request

from . import http_load, peers, rig


def run(seconds: int, say) -> list[dict]:
    """Rows {workers, protocol, connections, reuse, skew}: share of requests on a reused upstream
    connection, and busiest worker over the mean."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        script = folder / "varying.lua"
        script.write_text(http_load.LUA_VARYING)
        with peers.backend(folder) as backend:
            for workers in (1, 2, 4):
                for protocol, connections in (("HTTP/1.1", 64), ("HTTP/2", 8), ("HTTP/2", 4)):
                    say(f"workers: {workers}, {protocol}, {connections} connections")
                    rows.append({"workers": workers, "protocol": protocol,
                                 "connections": connections,
                                 **_one(folder, backend.port, workers, protocol, connections,
                                        seconds)})
    return rows


def _one(folder, upstream, workers, protocol, connections, seconds) -> dict:
    port, admin = rig.free_port(), rig.free_port()
    command = peers.penstock_command(folder, "plain", port, upstream, None, workers, admin)
    with rig.Server("penstock", command, port, core="0,1") as server:
        if protocol == "HTTP/1.1":
            load = [rig.need("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
        else:
            load = [rig.need("h2load"), "-t1", f"-c{connections}", "-m16", f"-D{seconds}"]
        rig.on_load_core([*load, f"http://127.0.0.1:{server.port}/"])
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
            text = answer.read().decode()
    by_worker = [float(v) for v in
                 re.findall(r'^penstock_worker_requests_total\{worker="\d+"\} (\S+)$', text, re.M)]
    total = sum(by_worker)
    created = sum(float(v) for v in
                  re.findall(r"^penstock_upstream_connections_created_total\S* (\S+)$", text, re.M))
    return {"reuse": 1 - created / total, "skew": max(by_worker) / (total / len(by_worker))}
