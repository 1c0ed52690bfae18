"""Every route by every method, with every token and none; hosts, sites, rates, secrets."""

from __future__ import annotations

import multiprocessing
import timeit
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelwright.core.errors import UsageError
from modelwright.core.spec_serve import ServeSpec
from modelwright.serve.messages import ProtocolError
from modelwright.serve.scopes import CALLS, ROUTES, needs
from modelwright.serve.settings import Settings, Token
from modelwright.serve.tokens import BURST, Gate, secret_in, tokens_from

METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "FOO",
)  # fmt: skip
SCOPES = ("predict", "labels", "admin")
TOKENS = (
    *(Token(scope, f"secret-{scope}", frozenset({scope})) for scope in SCOPES),
    Token("everything", "secret-all", frozenset(SCOPES)),
)
GATE = Gate(Settings(models=(), tokens=TOKENS))
HEALTH = {"/v2/health/live", "/v2/health/ready", "/health", "/ping"}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def status(method: str, path: str, headers: Mapping[str, str], gate: Gate = GATE) -> int:
    try:
        gate.admit(method, path, headers, 0.0)
    except ProtocolError as error:
        return error.status
    return 200


PATHS = [path.replace("{}", name) for _, path, _ in ROUTES for name in ("income", "..", "a%2fb")]


@pytest.mark.parametrize("path", sorted({*PATHS, "/nothing", "//predict", "/predict/", ""}))
@pytest.mark.parametrize("method", METHODS)
def test_every_route_by_every_method(method: str, path: str) -> None:
    known = needs(path)
    is_open = path in HEALTH and method in ("GET", "HEAD")
    for wrong in ({}, bearer("wrong"), bearer(""), {"authorization": "secret-all"}):
        assert status(method, path, wrong) == (200 if is_open else 401)
    for token in TOKENS:
        if is_open:
            wanted = 200
        elif not known:
            wanted = 404
        elif method not in known:
            wanted = 405
        else:
            wanted = 200 if known[method] & token.scopes else 403
        assert status(method, path, bearer(token.secret)) == wanted


def test_what_each_scope_may() -> None:
    may = {
        scope: {
            path
            for methods, path, _ in ROUTES
            if status(methods[0], path.replace("{}", "m"), bearer(f"secret-{scope}")) == 200
        } - HEALTH
        for scope in SCOPES
    }  # fmt: skip
    pages = {"/", "/version", "/metrics", "/docs", "/docs.js", "/docs.css", "/openapi.json"}
    assert may["labels"] == pages | {
        "/v2/models/{}/labels", "/v2/models/{}/versions/{}/labels",
    }  # fmt: skip
    assert may["predict"] - may["admin"] == {
        "/predict", "/invocations", "/v2/models/{}/infer", "/v2/models/{}/versions/{}/infer",
        "/models/{}/predict", "/models/{}/versions/{}/predict",
    }  # fmt: skip
    assert may["admin"] - may["predict"] == {
        "/v2/repository/index",
        "/v2/repository/models/{}/load",
        "/v2/repository/models/{}/unload",
    }


@pytest.mark.parametrize("method", [*CALLS, "/inference.GRPCInferenceService/New"])
def test_every_grpc_method(method: str) -> None:
    def code(metadata: Mapping[str, str]) -> int:
        try:
            GATE.admit_call(method, metadata, 0.0)
        except ProtocolError as error:
            return error.status
        return 200

    is_open = method.endswith(("/ServerLive", "/ServerReady", "/Check", "/Watch"))
    assert code({}) == code(bearer("no")) == (200 if is_open else 401)
    for token in TOKENS:
        if method not in CALLS:
            assert code(bearer(token.secret)) == 404
        else:
            fits = is_open or CALLS[method] & token.scopes
            assert code(bearer(token.secret)) == (200 if fits else 403)
    assert Gate(Settings(models=())).admit_call(method, {}, 0.0) == ""


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("Bearer secret-predict", 200), ("bearer secret-predict", 200),
        ("BEARER  secret-predict ", 200), ("Bearer secret-predict\t", 401),
        ("Basic secret-predict", 401), ("Bearersecret-predict", 401), ("secret-predict", 401),
        ("Bearer secret-predic", 401), ("Bearer secret-predictx", 401), ("Bearer ", 401),
        ("Bearer SECRET-PREDICT", 401), ("Bearer secret-predict,Bearer x", 401),
        ("Bearer \udcff\u0130", 401), ("Bearer " + "x" * 60_000, 401),
    ],
)  # fmt: skip
def test_forms_of_the_header(header: str, wanted: int) -> None:
    for _ in range(2):
        assert status("POST", "/predict", {"authorization": header}) == wanted


def test_the_name_of_the_token_is_returned() -> None:
    assert GATE.admit("POST", "/predict", bearer("secret-all"), 0.0) == "everything"
    assert GATE.admit("GET", "/v2/health/live", bearer("secret-all"), 0.0) == ""


@pytest.mark.parametrize(
    ("bound", "allowed", "host", "wanted"),
    [
        ("127.0.0.1", "", "127.0.0.1:8000", 200), ("127.0.0.1", "", "localhost", 200),
        ("127.0.0.1", "", "LOCALHOST.:1", 200), ("127.0.0.1", "", "[::1]:8000", 200),
        ("127.0.0.1", "", "127.9.9.9", 200), ("127.0.0.1", "", "", 200),
        ("127.0.0.1", "", "evil.com", 421), ("127.0.0.1", "", "localhost.evil.com", 421),
        ("127.0.0.1", "", "127.0.0.1.evil.com", 421), ("127.0.0.1", "", "10.0.0.5", 421),
        ("127.0.0.1", "", "evil.com:localhost", 421), ("127.0.0.1", "", "[::1", 200),
        ("127.0.0.1", "", "localhost@evil.com", 421), ("127.0.0.1", "", "\x00", 421),
        ("127.0.0.1", "a.com, B.com", "b.com:80", 200), ("127.0.0.1", "a.com", "x.a.com", 421),
        ("127.0.0.1", ".a.com", "x.a.com", 200), ("127.0.0.1", ".a.com", "xa.com", 421),
        ("127.0.0.1", "*", "whatever", 200), ("0.0.0.0", "", "10.1.2.3:8000", 200),
        ("0.0.0.0", "", "evil.com", 421), ("::", "", "[fe80::1]", 200),
        ("10.0.0.5", "", "10.0.0.5:80", 200), ("10.0.0.5", "", "10.0.0.6", 421),
        ("model.lan", "", "model.lan:8000", 200),
    ],
)  # fmt: skip
def test_hosts(bound: str, allowed: str, host: str, wanted: int) -> None:
    gate = Gate(Settings(models=(), host=bound), {"MODELWRIGHT_ALLOWED_HOSTS": allowed})
    for _ in range(2):
        assert status("GET", "/v2/health/live", {"host": host}, gate) == wanted


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ("http://127.0.0.1:8000", 200), ("https://127.0.0.1:8000", 200),
        ("http://127.0.0.1:8001", 403), ("http://localhost:8000", 403), ("null", 403),
        ("http://evil.com", 403), ("", 403), ("http://ui.lan", 200), ("://127.0.0.1:8000", 200),
    ],
)  # fmt: skip
def test_sites(origin: str, wanted: int) -> None:
    gate = Gate(Settings(models=()), {"MODELWRIGHT_ALLOWED_HOSTS": "ui.lan"})
    headers = {"host": "127.0.0.1:8000", "origin": origin}
    for method in set(METHODS) - {"GET", "HEAD"}:
        assert status(method, "/predict", headers, gate) == wanted
    assert status("GET", "/v2", headers, gate) == 200


def test_a_rate_is_kept_over_ten_seconds() -> None:
    slow = Token("slow", "s", frozenset({"predict"}), rate=2.0)
    gate = Gate(Settings(models=(), tokens=(slow, *TOKENS)))

    def asked(now: float) -> float | None:
        try:
            gate.admit("POST", "/predict", bearer("s"), now)
        except ProtocolError as error:
            assert error.status == 429
            return error.retry_after
        return None

    assert [asked(100.0) for _ in range(20)] == [None] * 20
    assert asked(100.0) == pytest.approx(0.5)
    assert asked(100.4) == pytest.approx(0.1)
    assert asked(100.5) is None and asked(100.5) is not None
    assert sum(asked(100.5 + step / 10) is None for step in range(1, 101)) == 20
    assert [asked(1000.0) for _ in range(21)][-2:] == [None, pytest.approx(0.5)]
    assert gate.admit("POST", "/predict", bearer("secret-all"), 100.0) == "everything"


def test_a_rate_below_one_in_ten_seconds_lets_one_in() -> None:
    rare = Token("rare", "s", frozenset({"predict"}), rate=0.01)
    gate = Gate(Settings(models=(), tokens=(rare,)))
    assert gate.admit("POST", "/predict", bearer("s"), 5.0) == "rare"
    with pytest.raises(ProtocolError) as refused:
        gate.admit("POST", "/predict", bearer("s"), 5.0)
    assert refused.value.retry_after == pytest.approx(100.0)


def _ask(gate: Gate, times: int) -> None:
    for _ in range(times):
        gate.admit("POST", "/predict", bearer("s"), 50.0)


def test_a_rate_holds_over_forked_workers() -> None:
    gate = Gate(Settings(models=(), tokens=(Token("t", "s", frozenset({"predict"}), rate=1.0),)))
    process = multiprocessing.get_context("fork").Process(target=_ask, args=(gate, int(BURST)))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    with pytest.raises(ProtocolError):
        gate.admit("POST", "/predict", bearer("s"), 50.0)


def test_tokens_come_from_the_environment() -> None:
    spec = ServeSpec.model_validate(
        {"tokens": {"app": {"env": "APP", "rate": 5}, "ops": {"env": "OPS", "scopes": ["admin"]}}}
    )
    found = tokens_from(spec, {"APP": "a1", "OPS": "o1", "MODELWRIGHT_TOKEN": "m1"})
    assert found == (
        Token("everything", "m1", frozenset(SCOPES)),
        Token("app", "a1", frozenset({"predict"}), 5.0),
        Token("ops", "o1", frozenset({"admin"})),
    )
    assert tokens_from(ServeSpec(), {}) == ()
    for environ, said in (
        ({"APP": "a1"}, "token in OPS is not set"),
        ({"APP": "a1", "OPS": ""}, "token in OPS is empty"),
        ({"APP": "a1\n", "OPS": "o"}, "token in APP holds"),
        ({"APP": "same", "OPS": "same"}, "'app' and 'ops' are the same"),
        ({"APP": "a", "OPS": "b", "MODELWRIGHT_TOKEN": ""}, "MODELWRIGHT_TOKEN is empty"),
    ):
        with pytest.raises(UsageError, match=said):
            tokens_from(spec, environ)


def test_the_gate_is_cheap() -> None:
    """0.2 us without and 0.4 us with tokens here; the bound leaves room for a busy machine."""
    headers = {"host": "127.0.0.1:8000", "content-type": "x", **bearer("secret-predict")}
    for gate in (Gate(Settings(models=())), GATE):
        call = lambda gate=gate: gate.admit("POST", "/predict", headers, 0.0)  # noqa: E731
        assert min(timeit.repeat(call, number=20_000, repeat=7)) / 20_000 < 4e-6


def test_secrets_out_of_files(tmp_path: Path) -> None:
    file = tmp_path / "app"
    file.write_text("new-1\nold-1\n")
    spec = ServeSpec.model_validate({"tokens": {"app": {"env": "APP", "rate": 1}}})
    environ = {"APP_FILE": str(file), "MODELWRIGHT_TOKEN": "m1"}
    found = tokens_from(spec, environ)
    assert [(token.name, token.secret) for token in found] == [
        ("everything", "m1"), ("app", "new-1"), ("app", "old-1"),
    ]  # fmt: skip
    assert secret_in("APP", environ) == "new-1" and secret_in("OPS", environ) == ""
    gate = Gate(Settings(models=(), tokens=found))
    for secret in ("new-1", "old-1", "m1"):
        assert status("GET", "/metrics", bearer(secret), gate) == 200
    asked = [status("POST", "/predict", bearer(f"{s}-1"), gate) for s in ("new", "old") * 6]
    assert asked.count(429) == 4  # one allowance for both, of which two are used
    for content, said in {
        "": "No token is in", "\n": "No token", "a b": "holds a blank",
        "m1": "are the same",
    }.items():  # fmt: skip
        file.write_text(content)
        with pytest.raises(UsageError, match=said):
            tokens_from(spec, environ)
        with pytest.raises(UsageError, match=said):
            gate.renew()
        assert status("GET", "/metrics", bearer("old-1"), gate) == 429  # known as ever
    with pytest.raises(UsageError, match="Both APP and APP_FILE"):
        tokens_from(spec, {**environ, "APP": "x"})
    file.write_text("new-2")
    assert gate.renew() and not GATE.renew()
    wanted = {"new-2": 429, "new-1": 401, "old-1": 401, "m1": 200}
    assert {s: status("GET", "/metrics", bearer(s), gate) for s in wanted} == wanted
    file.unlink()
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        gate.renew()
    assert status("GET", "/metrics", bearer("new-2"), gate) == 429
