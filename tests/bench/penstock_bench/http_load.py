"""CPU per request over HTTP/1.1 and HTTP/2, every proxy in interleaved rounds.

The figure is user plus system time of the proxy process divided by the requests that were answered
while it was measured. A round with a single failed request is void. Each proxy's figure is the
least of its rounds, since noise only adds.

Penstock counts how often it calls a filter: a round in which a request was answered without (from
what is remembered, say) is an error. What the filters read differs in each request over HTTP/1.1;
h2load cannot vary a field.
"""

import pathlib
import re
import tempfile
import urllib.request

from . import peers, rig

TASKS_H1 = ["plain", "edit", "wasm", "lua", "ten"]
TASKS_H2 = ["plain", "edit", "wasm", "ten"]
WARM_UP_SECONDS = 1
# Requests in flight: answered after the load generator stopped counting.
CONNECTIONS = 64
CONNECTIONS_H2, STREAMS = 8, 16
CALLS = re.compile(r'^penstock_filter_steps_total\{[^}]*tier="call"[^}]*\} (\d+)', re.M)
LUA_VARYING = """
local n = 0
request = function()
  n = n + 1
  wrk.headers["x-n"] = tostring(n)
  return wrk.format("GET", "/")
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d\\n", summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def run(seconds: int, rounds: int, only: str | None, say) -> list[dict]:
    """Rows {protocol, task, proxy, us, requests} of all combinations."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        script = folder / "varying.lua"
        script.write_text(LUA_VARYING)
        with peers.backend(folder) as backend:
            for protocol, tasks, starters in (("HTTP/1.1", TASKS_H1, peers.STARTERS),
                                              ("HTTP/2", TASKS_H2, peers.STARTERS_H2C)):
                tasks = [t for t in tasks if not only or only in f"{protocol} {t}"]
                servers = _start(protocol, tasks, starters, folder, backend.port, script)
                try:
                    rows += _rounds(protocol, servers, script, seconds, rounds, say)
                finally:
                    for server in servers.values():
                        server.stop()
    return rows


def _start(protocol, tasks, starters, folder, upstream, script) -> dict:
    """One server for each task and proxy, all alive at once, so that rounds can be interleaved and
    the cost that a task adds is taken within one round."""
    servers = {}
    for task in tasks:
        for name, starter in starters.items():
            place = folder / f"{protocol[5]}-{task}-{name.replace(' ', '-')}"
            place.mkdir()
            server = starter(task, place, upstream, None, 1)
            if server:
                servers[task, name] = server
                _load(protocol, server.port, WARM_UP_SECONDS, script)
    return servers


def _rounds(protocol, servers, script, seconds, rounds, say) -> list[dict]:
    best = {}
    for round_number in range(rounds):
        say(f"{protocol}: round {round_number + 1} of {rounds}")
        for key, server in servers.items():
            before, calls = server.cpu_seconds(), _calls(server)
            requests = _load(protocol, server.port, seconds, script)
            cost = (server.cpu_seconds() - before) / requests * 1e6
            _check_calls(key, requests, _calls(server) - calls)
            if key not in best or cost < best[key][0]:
                best[key] = (cost, requests)
    return [{"protocol": protocol, "task": task, "proxy": name, "us": cost, "requests": requests}
            for (task, name), (cost, requests) in best.items()]


def _calls(server: rig.Server) -> int:
    """How often Penstock called filters so far; 0 of peers."""
    admin = getattr(server, "admin", None)
    if admin is None:
        return 0
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as page:
        return sum(map(int, CALLS.findall(page.read().decode())))


def _check_calls(key: tuple[str, str], requests: int, calls: int) -> None:
    task, name = key
    each = peers.POLICIES.get(task, 0) if name == "penstock" else 0
    most = requests + max(CONNECTIONS, CONNECTIONS_H2 * STREAMS)
    if not requests * each <= calls <= most * each:
        raise RuntimeError(f"{task}: {calls} calls of filters in {requests} requests, {each} in each")


def _load(protocol: str, port: int, seconds: int, script: pathlib.Path) -> int:
    """Loads a proxy and returns how many requests were answered; any failure is an error."""
    if protocol == "HTTP/1.1":
        text = rig.on_load_core([rig.need("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script),
                                 f"http://127.0.0.1:{port}/"])
        requests, failed = map(int, re.search(r"RESULT (\d+) (\d+)", text).groups())
    else:
        text = rig.on_load_core([rig.need("h2load"), "-t1", f"-c{CONNECTIONS_H2}", f"-m{STREAMS}",
                                f"-D{seconds}",
                                 "-H", "x-n: 1", f"http://127.0.0.1:{port}/"])
        done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
        requests, failed = int(done[2]), int(done[3]) + int(done[4])
    if failed or not requests:
        raise RuntimeError(f"{failed} of {requests} requests failed:\n{text}")
    return requests
