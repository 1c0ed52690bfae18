"""One visit to one server: start it, check its answer, load it, read its costs, stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bodies import Row, body, dense_bodies, probability, row_bodies, write_bodies
from load import LoadFailed, over_grpc, over_http, post
from process import DidNotStart, Running, cpu_seconds, free_port, pss_mb
from servers import HERE, LOADS, Place, Server

Visit = dict[str, Any]
CLOSE = 1e-6
CLOSE_FLOAT32 = 1e-4
WARM_SECONDS = 1


class WrongAnswer(Exception):
    """A server's answer is not the graph's."""


@dataclass(frozen=True)
class Asked:
    """What is sent in all visits.

    Attributes:
        rows: of the example.
        chances: what the bare graph says about each; servers must agree.
        scratch: folder for bodies and logs.
        seconds: how long each load is measured.
    """

    rows: Sequence[Row]
    chances: Sequence[float]
    scratch: Path
    seconds: int


def visit(server: Server, loads: Sequence[str], place: Place, asked: Asked) -> Visit:
    """Measure one server; the result has `problem` in it when that failed."""
    ports = {name: free_port() for name in ("port", "grpc_port", "spare_port")}
    base = f"http://127.0.0.1:{ports['port']}"
    log = asked.scratch / f"{server.name.replace(' ', '-')}.log"
    command = place.command(server.command, server, ports)
    environment = place.environment(server, ports)
    found: Visit = {"loads": {}}
    ask = first_question(server, base, asked)
    try:
        with Running(command, environment, HERE / "peers", log) as running:
            found["cold"] = running.first_answer(ask)
            _check(server, base, asked)
            time.sleep(0.3)
            found["pss"] = pss_mb()
            for load in loads:
                drive = driver(load, server, ports, place, asked)
                drive(WARM_SECONDS)
                before = cpu_seconds()
                measured = drive(asked.seconds)
                spent = cpu_seconds() - before
                measured["cpu_us"] = spent * 1e6 / max(1, measured["requests"])
                found["loads"][load] = measured
            found["pss_after"] = pss_mb()
    except (DidNotStart, LoadFailed, WrongAnswer) as error:
        found["problem"] = str(error)
    return found


def first_question(server: Server, base: str, asked: Asked) -> Callable[[], bytes | None]:
    """How one answer is asked for, to see whether the server is up."""
    if "json784" in server.loads:
        content, headers = dense_bodies(binary=False, matrix=False)
        return lambda: post(base + server.path, content[0], headers)
    one = body(server.form, asked.rows[:1])
    return lambda: post(base + server.path, one)


def _check(server: Server, base: str, asked: Asked) -> None:
    """Every server must say what the bare graph says."""
    if "json784" in server.loads:
        return
    for row, wanted in zip(asked.rows[:20], asked.chances, strict=False):
        answer = post(base + server.path, body(server.form, [row]))
        if answer is None:
            raise WrongAnswer(f"no answer to {row}")
        if abs(probability(answer) - wanted) > CLOSE:
            raise WrongAnswer(f"wanted {wanted}, got {probability(answer)} for {row}")


def driver(
    load: str, server: Server, ports: Mapping[str, int], place: Place, asked: Asked
) -> Callable[[int], dict[str, Any]]:
    """The load with everything but its seconds."""
    wanted = LOADS[load]
    url = f"http://127.0.0.1:{ports['port']}{server.path}"
    if wanted.door == "grpc":
        return _grpc_driver(load, ports, place, asked)
    if wanted.door == "http":
        bodies = row_bodies(server.form, asked.rows, wanted.rows)
        path = write_bodies(asked.scratch / f"{server.form}-{wanted.rows}.bodies", bodies)
        return lambda seconds: over_http(url, path, wanted, seconds)
    return _dense_driver(load, url, asked)


def _dense_driver(load: str, url: str, asked: Asked) -> Callable[[int], dict[str, Any]]:
    """784 floats, as one tensor where the server takes that in both forms."""
    matrix = all(_dense_answer(url, binary, True) is not None for binary in (False, True))
    answers = [_dense_answer(url, binary, matrix) for binary in (False, True)]
    binary = LOADS[load].door == "dense binary"
    if answers[binary] is None:
        raise LoadFailed(f"{LOADS[load].about}: this server does not take them")
    if None not in answers and abs(answers[0] - answers[1]) > CLOSE_FLOAT32:
        raise WrongAnswer(f"784 floats: {answers[0]} as JSON, {answers[1]} as bytes")
    many, headers = dense_bodies(binary, matrix)
    path = write_bodies(asked.scratch / f"{load}.bodies", many)
    shape = {"shape": "one tensor" if matrix else "a tensor a column"}
    return lambda seconds: over_http(url, path, LOADS[load], seconds, headers) | shape


def _dense_answer(url: str, binary: bool, matrix: bool) -> float | None:
    """The first body's answer; None when the server refuses it."""
    many, headers = dense_bodies(binary, matrix)
    answer = post(url, many[0], headers)
    return None if answer is None else probability(answer)


def _grpc_driver(
    load: str, ports: Mapping[str, int], place: Place, asked: Asked
) -> Callable[[int], dict[str, Any]]:
    path = asked.scratch / "grpc.json"
    many = [json.loads(one) for one in row_bodies("tensors", asked.rows, 1)]
    path.write_text(json.dumps(many))

    def drive(seconds: int) -> dict[str, Any]:
        measured = over_grpc(ports["grpc_port"], path, LOADS[load], seconds, place)
        # The warm-up's first answer is to the first row, as every first answer is.
        if abs(measured["probability"] - asked.chances[0]) > CLOSE:
            raise WrongAnswer(f"wanted {asked.chances[0]}, got {measured['probability']} by gRPC")
        return measured

    return drive
