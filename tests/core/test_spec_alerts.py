"""Every kind of alert is told what it lacks, and no secret stands in the file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelwright.core.spec_alerts import AlertSpec, each_has_a_name

GOOD: list[dict[str, Any]] = [
    {"to": "log"},
    {"to": "webhook", "url": "https://example.com/hook", "secret_env": "KEY", "least": "error"},
    {"to": "webhook", "url_env": "HOOK", "token_env": "TOKEN"},
    {"to": "slack", "url_env": "SLACK"},
    {"to": "email", "host": "mail", "sender": "a@b", "recipients": "ops@example.com"},
    {"to": "email", "host": "::1", "sender": "a@b", "recipients": ["c@d", "e@f"], "port": 25,
     "encryption": "none", "user_env": "U", "password_env": "P"},
    {"to": "alertmanager", "url": "http://alertmanager:9093", "name": "am-1"},
    {"to": "apprise", "url_env": "APPRISE"},
    {"to": "mine.alerts:Siren", "port": 7},
]  # fmt: skip


@pytest.mark.parametrize("given", GOOD, ids=lambda given: str(given["to"]))
def test_good_ones_are_taken(given: dict[str, Any]) -> None:
    found = AlertSpec(**given)
    assert found.called == given.get("name", given["to"])
    assert AlertSpec(**found.model_dump(exclude_unset=True)) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": "emial"}, "did you mean 'email'"),
        ({"to": "pager"}, "known: log, webhook"),
        ({"to": "log", "url": "http://x"}, "log has no use for url; it has no settings"),
        ({"to": "webhook"}, "webhook needs url or url_env"),
        ({"to": "webhook", "url": "http://x", "url_env": "X"}, "not both"),
        ({"to": "webhook", "url": "ftp://x"}, "begins with http"),
        ({"to": "webhook", "url": "file:///etc/passwd"}, "begins with http"),
        ({"to": "webhook", "url": "https://u:p@x/"}, "holds a password"),
        ({"to": "webhook", "url": "https://x/a b"}, "without blanks"),
        ({"to": "webhook", "url": "https://x:99999/"}, "url"),
        ({"to": "webhook", "url_env": "https://x"}, "name of an environment variable"),
        ({"to": "webhook", "url_env": "X", "secret_env": "s3cr3t!"}, "not a secret itself"),
        ({"to": "slack", "url": "https://hooks.slack.com/x"}, "this address is a secret"),
        ({"to": "slack", "url_env": "X", "host": "x"}, "no use for host; it knows url_env"),
        ({"to": "email", "host": "x", "sender": "a@b"}, "email needs recipients"),
        ({"to": "email", "sender": "a@b", "recipients": "a@b"}, "email needs host"),
        ({"to": "email", "host": "x", "sender": "ops", "recipients": "a@b"}, "ops@example.com"),
        ({"to": "email", "host": "x", "sender": "a@b", "recipients": "a@b\nBcc: c@d"}, "address"),
        ({"to": "email", "host": "x", "sender": "a@b", "recipients": "a@b", "user_env": "U"},
         "or neither"),
        ({"to": "email", "host": "x", "sender": "a@b", "recipients": "a@b", "user_env": "U",
          "password_env": "P", "encryption": "none"}, "in the clear"),
        ({"to": "alertmanager"}, "alertmanager needs url or url_env"),
        ({"to": "log", "least": "fatal"}, "least"),
        ({"to": "log", "name": "a b"}, "name"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_bad_ones_are_told_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        AlertSpec(**given)
    assert said in str(error.value)


def test_names_are_told_apart() -> None:
    one, two = AlertSpec(to="log"), AlertSpec(to="log", name="log-2")
    assert each_has_a_name([one, two]) == [one, two]
    with pytest.raises(ValueError, match="two are called 'log'"):
        each_has_a_name([one, two, one])


@pytest.mark.parametrize("given", [
    {"to": "log"},
    {"to": "webhook", "url": "https://example.com/x", "secret_env": "KEY"},
    {"to": "email", "host": "mail", "sender": "a@example.com", "recipients": ["b@example.com"]},
])  # fmt: skip
def test_what_a_run_wrote_down_is_read_again(given: dict[str, object]) -> None:
    made = AlertSpec.model_validate(given)
    assert AlertSpec.model_validate(made.model_dump(mode="json")) == made
