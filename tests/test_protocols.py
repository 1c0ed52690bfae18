"""docs/protocols.md runs as it stands, and the clients of Triton and KServe work over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import modelwright as mw
from away import away
from modelwright.pack.artefact import Artefact
from modelwright.serve.settings import Settings
from serve.doors import KINDS, Desk, OneLive, rows, serving
from serve.test_app import server

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "protocols.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```python title="([\w.]+)"\n(.*?)^```', PAGE, flags=re.S | re.M))


@pytest.fixture(scope="module")
def web(released: mw.Released) -> Iterator[httpx.Client]:
    with server(released.run / "artefact") as found:
        yield found


@pytest.fixture(scope="module")
def address(web: httpx.Client) -> str:
    return f"127.0.0.1:{web.base_url.port}"


@pytest.fixture(scope="module")
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as found:
        yield found


def run(command: list[str]) -> str:
    """In a process of its own: the messages of KServe and Triton have the same names."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(name: str, given: str, found: str) -> str:
    if name.startswith("kserve"):
        check = subprocess.run([sys.executable, "-c", "import kserve"], capture_output=True)
        if check.returncode:
            away("the KServe SDK cannot be imported; requirements.txt has what it needs")
    assert BLOCKS[name].count(given)
    return run([sys.executable, "-c", BLOCKS[name].replace(given, found)])


def test_the_curl_of_the_page(address: str) -> None:
    [command] = re.findall(r"^```bash\n(curl.*?)^```", PAGE, flags=re.S | re.M)
    found = run(["bash", "-euc", command.replace("127.0.0.1:8000", address)])
    assert '"id":"a1"' in found and '"probabilities"' in found


@pytest.mark.parametrize("name", ["triton_grpc.py", "kserve_grpc.py"])
def test_the_grpc_clients_of_the_page(desk: Desk, name: str) -> None:
    with serving(desk, Settings(models=())) as (handle, _):
        found = python(name, "127.0.0.1:8001", f"127.0.0.1:{handle.port}")
    assert re.search(r"yes|no", found)


def test_the_triton_client_of_the_page(address: str) -> None:
    assert re.search(r"yes|no", python("triton_http.py", "127.0.0.1:8000", address))


def test_the_kserve_client_of_the_page(address: str) -> None:
    assert "probabilities" in python("kserve_rest.py", "127.0.0.1:8000", address)


def inputs(given_rows: list[dict[str, Any]], binary: bool) -> list[triton.InferInput]:
    found = []
    for name, kind in KINDS.items():
        values = [row[name] for row in given_rows]
        dtype = {"FP64": "f8", "INT64": "i8", "BOOL": "?", "BYTES": "O"}[kind]
        array = np.array([1.5 if v is None and kind == "FP64" else v or "" for v in values], dtype)
        tensor = triton.InferInput(name, [len(values)], kind)
        found.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return found


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("algorithm", [None, "gzip"])
def test_tensors_in_bytes_or_json_both_ways(
    client: triton.InferenceServerClient,
    desk: Desk,
    binary_in: bool,
    binary_out: bool | None,
    algorithm: str | None,
) -> None:
    given_rows = [{**row, "size, cm": row["size, cm"] or 1.5} for row in rows(7)]
    outputs = [
        triton.InferRequestedOutput(name, binary_data=bool(binary_out))
        for name in ("prediction", "probabilities")
    ]
    answer = client.infer(
        "shop", inputs(given_rows, binary_in), request_id="a-7", model_version="3",
        outputs=None if binary_out is None else outputs, request_compression_algorithm=algorithm,
    )  # fmt: skip
    wanted = desk.only.artefact.predict(given_rows)
    labels = [v.decode() if isinstance(v, bytes) else v for v in answer.as_numpy("prediction")]
    assert labels == [row["prediction"] for row in wanted]
    assert answer.as_numpy("probabilities")[:, 1].tolist() == [row["p_yes"] for row in wanted]
    assert answer.get_response()["id"] == "a-7"


def test_tritonclient_administers(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("shop") and client.is_model_ready("shop", "3")
    assert not client.is_model_ready("other") and not client.is_model_ready("shop", "9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("shop", "3")["versions"] == ["3"]
    with pytest.raises(InferenceServerException, match="No such model"):
        client.get_model_metadata("other")


def test_the_model_repository(client: triton.InferenceServerClient) -> None:
    [entry] = client.get_model_repository_index()
    assert (entry["name"], entry["version"], entry["state"]) == ("shop", "3", "READY")
    with pytest.raises(InferenceServerException, match="refused"):
        client.load_model("shop", config="{}")


def test_faults_are_read_by_tritonclient(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="unknown input 'sizee'"):
        client.infer("shop", [triton.InferInput("sizee", [1], "FP64").set_data_from_numpy(
            np.array([1.0]), binary_data=False)])  # fmt: skip
