"""The one table of routes: who may ask for what. What is not in it does not exist."""

from __future__ import annotations

from collections.abc import Iterator

Need = frozenset[str]
"""Scopes of which a token must have one; empty for everybody."""

OPEN: Need = frozenset()
PREDICT: Need = frozenset({"predict"})
LABELS: Need = frozenset({"labels"})
ADMIN: Need = frozenset({"admin"})
READ: Need = PREDICT | ADMIN
ANY: Need = PREDICT | LABELS | ADMIN

_READS = ("GET", "HEAD")
_SENDS = ("POST",)

ROUTES: tuple[tuple[tuple[str, ...], str, Need], ...] = (
    (_READS, "/v2/health/live", OPEN),
    (_READS, "/v2/health/ready", OPEN),
    (_READS, "/health", OPEN),
    (_READS, "/ping", OPEN),
    (_READS, "/", ANY),
    (_READS, "/version", ANY),
    (_READS, "/metrics", ANY),
    (_READS, "/docs", ANY),
    (_READS, "/openapi.json", ANY),
    (_READS, "/v2", READ),
    (_READS, "/v2/models/{}", READ),
    (_READS, "/v2/models/{}/ready", READ),
    (_READS, "/v2/models/{}/versions/{}", READ),
    (_READS, "/v2/models/{}/versions/{}/ready", READ),
    (_READS, "/docs.js", ANY),
    (_READS, "/docs.css", ANY),
    (_SENDS, "/predict", PREDICT),
    (_SENDS, "/models/{}/predict", PREDICT),
    (_SENDS, "/models/{}/versions/{}/predict", PREDICT),
    (_SENDS, "/invocations", PREDICT),
    (_SENDS, "/v2/models/{}/infer", PREDICT),
    (_SENDS, "/v2/models/{}/versions/{}/infer", PREDICT),
    (_SENDS, "/v2/models/{}/labels", LABELS),
    (_SENDS, "/v2/models/{}/versions/{}/labels", LABELS),
    (_SENDS, "/v2/repository/index", ADMIN),
    (_SENDS, "/v2/repository/models/{}/load", ADMIN),
    (_SENDS, "/v2/repository/models/{}/unload", ADMIN),
)
"""(methods, path, need); `{}` stands for one part of a path that is not empty."""

_OIP = "/inference.GRPCInferenceService"
_REFLECTION = "ServerReflection/ServerReflectionInfo"
CALLS: dict[str, Need] = {
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    f"{_OIP}/ServerLive": OPEN,
    f"{_OIP}/ServerReady": OPEN,
    f"{_OIP}/ServerMetadata": READ,
    f"{_OIP}/ModelReady": READ,
    f"{_OIP}/ModelMetadata": READ,
    f"{_OIP}/ModelConfig": READ,
    f"{_OIP}/ModelStatistics": READ,
    f"{_OIP}/ModelInfer": PREDICT,
    f"{_OIP}/ModelStreamInfer": PREDICT,
    f"{_OIP}/RepositoryIndex": ADMIN,
    f"{_OIP}/RepositoryModelLoad": ADMIN,
    f"{_OIP}/RepositoryModelUnload": ADMIN,
    f"/grpc.reflection.v1alpha.{_REFLECTION}": ANY,
    f"/grpc.reflection.v1.{_REFLECTION}": ANY,
}
"""The same for gRPC, by full method name."""

_EXACT: dict[str, dict[str, Need]] = {}
_SHAPES: dict[int, list[tuple[list[str], dict[str, Need]]]] = {}
for _methods, _path, _need in ROUTES:
    _needs = dict.fromkeys(_methods, _need)
    if "{}" in _path:
        _parts = _path.split("/")
        _SHAPES.setdefault(len(_parts), []).append((_parts, _needs))
    else:
        _EXACT[_path] = _needs


def needs(path: str) -> dict[str, Need]:
    """Method -> need of a path; empty for a path that is no route.

    Args:
        path: decoded once, without the query.

    Example:
        >>> needs("/v2/models/income/infer")
        {'POST': frozenset({'predict'})}
        >>> needs("/v2/models//infer"), needs("/v2/models/a/b/infer")
        ({}, {})
    """
    found = _EXACT.get(path)
    if found is not None:
        return found
    parts = path.split("/")
    return next(_matching(parts), {})


def _matching(parts: list[str]) -> Iterator[dict[str, Need]]:
    for shape, found in _SHAPES.get(len(parts), ()):
        pairs = zip(shape, parts, strict=True)
        if all(part if wanted == "{}" else part == wanted for wanted, part in pairs):
            yield found
