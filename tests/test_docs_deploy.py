"""docs/serve.md, docs/deploy.md and docs/tuning.md hold: tables against the code, blocks run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

import modelwright as mw
from away import away
from modelwright.core.spec_file import parse_spec
from modelwright.core.spec_serve import ServeSpec
from modelwright.serve import grpc_door, http, incoming
from modelwright.serve.metric_names import FAMILIES
from modelwright.serve.patience import Patience
from modelwright.serve.scopes import ROUTES
from modelwright.ways_in.operations import OPERATIONS
from projects import mixed_table
from serve.test_app import server
from test_docs import ROOT, blocks, free_port

SERVE, DEPLOY = "docs/serve.md", "docs/deploy.md"
PEM = """
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "model.example.com")])
chain = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
         .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
         .sign(key, hashes.SHA256()))
pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
open(sys.argv[1], "wb").write(chain.public_bytes(pem))
open(sys.argv[2], "wb").write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
"""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_every_route_is_in_the_table() -> None:
    [table] = re.findall(r"^\| route \| what it gives .*?\n\n", text_of(SERVE), flags=re.S | re.M)
    found = set(re.findall(r"/[\w./]*", table.replace("NAME", "{}").replace("/V", "/{}")))
    documented = set(re.findall(r"`(?:GET |POST )?(/[^`]*)`", table))
    documented = {path.replace("NAME", "{}").replace("/V", "/{}") for path in documented}
    wanted = {path for _, path, _ in ROUTES}
    assert wanted <= documented, found


def test_the_limits_are_those_of_the_code() -> None:
    text, spec, patience = text_of(SERVE), ServeSpec(), Patience()
    assert f"`serve.max_body`, {spec.max_body >> 20} MiB" in text
    assert f"`serve.max_rows`, {spec.max_rows:,}" in text
    assert f"`serve.queue`, {spec.queue:,}" in text
    assert f"`serve.deadline`, {spec.deadline:g} s" in text
    assert f"`serve.drain`, {spec.drain:g} s" in text
    most = http.Connections.__dataclass_fields__["most"].default
    assert f"| connections of a worker | {most:,};" in text
    assert f"| {http.MOST_PIPELINED}, then no more" in text
    heads = (incoming.HEAD_BYTES >> 10, incoming.MOST_HEADERS, incoming.URL_BYTES >> 10)
    assert "| {} KiB; {}; {} KiB |".format(*heads) in text
    held = incoming.LEAST_BODIES >> 20
    assert f"| {held} MiB, or {incoming.BODIES_AT_ONCE} of the largest |" in text
    assert f"send the head | {patience.head:g} s |" in text
    assert f"| {patience.body:g} s, and 1 s more for each {patience.slowest / 1024:g} KiB" in text
    assert f"| {patience.write:g} s, and 1 s for each" in text
    of_grpc = grpc_door.IDLE_SECONDS / 60
    assert f"of a connection | {patience.idle:g} s; gRPC {of_grpc:g} minutes |" in text


def test_every_status_is_in_the_table() -> None:
    raised = set()
    for path in (ROOT / "src" / "modelwright" / "serve").glob("*.py"):
        raised |= set(re.findall(r"ProtocolError\(\s*(\d{3})", path.read_text(encoding="utf-8")))
    [table] = re.findall(r"^\| code \| when \|\n.*?\n\n", text_of(SERVE), flags=re.S | re.M)
    assert raised == set(re.findall(r"\b[45]\d\d\b", table))


def test_the_spec_is_valid(tmp_path: Path) -> None:
    [text] = blocks(SERVE, 'yaml title="modelwright.yaml"')
    head = "name: shop\ndata: {source: shop.csv, target: bought}\n"
    spec = parse_spec(head + text, tmp_path / "modelwright.yaml").spec.serve
    assert (spec.workers, spec.max_rows, spec.deadline, spec.cache.ttl) == (2, 10_000, 2.0, 30.0)


def test_every_operation_option_and_name_is_on_its_page() -> None:
    text = text_of("docs/operations.md")
    for operation in OPERATIONS:
        lines = re.findall(rf"^\| `{operation.name}\b.*$", text, flags=re.M)
        assert lines, operation.name
        for name, about in operation.arguments.model_fields.items():
            extra: Any = about.json_schema_extra or {}
            flag = extra.get("short") or extra.get("flag") or f"--{name.replace('_', '-')}"
            if not extra.get("positional") and name != "project":
                assert any(flag in line for line in lines) or flag == "--set", (operation, flag)
    missing = [name for name in mw.__all__ if not re.search(rf"`{name}\b", text)]
    assert not missing


def yaml_of(title: str) -> Any:
    [text] = blocks(DEPLOY, f'yaml title="{title}"')
    return YAML(typ="safe").load(text)


def test_the_manifests_fit_together() -> None:
    deployment, service = yaml_of("deployment.yaml"), yaml_of("service.yaml")
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert pod["metadata"]["labels"] == service["spec"]["selector"]
    [container] = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    assert {p["httpGet"]["port"] for p in probes.values()} == {"http"}
    known = {path for _, path, _ in ROUTES}
    assert {p["httpGet"]["path"] for p in probes.values()} <= known
    slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > slept + ServeSpec().drain + 2
    [predictor] = yaml_of("inferenceservice.yaml")["spec"]["predictor"]["containers"]
    assert predictor["image"] == container["image"]
    names = {one["name"] for one in predictor["env"]}
    assert names == {one["name"] for one in container["env"]}


def test_the_command_of_the_image_starts(released: mw.Released) -> None:
    """With free ports and the small model."""
    [text] = blocks(DEPLOY, 'dockerfile title="Dockerfile"')
    joined = text.replace("\\\n", " ")
    listed = re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", joined, re.M)
    entry, command = (json.loads(words) for words in listed)
    assert entry[1:] == ["-m", "modelwright.serve"] and "--artefact" in command
    [health] = re.findall(r"HEALTHCHECK .* CMD (\[.*\])$", joined, re.M)
    changed = dict(zip(command[::2], command[1::2], strict=True))
    folder = changed.pop("--artefact")
    assert folder == "/model" and changed.pop("--port") == "8000"
    changed["--metrics-port"] = free_port()
    more = [word for pair in changed.items() for word in pair]
    with server(released.run / "artefact", *more, MODELWRIGHT_TOKEN="s3cret") as client:
        port = str(client.base_url.port)
        code = json.loads(health)[2].replace(":8000/", f":{port}/")
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
        page = httpx.get(f"http://127.0.0.1:{changed['--metrics-port']}/metrics")
        assert "modelwright_model_info" in page.text
        assert client.get("/metrics", headers={"host": "127.0.0.1"}).status_code == 401


def tool(name: str, package: str) -> str:
    """A program's path; elsewhere than in CI a missing one skips."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        away(f"no {name} (apt-get install {package})")
    return found


def test_the_unit_is_valid(tmp_path: Path) -> None:
    [text] = blocks(DEPLOY, 'ini title="modelwright.service"')
    path = tmp_path / "modelwright.service"
    path.write_text(text.replace("/opt/modelwright/bin/modelwright", sys.executable))
    done = subprocess.run(
        [tool("systemd-analyze", "systemd"), "verify", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def nginx_conf(folder: Path, port: str, upstream: str) -> Path:
    """The page's block with other ports and files, in the smallest frame that runs it."""
    [text] = blocks(DEPLOY, 'nginx title="modelwright.conf"')
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run([sys.executable, "-c", PEM, str(chain), str(key)], check=True)
    for written, here in (
        ("443", f"127.0.0.1:{port}"), ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("/etc/nginx/tls/chain.pem", str(chain)), ("/etc/nginx/tls/key.pem", str(key)),
    ):  # fmt: skip
        assert written in text
        text = text.replace(written, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; master_process off; pid {folder / 'pid'}; error_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    return conf


@contextmanager
def nginx(conf: Path, port: str) -> Iterator[httpx.Client]:
    program = tool("nginx", "nginx-light")
    command = [program, "-p", str(conf.parent), "-e", "stderr", "-c", str(conf)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0 and "warn" not in tested.stderr, tested.stderr
    process = subprocess.Popen(command)
    try:
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            verify=False,
            headers={"host": "model.example.com"},
        ) as client:
            end = time.monotonic() + 20
            while True:
                try:
                    client.get("/v2/health/live")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < end and process.poll() is None
            yield client
    finally:
        process.terminate()
        process.wait(20)


def test_behind_nginx(released: mw.Released, tmp_path: Path) -> None:
    """A real nginx with the page's block before a real server."""
    tool("nginx", "nginx-light")
    row = mixed_table(1, seed=3).drop("bought", "start").to_dicts()[0]
    port = free_port()
    environment = {"MODELWRIGHT_ALLOWED_HOSTS": "model.example.com"}
    with server(released.run / "artefact", **environment) as direct:
        conf = nginx_conf(tmp_path, port, str(direct.base_url.port))
        with nginx(conf, port) as client:
            wanted = direct.post("/predict", json=row).json()
            for number in range(20):
                reply = client.post("/predict", json=row, headers={"x-request-id": f"r-{number}"})
                assert reply.json() == wanted
                assert reply.headers["x-request-id"] == f"r-{number}"
            assert client.post("/predict", json=[{}]).json()["problems"]
            assert client.get("/metrics").status_code == 403
            assert client.post("/v2/repository/index").status_code == 403
            assert client.get("/docs").status_code == 200
            counted = direct.get("/metrics").text
            assert re.search(r'requests_total{code="200",door="predict".*} 21.0', counted)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_keys_and_metrics_that_a_page_names_exist(page: str) -> None:
    text = text_of(f"docs/{page}")
    keys = set(re.findall(r"`serve\.(\w+)", text)) - set(ServeSpec.model_fields)
    names = set(re.findall(r"\b(modelwright_\w+?)(?:_(?:bucket|sum|count))?\b", text))
    assert not keys and names <= {f.name for f in FAMILIES.values()} | {"modelwright_"}
