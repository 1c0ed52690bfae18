"""Does a server that is used for long grow? Mixed traffic, and a line fitted through its memory.

    python benchmarks/serve/soak.py --artefact runs/<id>/artefact --minutes 10

Every kind of request that leaves something behind is in the mix: single rows, batches, tables by
column, categories that were never seen, unknown columns, wrong values, bodies that are no JSON,
connections that are made and dropped, pages, metrics, request ids of the callers. After a warm-up
the resident memory and open files of the worker are read once a second. The slope of a line through
them is told with its standard error, which allows for neighbouring readings being alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

WARM_SHARE = 0.4
CLIENTS = 8
TOGETHER = 20
RUN_ROWS, KEPT_LENGTHS, KEPT_EACH = 1024, 20, 2000
PAGE = os.sysconf("SC_PAGE_SIZE")


def fill(client: Client) -> None:
    """Fill what is bounded but takes longer to fill than a soak lasts, about 7 MB: a plan of ONNX
    Runtime for each number of rows in a run, and CPython's free tuples of each short length."""
    for rows in range(1, RUN_ROWS + 1):
        client.send("/predict", encoded([client.row()] * rows))
    for rows in range(2, KEPT_LENGTHS + 1):
        body = encoded([client.row()] * rows)
        for _ in range(KEPT_EACH):
            client.send("/predict", body)


class Client(threading.Thread):
    """Sends one request after the other, of a kind by chance."""

    def __init__(self, port: int, example: dict[str, Any], seed: int) -> None:
        super().__init__(daemon=True)
        self.counts: Counter[str] = Counter()
        self.stopping = False
        self._port, self._example = port, example
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._socket: socket.socket | None = None

    def run(self) -> None:
        while not self.stopping:
            kind = self._random.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
            path, body = KINDS[kind][0](self)
            status = self.send(path, body)
            self.counts[f"{kind} {status}"] += 1
            if self._random.random() < 0.02 and self._socket is not None:
                self._socket.close()
                self._socket = None

    def row(self, **changes: Any) -> dict[str, Any]:
        return {**self._example, **changes}

    def made_up(self) -> str:
        return f"made up {self._random.getrandbits(60):x}"

    def send(self, path: str, body: bytes) -> int:
        """Ask once; the status, 0 when the connection broke."""
        method = "POST" if body else "GET"
        head = (f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
                f"x-request-id: {self.made_up().replace(' ', '-')}\r\n\r\n")  # fmt: skip
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), 30)
        try:
            self._socket.sendall(head.encode() + body)
            return self._read(self._socket)
        except OSError:
            self._socket.close()
            self._socket = None
            return 0

    def _read(self, place: socket.socket) -> int:
        data = b""
        while b"\r\n\r\n" not in data:
            part = place.recv(65536)
            if not part:
                raise ConnectionError
            data += part
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(v.split(": ")[1]) for v in lines if v.startswith("content-length"))
        while len(rest) < length:
            rest += place.recv(65536)
        if "connection: close" in lines:
            place.close()
            self._socket = None
        return int(lines[0].split(" ")[1])

    def first_text(self) -> str:
        return next((n for n, v in self._example.items() if isinstance(v, str)), "")


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode()


KINDS: dict[str, Any] = {
    "row": (lambda c: ("/predict", encoded(c.row())), 40),
    "rows": (lambda c: ("/predict", encoded([c.row()] * c._random.randint(2, 64))), 10),
    "many": (lambda c: ("/predict", encoded([c.row()] * 3000)), 0.2),
    "columns": (
        lambda c: ("/predict", encoded({"columns": {k: [v] * 5 for k, v in c.row().items()}})), 5,
    ),
    "unseen": (lambda c: ("/predict", encoded(c.row(**{c.first_text(): c.made_up()}))), 10),
    "long": (lambda c: ("/predict", encoded(c.row(**{c.first_text(): c.made_up() * 500}))), 2),
    "unknown": (lambda c: ("/predict", encoded(c.row(**{c.made_up(): 1}))), 5),
    "wrong": (lambda c: ("/predict", encoded(c.row(**{c.first_text(): {"a": 1}}))), 5),
    "no json": (lambda c: ("/predict", b"{" + c.made_up().encode()), 5),
    "nowhere": (lambda c: (f"/{c.made_up().replace(' ', '/')}", b""), 5),
    "metrics": (lambda _: ("/metrics", b""), 0.3),
    "openapi": (lambda _: ("/openapi.json", b""), 0.3),
    "health": (lambda _: ("/v2/health/ready", b""), 3),
}  # fmt: skip


def slope(seconds: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Per hour, with its standard error; neighbours that are alike count for less.

    Of means over `TOGETHER` seconds: memory goes up and down in waves of a minute as the allocator
    takes and gives back, and from one second to the next nothing tells those from growth.

    Source: the error of a slope under first-order autocorrelation, Santer et al., JGR 2000.
    """
    blocks = max(4, round((seconds[-1] - seconds[0]) / TOGETHER))
    seconds, values = (
        np.array([part.mean() for part in np.array_split(column, blocks)])
        for column in (seconds, values)
    )
    hours = (seconds - seconds.mean()) / 3600
    found = float(hours @ values / (hours @ hours))
    rest = values - values.mean() - found * hours
    alike = float(rest[1:] @ rest[:-1] / max(rest @ rest, 1e-12))
    count = max(3.0, len(values) * (1 - max(alike, 0.0)) / (1 + max(alike, 0.0)))
    return found, float(np.sqrt(rest @ rest / (count - 2) / (hours @ hours)))


def started(artefact: Path) -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-m", "modelwright.serve", "--artefact", str(artefact), "--tried",
             "--port", "0", "--quiet"]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline().rsplit(":", 1)[1])


def watched(pid: int, until: float) -> np.ndarray:
    """Rows of (time, resident bytes, open files), one a second."""
    rows = []
    while (now := time.monotonic()) < until:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        rows.append((now, resident, len(list(Path(f"/proc/{pid}/fd").iterdir()))))
        time.sleep(1.0)
    return np.array(rows, float)


def main() -> int:
    """0 when nothing grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artefact", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    example = json.loads((given.artefact / "manifest.json").read_text())["example"]
    process, port = started(given.artefact)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    clients = [Client(port, example, seed) for seed in range(CLIENTS)]
    fill(clients[0])
    for client in clients:
        client.start()
    rows = watched(int(children[0]), time.monotonic() + 60 * given.minutes)
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join(30)
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    total: Counter[str] = sum((client.counts for client in clients), Counter())
    return report(rows, total, code)


def report(rows: np.ndarray, total: Counter[str], code: int) -> int:
    """Print what was seen; 0 when nothing grows and nothing failed. A machine that is held up
    sheds (503): that is counted, and no failure."""
    later = rows[rows[:, 0] > rows[0, 0] + WARM_SHARE * (rows[-1, 0] - rows[0, 0])]
    grows, error = slope(later[:, 0], later[:, 1] / 1e6)
    files = later[:, 2]
    print(f"{sum(total.values()):,} requests in {rows[-1, 0] - rows[0, 0]:.0f} s: "
          f"{dict(sorted(total.items()))}")  # fmt: skip
    print(f"memory: {rows[0, 1] / 1e6:.1f} MB at first, {later[0, 1] / 1e6:.1f} MB when warm, "
          f"{rows[-1, 1] / 1e6:.1f} MB at the end")  # fmt: skip
    minutes = [
        f"{rows[rows[:, 0] <= rows[0, 0] + 60 * n][-1, 1] / 1e6:.1f}"
        for n in range(1, int((rows[-1, 0] - rows[0, 0]) / 60) + 1)
    ]
    print(f"MB after each minute: {', '.join(minutes)}")
    print(f"slope after the warm-up: {grows:+.2f} MB an hour, standard error {error:.2f}")
    print(f"open files: {files.min():.0f} to {files.max():.0f}; exit code {code}")
    shed = sum(n for kind, n in total.items() if kind.endswith(" 503"))
    failed = sum(n for kind, n in total.items() if kind.rsplit(" ", 1)[1][0] in "05") - shed
    flat = grows < 2 * error + 1 and files[-1] <= files[0] + CLIENTS
    print(f"{'nothing grows' if flat else 'GROWS'}; {failed} requests failed, {shed} were told 503")
    return 0 if flat and not failed and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
