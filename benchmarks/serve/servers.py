"""Who is measured: how each server is installed, started and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLONE = HERE.parents[1]
RUNTIME = ("onnxruntime==1.31.1", "numpy==2.4.6", "pydantic==2.14.3")
DENSE_COLUMNS = 784


@dataclass(frozen=True)
class Load:
    """What is sent: over which door, how many rows a request, how many requests at once."""

    door: str
    rows: int
    connections: int
    about: str


LOADS: Mapping[str, Load] = {
    "c1": Load("http", 1, 1, "one row, 1 connection"),
    "c8": Load("http", 1, 8, "one row, 8 connections"),
    "c64": Load("http", 1, 64, "one row, 64 connections"),
    "b100": Load("http", 100, 4, "100 rows, 4 connections"),
    "g8": Load("grpc", 1, 8, "gRPC, one row, 8 calls at once"),
    "g64": Load("grpc", 1, 64, "gRPC, one row, 64 calls at once"),
    "json784": Load("dense json", 1, 8, "784 floats as JSON, 8 connections"),
    "binary784": Load("dense binary", 1, 8, "784 floats as bytes, 8 connections"),
}
ROWS = ("c1", "c8", "c64", "b100")
GRPC = ("g8", "g64")
DENSE = ("json784", "binary784")


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        command: words to start it, with {bin}, {python}, {port}, {grpc_port}, {spare_port},
            {artefact}, {dense}, {peers} and {cache} filled in.
        path: where a row is posted.
        form: what the body looks like: rows, tensors (Open Inference Protocol) or records.
        loads: what it is measured with.
        packages: what its own environment is made of; empty for our server.
        environment: added to the environment of its process.
        before: command that set-up calls once, after the packages are there.
        optional: measured only when it is named.
    """

    name: str
    command: str
    path: str = "/predict"
    form: str = "rows"
    loads: tuple[str, ...] = ROWS
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    optional: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is modelwright, in one of its visits."""
        return not self.packages


OURS = (
    "{python} -m modelwright.serve --name income --version 1 --port {port} --quiet --tried "
    "--artefact "
)
REFERENCE = "fastapi"
_ALL = (
    Server(
        "fastapi",
        "{bin}/uvicorn fastapi_app:app --host 127.0.0.1 --port {port} --no-access-log --workers 1",
        packages=(
            "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", *RUNTIME,
        ),
    ),
    Server("modelwright", OURS + "{artefact}"),
    Server(
        "mlserver",
        "{bin}/mlserver start {peers}/mlserver",
        path="/v2/models/income/infer",
        form="tensors",
        loads=ROWS + GRPC,
        # uvloop 0.23 breaks its workers, so it gets the version it was written for.
        packages=("mlserver==1.7.1", "uvloop==0.21.0", *RUNTIME),
        environment={
            "PYTHONPATH": "{peers}:{peers}/mlserver",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{grpc_port}",
            "MLSERVER_METRICS_PORT": "{spare_port}",
        },
    ),
    Server("modelwright grpc", OURS + "{artefact} --grpc-port {grpc_port}", loads=GRPC),
    Server(
        "bentoml",
        "{bin}/bentoml serve bento_service:Income --host 127.0.0.1 -p {port}",
        packages=("bentoml==1.4.39", *RUNTIME),
        environment={"BENTOML_HOME": "{cache}/bentoml-home", "BENTOML_DO_NOT_TRACK": "True"},
    ),
    Server(
        "litserve",
        "{bin}/python litserve_app.py {port}",
        packages=("litserve==0.2.19", *RUNTIME),
    ),
    Server(
        "modelwright dense",
        OURS + "{dense}",
        path="/v2/models/income/infer",
        loads=DENSE,
    ),
    Server(
        "mlflow",
        "{bin}/mlflow models serve -m {cache}/mlflow-model --env-manager local "
        "-h 127.0.0.1 -p {port} -w 1",
        path="/invocations",
        form="records",
        packages=("mlflow==3.17.2", *RUNTIME),
        before="{bin}/python mlflow_model.py {cache}/mlflow-model",
        optional=True,
    ),
    Server(
        "ray",
        "{bin}/python ray_app.py {port}",
        packages=("ray[serve]==2.60.0", *RUNTIME),
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
        optional=True,
    ),
)  # fmt: skip
SERVERS: Mapping[str, Server] = {server.name: server for server in _ALL}


@dataclass(frozen=True)
class Place:
    """Where things lie: the cache, the model folders, the Python that runs our server."""

    cache: Path
    artefact: Path
    python: str

    @property
    def dense(self) -> Path:
        """The model folder with 784 numbers; set-up makes it."""
        return self.cache / "dense-artefact"

    def filled(self, server: Server, ports: Mapping[str, int]) -> dict[str, str]:
        """Values of the placeholders in commands and environments."""
        return {
            "bin": str(self.cache / server.name / "bin"),
            "python": self.python,
            "artefact": str(self.artefact),
            "dense": str(self.dense),
            "peers": str(HERE / "peers"),
            "cache": str(self.cache),
            **{name: str(port) for name, port in ports.items()},
        }

    def command(self, text: str, server: Server, ports: Mapping[str, int]) -> list[str]:
        """The words of a command; a folder with a space in it stays one word."""
        values = self.filled(server, ports)
        return [word.format(**values) for word in text.split()]

    def environment(self, server: Server, ports: Mapping[str, int]) -> dict[str, str]:
        """What a server's process needs beside the present environment."""
        values = self.filled(server, ports)
        own_code = CLONE / "src" if server.is_ours else HERE / "peers"
        path = f"{self.cache / server.name / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        found = {
            "PYTHONPATH": str(own_code),
            "BENCH_ARTEFACT": str(self.artefact),
            "PATH": path,
            "PYTHONDONTWRITEBYTECODE": "",  # as installed: the unmeasured start compiles the code
        }
        return found | {k: v.format(**values) for k, v in server.environment.items()}
