"""Every route that predicts nothing: health, metadata, documentation, metrics, the repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from modelwright.serve import docs_page, mlflow_routes, oip
from modelwright.serve.dispatch import Models
from modelwright.serve.messages import ProtocolError, Request, Response
from modelwright.serve.oip import Repository
from modelwright.serve.openapi import Described, document
from modelwright.serve.openapi_models import OUT_OF_RANGE, UNSEEN_LEVELS
from modelwright.serve.scopes import needs
from modelwright.serve.settings import Settings

MetricsPage = Callable[[str], tuple[bytes, bytes]]
"""An Accept header to (content type, page)."""


class Pages:
    """Answers what is no prediction.

    Args:
        models: what is served.
        settings: of the server.
        repository: loads and unloads.
        metrics: makes the page of metrics.
    """

    def __init__(
        self, models: Models, settings: Settings, repository: Repository, metrics: MetricsPage
    ) -> None:
        self._models, self._settings = models, settings
        self._repository, self._metrics = repository, metrics

    def answer(self, request: Request, token: str = "") -> Response | Awaitable[Response]:
        """The page of a request.

        Args:
            request: what is asked for.
            token: name of the token that it came with.

        Raises:
            ProtocolError: 404 no such route, model or version; 405 another method.
        """
        path = request.path
        methods = needs(path)
        if not methods:
            raise ProtocolError(404, "No such route: see /openapi.json.")
        if request.method not in methods:
            wanted = ", ".join(methods)
            raise ProtocolError(405, f"{path[:80]} takes {wanted}.", allow=wanted)
        if path.startswith("/v2"):
            return self._oip(request, path.split("/")[2:], token)
        if path in mlflow_routes.PAGES:
            if not self._models.is_ready():
                raise ProtocolError(503, "No model is loaded.", retry_after=1, reason="no_version")
            return mlflow_routes.PAGES[path]
        if path in docs_page.PAGES:
            return docs_page.PAGES[path]
        if path == "/metrics":
            kind, body = self._metrics(request.headers.get("accept", ""))
            return Response(200, body, kind)
        if path == "/":
            names = list(self._models.models())
            return _json({"models": names, "openapi": "/openapi.json", "docs": "/docs"})
        if path == "/openapi.json":
            return self._described()
        if path.startswith("/models/"):  # of a model or version that is not served
            words = path.split("/")
            self._models.live(words[2], words[4] if words[3] == "versions" else None)
        raise ProtocolError(404, "No such route: see /openapi.json.")

    def _oip(
        self, request: Request, words: list[str], token: str
    ) -> Response | Awaitable[Response]:
        if not words:
            return _json(oip.server_metadata())
        if words == ["health", "live"]:
            return Response(200, oip.live_body())
        if words == ["health", "ready"]:
            return oip.ready_response(self._models.is_ready())
        if words[0] == "repository":
            return self._of_repository(request, words[1:], token)
        return self._about(words[1:])

    def _about(self, words: list[str]) -> Response:
        name, rest, version = words[0], words[1:], None
        if rest[:1] == ["versions"]:
            version, rest = rest[1], rest[2:]
        if rest == ["ready"]:
            self._models.live(name, version)
            return oip.ready_response(self._models.is_ready(name), name)
        if rest:  # infer or labels of a model or version that is not served
            self._models.live(name, version)
        live = self._models.live(name, version)
        versions = self._models.versions(name) if version is None else (version,)
        return _json(oip.model_metadata(name, versions, live.schema))

    def _of_repository(
        self, request: Request, words: list[str], token: str
    ) -> Response | Awaitable[Response]:
        if words == ["index"]:
            ready = oip.read_index(request.body)
            return Response(200, oip.write_index(self._repository.index(), ready=ready))
        oip.read_repository(request.body)
        work = self._repository.load if words[2] == "load" else self._repository.unload
        return _done(work(words[1], token))

    def _described(self) -> Response:
        described = [
            Described(name, self._models.versions(name), self._models.live(name).manifest)
            for name in self._models.models()
            if self._models.served[name].champion is not None
        ]
        if not described:
            raise ProtocolError(503, "No model is loaded.", retry_after=1, reason="no_version")
        about = document(
            described,
            protected=bool(self._settings.tokens),
            refuse_unknown=self._settings.unknown_columns == "refuse",
            refused=[
                what
                for what in (UNSEEN_LEVELS, OUT_OF_RANGE)
                if getattr(self._settings, what) == "refuse"
            ],
            max_rows=self._settings.max_rows,
        )
        return _json(about)


async def _done(work: Awaitable[None]) -> Response:
    await work
    return Response(200, b"")


def _json(content: Any) -> Response:
    return Response(200, msgspec.json.encode(content))
