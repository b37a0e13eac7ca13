"""Resident memory: idle, and for each idle pair of a client and an upstream connection."""

import pathlib
import socket
import tempfile
import threading
import time

from . import peers, rig

PAIRS = 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nhello, world!"


class HoldingBackend:
    """Answers nobody until `PAIRS` requests wait on as many connections."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=PAIRS)
        self.port = self.socket.getsockname()[1]
        self.waiting: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while len(self.waiting) < PAIRS:
            connection, _ = self.socket.accept()
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    break
                head += piece
            else:
                self.waiting.append(connection)
        for connection in self.waiting:
            connection.sendall(ANSWER)

    def close(self) -> None:
        """Closes every connection."""
        for connection in [self.socket, *self.waiting]:
            connection.close()


def run(say) -> list[dict]:
    """Rows {proxy, idle_mib, pair_kib}."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, starter in peers.STARTERS.items():
            say(f"memory: {name}")
            backend = HoldingBackend()
            place = folder / name.replace(" ", "-")
            place.mkdir()
            with starter("plain", place, backend.port, None, 1) as server:
                time.sleep(1)
                idle = server.rss_kib()
                clients = _clients(server.port)
                time.sleep(1)
                used = server.rss_kib()
                for s in clients:
                    s.close()
            backend.close()
            rows.append({"proxy": name, "idle_mib": idle / 1024, "pair_kib": (used - idle) / PAIRS})
    return rows


def _clients(port: int) -> list[socket.socket]:
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(PAIRS)]
    for s in sockets:
        s.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    for s in sockets:
        answer = b""
        while b"hello, world!" not in answer:
            piece = s.recv(4096)
            if not piece:
                raise RuntimeError(f"closed after {answer!r}")
            answer += piece
    return sockets
