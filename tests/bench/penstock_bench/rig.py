"""Processes under measurement: starting them on a core, reading what they used, stopping them.

The proxy under test runs on core 0 alone; load generator and backend share core 1. Every server
binds 127.0.0.1 and is ended by its process id.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PROXY_CORE = "0"
LOAD_CORE = "1"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need(command: str, *more: str) -> str:
    """The path of a command, or an error that says how to get it."""
    found = shutil.which(command, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *more]))
    if not found:
        raise SystemExit(f"{command} is missing; remedy: xtask/setup/bench-peers.sh")
    return found


class Server:
    """A server process, pinned, with its files in a folder of its own."""

    def __init__(self, name: str, command: list[str], port: int, *, core: str = PROXY_CORE,
                 env: dict[str, str] | None = None, wait: float = 20.0):
        self.name, self.port = name, port
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdout=self.log, stderr=self.log,
            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        try:
            self._wait_for_port(wait)
        except BaseException:
            self.stop()
            raise

    def _wait_for_port(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not serve on {self.port}:\n{self.output()[-2000:]}")

    def output(self) -> str:
        """What the process wrote so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def cpu_seconds(self) -> float:
        """User and system time of the whole process, from /proc/PID/stat."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_kib(self) -> int:
        """Resident memory in KiB, from /proc/PID/status."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def stop(self) -> None:
        """Ends the process by SIGTERM, then by SIGKILL."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def on_load_core(command: list[str], timeout: float = 120) -> str:
    """Runs a load generator on its core and returns what it printed."""
    done = subprocess.run(["taskset", "-c", LOAD_CORE, *command], capture_output=True, text=True,
                          timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
