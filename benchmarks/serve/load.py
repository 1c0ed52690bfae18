"""Send a load to a running server: wrk over HTTP, our client over gRPC."""

from __future__ import annotations

import json
import math
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import HERE, Load, Place

JSON_HEADERS = {"Content-Type": "application/json"}


class LoadFailed(Exception):
    """The client itself ended with an error."""


def post(url: str, content: bytes, headers: Mapping[str, str] = JSON_HEADERS) -> bytes | None:
    """The answer's body, or None for anything but a 200."""
    request = urllib.request.Request(url, content, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read() if reply.status == 200 else None
    except (OSError, urllib.error.URLError):
        return None


def over_http(
    url: str, bodies: Path, load: Load, seconds: int, headers: Mapping[str, str] = JSON_HEADERS
) -> dict[str, Any]:
    """What wrk measured: requests a second, percentiles in ms, requests, failed ones."""
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "post.lua"), url]
    return _result(command, {"BODIES": str(bodies), "HEADERS": lines})


def over_grpc(port: int, bodies: Path, load: Load, seconds: int, place: Place) -> dict[str, Any]:
    """The same by our gRPC client, and the first answer's probability."""
    python = str(place.cache / "mlserver" / "bin" / "python")
    words = [str(port), str(load.connections), str(seconds), str(bodies)]
    return _result([python, str(HERE / "grpc_client.py"), *words], {})


def bare_session(rows: Path, place: Place) -> dict[str, Any]:
    """CPU microseconds of `session.run` a row: `one` at a time and in a `batch` of 64."""
    python = str(place.cache / "fastapi" / "bin" / "python")
    script = HERE / "peers" / "session_run.py"
    return _result([python, str(script), str(rows)], {"BENCH_ARTEFACT": str(place.artefact)})


def _result(command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, Any] = json.loads(line.removeprefix("RESULT ").replace("-nan", "NaN"))
            return {k: math.nan if v is None else v for k, v in found.items()}
    raise LoadFailed(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-800:]}")
