"""MLflow's REST interface, asked every second by a thread, without MLflow."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import ssl
import threading
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from modelwright.core.errors import RegistryError
from modelwright.core.version import __version__
from modelwright.serve.aliases import Known
from modelwright.serve.settings import Seconds

TIMEOUT = 5.0
MOST_BYTES = 4 * 2**20
_ROOT = "/api/2.0/mlflow"


class RemoteRegistry:
    """One model on a tracking server; see `follow.Follower`.

    Credentials are those that MLflow's own client takes: MLFLOW_TRACKING_TOKEN, or
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the address itself.

    Args:
        uri: http or https, as in MLFLOW_TRACKING_URI.
        model: the registered model's name.
        interval: seconds between two questions.
    """

    def __init__(self, uri: str, model: str, interval: Seconds) -> None:
        self._model, self._interval = model, interval
        self._uri = uri
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._aliases: dict[str, str] | None = None
        self._tags: dict[str, dict[str, str]] = {}
        self._problem = ""
        self._changes, self._seen = 0, -1

    def changed(self) -> bool:
        """Whether the thread has heard something new since the last read; asks nobody."""
        return self._changes != self._seen

    def read(self, versions: Sequence[str]) -> Known:
        """Aliases as last heard, and the tags of these versions and of all aliased ones.

        Raises:
            RegistryError: the server cannot be asked, or refuses.
        """
        with contextlib.closing(Client(self._uri)) as client:
            if self._thread is None:
                self._poll(client)
                self._thread = threading.Thread(
                    target=self._follow, name=f"follow {self._model}", daemon=True
                )
                self._thread.start()
            with self._lock:
                self._seen = self._changes
                aliases, problem, tags = self._aliases, self._problem, dict(self._tags)
            if problem or aliases is None:
                raise RegistryError(problem)
            wanted = {*aliases.values(), *versions}
            new = {v: self._tags_of(client, v) for v in sorted(wanted - tags.keys())}
        with self._lock:
            self._tags |= new
        tags |= new
        return Known(aliases, {v: tags[v] for v in wanted if tags[v]})

    def close(self) -> None:
        """End the thread; it may be in the middle of a question for some seconds."""
        self._stop.set()

    def _follow(self) -> None:
        with contextlib.closing(Client(self._uri)) as client:
            while not self._stop.wait(self._interval):
                self._poll(client)

    def _poll(self, client: Client) -> None:
        """One question; what is new is noted."""
        aliases, problem = self._aliases, ""
        try:
            found = client.get("registered-models/get", {"name": self._model})
            listed = found.get("registered_model", {}).get("aliases", ()) if found else ()
            aliases = {str(a["alias"]): str(a["version"]) for a in listed}
        except RegistryError as error:
            problem = str(error)
        except (KeyError, TypeError, AttributeError):
            problem = f"The registry at {client.shown} answers in another way than MLflow does."
        with self._lock:
            if aliases != self._aliases:
                self._tags.clear()
            if (aliases, problem) != (self._aliases, self._problem):
                self._aliases, self._problem = aliases, problem
                self._changes += 1

    def _tags_of(self, client: Client, version: str) -> dict[str, str]:
        """Empty when there is no such version."""
        found = client.get("model-versions/get", {"name": self._model, "version": version})
        listed: Iterable[Any] = found.get("model_version", {}).get("tags", ()) if found else ()
        return {str(tag["key"]): str(tag.get("value", "")) for tag in listed}


class Client:
    """GET of JSON from one server over a connection that is kept; not for several threads."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/") + _ROOT
        self.shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._headers = {"accept": "application/json", "user-agent": f"modelwright/{__version__}"}
        self._headers |= _credentials(parts.username, parts.password)
        workspace = os.environ.get("MLFLOW_WORKSPACE", "").strip()
        if workspace:
            self._headers["x-mlflow-workspace"] = workspace
        self._connection: http.client.HTTPConnection | None = None

    def get(self, what: str, asked: dict[str, str]) -> dict[str, Any] | None:
        """The answer, or None when the server has no such thing.

        Raises:
            RegistryError: it cannot be reached, is too slow, or refuses.
        """
        path = f"{self._prefix}/{what}?{urlencode(asked)}"
        kept = self._connection is not None
        try:
            status, body = self._ask(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept:  # the server has closed a connection that was kept: once more on a new one
                return self.get(what, asked)
            raise RegistryError(f"The registry at {self.shown} cannot be reached: {error}.") from (
                error
            )
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        code = found.get("error_code") if isinstance(found, dict) else None
        if status == 404 and code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise RegistryError(f"The registry at {self.shown} refused: {status} {code or ''}".strip())

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES or answer.will_close:
            self.close()
        return answer.status, body[:MOST_BYTES]

    def _connect(self) -> http.client.HTTPConnection:
        host = self._host or ""
        if not self._secure:
            return http.client.HTTPConnection(host, self._port, timeout=TIMEOUT)
        trusted = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None
        context = ssl.create_default_context(cafile=trusted)
        return http.client.HTTPSConnection(host, self._port, timeout=TIMEOUT, context=context)


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    """The header that says who asks, if anybody does."""
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or unquote(user or "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or unquote(password or "")
    if user and password:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"authorization": f"Basic {pair}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"authorization": f"Bearer {token}"} if token else {}
