"""gRPC load: N calls at once for some seconds. Runs in MLServer's environment or in ours.

    python grpc_client.py PORT CALLS SECONDS BODIES

BODIES: a JSON list of requests of the Open Inference Protocol. Numbers and texts travel as raw
bytes, as tritonclient sends them. Requests are built before the clock starts, and only the first
answer is read. It speaks as much HTTP/2 (RFC 9113) as a unary call needs, because the client of
grpcio spends 0.3 ms on a call, more than the servers that are to be told apart.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

try:
    from mlserver.grpc import dataplane_pb2 as messages
except ImportError:  # for our own curves: the same messages
    from tritonclient.grpc import service_pb2 as messages

PATH = b"/inference.GRPCInferenceService/ModelInfer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65535


def message(body: dict[str, Any]) -> bytes:
    """A request as the bytes on the wire."""
    request = messages.ModelInferRequest(model_name="income")
    for tensor in body["inputs"]:
        request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        request.raw_input_contents.append(_raw(tensor["datatype"], tensor["data"]))
    return request.SerializeToString()


def _raw(datatype: str, data: list[Any]) -> bytes:
    if datatype == "FP64":
        return struct.pack(f"<{len(data)}d", *data)
    texts = [text.encode() for text in data]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def probability(answer: bytes) -> float:
    """The chance of the second class, from raw bytes or typed contents."""
    response = messages.ModelInferResponse.FromString(answer)
    place = [output.name for output in response.outputs].index("probabilities")
    if response.raw_output_contents:
        return float(struct.unpack_from("<2d", response.raw_output_contents[place])[1])
    return float(response.outputs[place].contents.fp64_contents[1])


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """An HTTP/2 frame."""
    head = len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + content


def request_headers(authority: bytes) -> bytes:
    """HPACK without compression: static names by number, values as they are (RFC 7541)."""

    def text(value: bytes) -> bytes:
        return bytes((len(value),)) + value

    method, scheme, path, host, kind = b"\x83", b"\x86", b"\x04", b"\x01", b"\x0f\x10"
    found = method + scheme + path + text(PATH) + host + text(authority)
    return found + kind + text(b"application/grpc") + b"\x00" + text(b"te") + text(b"trailers")


class Caller(asyncio.Protocol):
    """One connection that keeps `calls` streams open until `until`, one call after another.

    A call is good when a message came before its trailers: a unary call that fails has none.
    """

    def __init__(self, bodies: list[bytes], port: int) -> None:
        prefixed = [b"\x00" + len(body).to_bytes(4, "big") + body for body in bodies]
        self.bodies = prefixed
        self.headers = request_headers(f"127.0.0.1:{port}".encode())
        self.received = b""
        self.window = FIRST_WINDOW
        self.waiting = 0
        self.stream = 1
        self.begun: dict[int, float] = {}
        self.answers: dict[int, bytes] = {}
        self.first = b""
        self.calls = self.failed = 0
        self.times: list[float] = []
        self.until = 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Greet, with a window that never closes."""
        self.transport = transport
        settings = struct.pack(">HIHI", 1, 0, 4, LARGEST_WINDOW)
        more = struct.pack(">I", LARGEST_WINDOW - FIRST_WINDOW)
        greeting = frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, more)
        transport.write(PREFACE + greeting)

    def start(self, calls: int, until: float) -> asyncio.Future[None]:
        """Open the calls; the future is done when the last has ended."""
        self.ended = asyncio.get_running_loop().create_future()
        self.times, self.failed, self.until = [], 0, until
        self.waiting = calls
        self.transport.write(b"".join(self._new_calls()))
        return self.ended

    def _new_calls(self) -> list[bytes]:
        """Frames of the waiting calls, as far as the server's window goes."""
        found = []
        while self.waiting:
            body = self.bodies[self.calls % len(self.bodies)]
            if len(body) > self.window:
                break
            self.waiting -= 1
            self.calls += 1
            self.window -= len(body)
            found.append(frame(HEADERS, END_HEADERS, self.stream, self.headers))
            found.append(frame(DATA, END_STREAM, self.stream, body))
            self.begun[self.stream] = time.perf_counter()
            self.stream += 2
        return found

    def data_received(self, data: bytes) -> None:
        """Read all whole frames, and answer them in one write."""
        data, place, out = self.received + data, 0, []
        while len(data) - place >= 9:
            end = place + 9 + int.from_bytes(data[place : place + 3], "big")
            if end > len(data):
                break
            stream = int.from_bytes(data[place + 5 : place + 9], "big")
            out.append(self._frame(data[place + 3], data[place + 4], stream, data[place + 9 : end]))
            place = end
        self.received = data[place:]
        self.transport.write(b"".join(out + self._new_calls()))
        if not self.begun and not self.waiting and not self.ended.done():
            self.ended.set_result(None)

    def _frame(self, kind: int, flags: int, stream: int, content: bytes) -> bytes:
        """What is sent back for one frame."""
        if kind == DATA:
            self.answers[stream] = self.answers.get(stream, b"") + content
        elif kind in (RESET, GOAWAY):
            self.failed += 1
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(content, "big")
        elif kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, content)
        if kind == GOAWAY:
            self.begun.clear()
        elif stream and (kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM)):
            self._end(stream, is_counted=kind == RESET)
        return b""

    def _end(self, stream: int, is_counted: bool) -> None:
        """A call is over: keep its time, and open the next one in its place."""
        begun = self.begun.pop(stream, None)
        if begun is None:
            return
        now, answer = time.perf_counter(), self.answers.pop(stream, b"")
        if answer:
            self.times.append(now - begun)
            self.first = self.first or answer[5:]
        elif not is_counted:
            self.failed += 1
        self.waiting += now < self.until

    def connection_lost(self, error: Exception | None) -> None:
        """The server went away."""
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server closed the connection"))


async def drive(port: int, calls: int, seconds: float, bodies: list[bytes]) -> dict[str, Any]:
    """One call to see the answer, then `calls` at once until the time is over."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(lambda: Caller(bodies, port), "127.0.0.1", port)
    await asyncio.wait_for(caller.start(1, 0), 30)
    if not caller.first:
        raise SystemExit("The first call had no answer.")
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.wait_for(caller.start(calls, started + seconds), seconds + 30)
    took = time.perf_counter() - started
    times = sorted(caller.times)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        "per_second": len(times) / took,
        **{name: times[int(len(times) * share)] * 1e3 for name, share in shares.items()},
        "requests": len(times) + caller.failed,
        "failed": caller.failed,
        "probability": probability(caller.first),
        "client_cpu": (time.process_time() - cpu) / took,
    }


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[4]).read_text())
    wire = [message(one) for one in given]
    found = asyncio.run(drive(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), wire))
    print("RESULT " + json.dumps(found))
