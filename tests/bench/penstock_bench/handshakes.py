"""CPU per full TLS 1.3 handshake with an ECDSA P-256 certificate; no request is sent."""

import pathlib
import re
import subprocess
import tempfile

from . import peers, rig


def certificate(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A self-signed ECDSA certificate for localhost and its key, made by openssl."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run([rig.need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "30", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return cert, key


def run(seconds: int, rounds: int, say) -> list[dict]:
    """Rows {proxy, us, handshakes}."""
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tls = certificate(folder)
        with peers.backend(folder) as backend:
            servers = {}
            try:
                for name, starter in peers.STARTERS.items():
                    place = folder / name.replace(" ", "-")
                    place.mkdir()
                    server = starter("plain", place, backend.port, tls, 1)
                    if server:
                        servers[name] = server
                        _handshakes(server.port, 1)
                for round_number in range(rounds):
                    say(f"TLS handshakes: round {round_number + 1} of {rounds}")
                    for name, server in servers.items():
                        before = server.cpu_seconds()
                        count = _handshakes(server.port, seconds)
                        cost = (server.cpu_seconds() - before) / count * 1e6
                        if name not in best or cost < best[name][0]:
                            best[name] = (cost, count)
            finally:
                for server in servers.values():
                    server.stop()
    return [{"proxy": n, "us": c, "handshakes": k} for n, (c, k) in best.items()]


def _handshakes(port: int, seconds: int) -> int:
    """Full handshakes made one after the other (`-new`: no session is resumed)."""
    text = rig.on_load_core([rig.need("openssl"), "s_time", "-connect", f"127.0.0.1:{port}", "-new",
                             "-tls1_3", "-time", str(seconds)])
    return int(re.search(r"(\d+) connections in [\d.]+ real seconds", text)[1])
