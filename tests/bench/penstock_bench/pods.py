"""From pod to pod on one node, beside the plugins `bridge` and `ptp` of the CNI project. Needs root.

Each network has a node and two pods, network namespaces all; they are alive together, and measured in
turn, round by round. The node of each tracks connections, translates a Service and drops what is
invalid, as kube-proxy has it. Server (nginx) and load generator (wrk) have a core each.

Time is that of both processes: what the kernel does for a packet, it does in the name of the one that
sends it (interrupts' time is counted to whom they interrupt, unless CONFIG_IRQ_TIME_ACCOUNTING is set).
Each figure is the best of its rounds.
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import tempfile
import time

from . import peers, rig

NETWORKS = ("bridge", "ptp", "penstock, forwarded", "penstock")
TASKS = {
    "64 connections, kept": ("-c64",),
    "1 connection, kept": ("-c1",),
    "64 at a time, each for one request": ("-c64", "-H", "Connection: close"),
}
# Many short rounds: with one connection what is measured is how soon a process wakes, and whatever else
# runs has most to say in a long one.
ROUNDS, SECONDS = 25, 1
PLUGINS = "/usr/lib/cni"
PORT = 8080
NFT = """table ip services {
  chain pre { type nat hook prerouting priority -100; ip daddr 172.20.0.10 tcp dport 80 dnat to SERVER; }
  chain post { type nat hook postrouting priority 100; }
  chain forward { type filter hook forward priority 0; ct state invalid drop; }
}
"""
# A connection of wrk that the server closed after its answer is no error.
SCRIPT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class PodServer(rig.Server):
    """A server in a pod: ready when a socket of its namespace listens at its port."""

    def _wait_for_port(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        listens = re.compile(rf"^ *\d+: \S+:{self.port:04X} \S+ 0A ", re.M)
        while time.monotonic() < end and self.process.poll() is None:
            if listens.search(pathlib.Path(f"/proc/{self.pid}/net/tcp").read_text()):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not serve:\n{self.output()[-2000:]}")


def run(quick: bool, say) -> list[dict]:
    """Rows {network, task, rate, us}: requests in a second, and microseconds of both ends for each."""
    rounds, best = 1 if quick else ROUNDS, {}
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = folder / "result.lua"
        script.write_text(SCRIPT)
        sites = {}
        for number, network in enumerate(NETWORKS):
            say(f"pods: {network}")
            place = folder / str(number)
            place.mkdir()
            sites[network] = _site(stack, network, place)
            _load(*sites[network], 1, (), script)
        for round_number in range(rounds):
            say(f"pods: round {round_number + 1} of {rounds}")
            for task, arguments in TASKS.items():
                for network, site in sites.items():
                    rate, us = _load(*site, SECONDS, arguments, script)
                    row = best.setdefault((network, task), {"rate": rate, "us": us})
                    row["rate"], row["us"] = max(row["rate"], rate), min(row["us"], us)
    return [{"network": network, "task": task, **best[network, task]}
            for task in TASKS for network in NETWORKS]


def _site(stack, network: str, folder: pathlib.Path) -> tuple[str, str, rig.Server]:
    """The namespace of the client's pod, the server's address, and the server."""
    if network.startswith("penstock"):
        node, client, server, address = _penstock(stack, network == "penstock")
    else:
        node, client, server, address = _plugin(stack, network, folder)
    _in(node, ["nft", "-f", "-"], input=NFT.replace("SERVER", f"{address}:{PORT}"))
    conf = folder / "nginx.conf"
    conf.write_text(peers.nginx_main(folder, "nginx") + f"""
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  server {{ listen {address}:{PORT} backlog=4096; default_type text/plain;
    location / {{ return 200 "hello, world!"; }} }} }}
""")
    command = ["ip", "netns", "exec", server, rig.need("nginx"), "-c", str(conf), "-p", str(folder)]
    return client, address, stack.enter_context(PodServer("nginx", command, PORT))


def _penstock(stack, redirect: bool) -> tuple[str, str, str, str]:
    build = ["cargo", "build", "--release", "-q", "-p", "penstock-net", "--example", "pods"]
    subprocess.run(build, cwd=peers.REPO, check=True)
    program = [str(peers.target_dir() / "release/examples/pods")] + ["redirect"] * redirect
    process = stack.enter_context(subprocess.Popen(program, text=True, stdin=subprocess.PIPE,
                                                   stdout=subprocess.PIPE))
    line = process.stdout.readline().split()
    if len(line) != 5:
        raise RuntimeError(f"{program} made no pods")
    node, client, server, _, address = line
    return node, client, server, address


def _plugin(stack, plugin: str, folder: pathlib.Path) -> tuple[str, str, str, str]:
    node, client, server = (f"pstb-{os.getpid()}-{plugin}-{role}" for role in ("node", "c", "s"))
    for name in (node, client, server):
        subprocess.run(["ip", "netns", "add", name], check=True)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
        _in(name, ["ip", "link", "set", "lo", "up"])
    configuration = json.dumps({
        "cniVersion": "0.4.0", "name": "bench", "type": plugin, "bridge": "cni0",
        "isGateway": True, "ipMasq": False,
        "ipam": {"type": "host-local", "dataDir": str(folder / "addresses"),
                 "ranges": [[{"subnet": "10.85.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    })
    for pod in (client, server):
        environment = ["env", "CNI_COMMAND=ADD", f"CNI_CONTAINERID={pod}", "CNI_IFNAME=eth0",
                       f"CNI_NETNS=/run/netns/{pod}", f"CNI_PATH={PLUGINS}"]
        said = _in(node, [*environment, f"{PLUGINS}/{plugin}"], input=configuration)
        address = json.loads(said)["ips"][0]["address"].split("/")[0]
    return node, client, server, address


def _in(namespace: str, command: list[str], **more) -> str:
    done = subprocess.run(["ip", "netns", "exec", namespace, *command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {namespace}: {done.stdout}")
    return done.stdout


def _load(client, address, server, seconds: int, arguments, script) -> tuple[float, float]:
    """Requests in a second, and microseconds of both ends for each; a failed request is an error."""
    command = ["ip", "netns", "exec", client, rig.need("wrk"), "-t1", f"-d{seconds}s", "-s",
               str(script), *(arguments or ("-c8",)), f"http://{address}:{PORT}/"]
    before = _of_children() + server.cpu_seconds()
    text = rig.on_load_core(command)
    used = _of_children() + server.cpu_seconds() - before
    requests, duration, failed = map(int, re.search(r"RESULT (\d+) (\d+) (\d+)", text).groups())
    if failed or not requests:
        raise RuntimeError(f"{failed} of {requests} requests failed:\n{text}")
    return requests / duration * 1e6, used / requests * 1e6


def _of_children() -> float:
    """Seconds of processor time of the processes that ended, the load generator the last."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
