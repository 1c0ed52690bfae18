"""For tests of doors: a small dispatcher that answers from one version, and requests for it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tritonclient.grpc import service_pb2

from modelwright.core.intake import Feeds
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers, Artefact
from modelwright.serve import oip
from modelwright.serve.grpc_door import GrpcHandle, serve_grpc
from modelwright.serve.listening import listen
from modelwright.serve.messages import Answered, Call, Live, ProtocolError, Reader, Then
from modelwright.serve.settings import Settings, Token
from modelwright.serve.tokens import Gate
from projects import mixed_table

SECONDS = 20.0
KINDS = {"size, cm": "FP64", "colour": "BYTES", "big": "INT64", "member": "BOOL", "start": "BYTES"}


@dataclass
class OneLive:
    """A version that is served."""

    artefact: Artefact
    model: str = "shop"
    version: str = "3"

    @property
    def manifest(self) -> Manifest:
        return self.artefact.manifest

    @property
    def schema(self) -> Schema:
        return self.artefact.schema

    def run(self, feeds: Feeds) -> Answers:
        return self.artefact.answer(dict(feeds))


@dataclass
class Desk:
    """Answers with the one version; remembers the calls."""

    only: OneLive
    ready: bool = True
    calls: list[Call] = field(default_factory=list)
    fails: Mapping[str, Exception] = field(default_factory=dict)
    tasks: set[asyncio.Future[None]] = field(default_factory=set)

    def ask(self, call: Call, read: Reader, then: Then) -> None:
        task = asyncio.ensure_future(self._told(call, read, then))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _told(self, call: Call, read: Reader, then: Then) -> None:
        try:
            then(await self.answer(call, read))
        except Exception as error:  # noqa: BLE001  as `Models` does
            then(error)

    async def answer(self, call: Call, read: Reader) -> Answered:
        self.calls.append(call)
        if call.id in self.fails:
            raise self.fails[call.id]
        if call.deadline is not None and call.deadline < time.perf_counter():
            raise ProtocolError(504, "Too late.")
        live = self.live(call.model, call.version)
        question = read(live)
        fallback = "previous" if call.id == "fall back" else ""
        return Answered(question, live.run(question.feeds), live, fallback=fallback)

    def live(self, model: str, version: str | None = None) -> Live:
        if model != self.only.model or version not in (None, self.only.version):
            raise ProtocolError(404, f"No model {model[:80]!r} in that version.")
        return self.only

    def models(self) -> tuple[str, ...]:
        return (self.only.model,)

    def versions(self, model: str) -> tuple[str, ...]:
        return (self.live(model).version,)

    def is_ready(self, model: str | None = None) -> bool:
        return self.ready and model in (None, self.only.model)


@contextmanager
def serving(desk: Desk, chosen: Settings, **more: Any) -> Iterator[tuple[GrpcHandle, Any]]:
    """A loop of its own with the door in it; a function that runs something in that loop."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def inside(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(SECONDS)

    more.setdefault("authorize", lambda _given, _scope: None)
    try:
        handle = inside(serve_grpc(desk, chosen, listener=listen("127.0.0.1", 0, 1)[0], **more))
        try:
            yield handle, inside
        finally:
            inside(handle.stop(1.0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def connected(port: int) -> None:
    """Until somebody's connection to this port waits in the kernel, unread."""
    waiting = (f"0100007F:{port:04X}", "01")
    while True:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        if waiting in [(line[1], line[3]) for line in lines]:
            return
        await asyncio.sleep(0.01)


@contextmanager
def channel_to(desk: Desk) -> Iterator[grpc.Channel]:
    """A channel of grpcio's to a door of its own."""
    with (
        serving(desk, Settings(models=())) as (handle, _),
        grpc.insecure_channel(f"127.0.0.1:{handle.port}") as found,
    ):
        yield found


def rows(count: int, seed: int = 5) -> list[dict[str, Any]]:
    table = mixed_table(count, seed=seed).drop("bought").to_dicts()
    return [
        {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in r.items()} for r in table
    ]


def request(given: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    inputs = [
        {"name": n, "shape": [len(given)], "datatype": k, "data": [row[n] for row in given]}
        for n, k in KINDS.items()
    ]
    return {"inputs": inputs, **more}


def inputs(given_rows: list[dict[str, Any]]) -> list[triton.InferInput]:
    found = []
    for name, kind in KINDS.items():
        values = [row[name] for row in given_rows]
        if kind == "BYTES":
            array = np.array([(v or "").encode() for v in values], np.object_)
        else:
            dtype = {"FP64": "f8", "INT64": "i8", "BOOL": "?"}[kind]
            array = np.array([np.nan if v is None else v for v in values], dtype)
        tensor = triton.InferInput(name, [len(values)], kind)
        tensor.set_data_from_numpy(array)
        found.append(tensor)
    return found


def typed(given_rows: list[dict[str, Any]], **more: Any) -> service_pb2.ModelInferRequest:
    message = service_pb2.ModelInferRequest(model_name="shop", **more)
    fields = {"FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents",
              "BYTES": "bytes_contents"}  # fmt: skip
    for name, kind in KINDS.items():
        values = [row[name] for row in given_rows]
        if kind == "BYTES":
            values = [(v or "").encode() for v in values]
        tensor = message.inputs.add(name=name, datatype=kind, shape=[len(values)])
        filled = [float("nan") if v is None else v for v in values]
        getattr(tensor.contents, fields[kind]).extend(filled)
    return message


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, kind, plain))
    return str(folder / "cert.pem"), str(folder / "key.pem")


GATE = Gate(
    Settings(
        models=(),
        tokens=(
            Token("ask", "ask", frozenset({"predict"})),
            Token("ops", "ops", frozenset({"admin"})),
            Token("truth", "truth", frozenset({"labels"})),
        ),
    )
)


def authorize(given_entry: str, method: str) -> str:
    """As a server with a token of each scope, each its own secret."""
    return GATE.admit_call(method, {"authorization": given_entry}, 0.0)


class Store:
    """A repository that remembers what it was told."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []

    def index(self) -> list[oip.Entry]:
        return [oip.Entry("shop", "3"), oip.Entry("shop", "4", oip.UNAVAILABLE, "not loaded")]

    async def load(self, model: str, by: str = "") -> None:
        if model != "shop":
            raise ProtocolError(400, f"No model {model!r}.")
        self.done.append(("load", model, by))

    async def unload(self, model: str, by: str = "") -> None:
        self.done.append(("unload", model, by))
