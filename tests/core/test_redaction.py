"""What may stand in a log of calls."""

from __future__ import annotations

import pytest

from modelwright.core.redaction import redacted, redacted_text


@pytest.mark.parametrize(
    "name",
    ["token", "api_key", "API-KEY", "password", "passphrase", "key", "signing_key", "client_secret",
     "Authorization", "credentials", "MODELWRIGHT_TOKEN"],
)  # fmt: skip
def test_secrets_by_their_names(name: str) -> None:
    assert redacted({name: "s3cr3t"}) == {name: "***"}
    assert redacted({"deep": {"er": {name: "s3cr3t"}}}) == {"deep": {"er": {name: "***"}}}
    assert "s3cr3t" not in str(redacted({"overrides": [f"serve.{name}=s3cr3t"]}))


@pytest.mark.parametrize("name", ["monkey", "model", "keyboard", "trials", "why", "spec"])
def test_other_names_stay(name: str) -> None:
    assert redacted({name: "plain"}) == {name: "plain"}


def test_logins_of_urls() -> None:
    found = redacted_text("read postgresql://ada:p%40ss@db:5432/x and s3://bucket/a.csv?b=1")
    assert found == "read postgresql://***@db:5432/x and s3://bucket/a.csv?b=1"
    assert redacted_text("git+https://ghp_abc@host/x") == "git+https://***@host/x"
    assert redacted_text("http://ada:p@ss@host/x") == "http://***@host/x"


def test_rows_are_counted() -> None:
    rows = [{"name": "Ada", "age": 36}] * 3
    assert redacted({"anything": rows}) == {"anything": "3 rows"}
    assert redacted({"rows": {"name": ["Ada", "Bo"], "age": [1, 2]}}) == {"rows": "2 rows"}
    assert redacted({"inputs": [1, 2]}) == {"inputs": "2 rows"}
    assert redacted({"data": "shop.csv"}) == {"data": "shop.csv"}
    assert redacted({"numbers": list(range(1000))}) == {"numbers": "1000 values"}


def test_nothing_is_endless() -> None:
    assert redacted({"why": "x" * 5000})["why"] == f"{'x' * 200}... (5000 characters)"
    deep: dict[str, object] = {}
    deep["a"] = deep
    assert len(str(redacted(deep))) < 200
    assert len(redacted({"many": {str(n): n for n in range(1000)}})["many"]) == 31
    assert redacted({"a": None, "b": True, "c": 1.5, "d": b"x"}) == {
        "a": None, "b": True, "c": 1.5, "d": "b'x'",
    }  # fmt: skip
