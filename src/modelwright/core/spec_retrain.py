"""The `watch.retrain` part of modelwright.yaml: when to train anew, on what, judged how.

Whether it is done without asking says `watch.act`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from modelwright.core.limits import parse_quantity
from modelwright.core.spec_data import Strict
from modelwright.core.spec_serve import Seconds

Trigger = Literal["quality", "score drift", "limit", "age", "schedule", "labels"]
NEEDS = {"age": "age", "schedule": "every", "labels": "labels"}
"""Trigger -> the key that says when."""
_ROWS = re.compile(r"\s*(\d[\d_,]*)\s*rows?\s*")


def _recent(text: object) -> object:
    """Normalise '1000 rows' or '7 d'; a bare number is refused."""
    if not isinstance(text, str):
        raise ValueError(f"wanted '1000 rows' or a time such as '7 d', found {text!r}")
    if match := _ROWS.fullmatch(text):
        count = int(match[1].replace(",", "").replace("_", ""))
        if count == 0:
            raise ValueError("wanted at least 1 row")
        return f"{count} rows"
    try:
        seconds, _ = parse_quantity(text, "seconds")
    except ValueError as error:
        raise ValueError(f"wanted '1000 rows' or a time such as '7 d', found {text!r}") from error
    if seconds <= 0:
        raise ValueError("wanted a time longer than 0 s")
    return f"{seconds!r} s"


class RetrainSpec(Strict):
    """When a model is trained anew, and on what.

    Example:
        >>> RetrainSpec(on=["labels"], labels=5000, recent="7 d").recent_seconds
        604800.0
    """

    on: list[Trigger] = Field(
        ["quality", "limit"],
        description="What asks for it: an open episode of quality or score drift, a broken limit, "
        "the champion's age, a schedule, a number of new labels.",
    )
    age: Seconds | None = Field(None, gt=0, description="Age of the champion that asks for it.")
    every: Seconds | None = Field(None, gt=0, description="The schedule: so long after the last.")
    labels: int | None = Field(None, ge=1, description="How many new labels ask for it.")
    most_a_day: int = Field(1, ge=0, description="Most retrainings in any 24 hours.")
    data: Literal["journal", "source"] = Field(
        "journal",
        description="journal: the spec's source and the labelled rows of the journal; source: the "
        "spec's source alone, read anew.",
    )
    window: Seconds | None = Field(
        None, gt=0, description="How far back rows of the journal are taken; default all there are."
    )
    recent: Annotated[str, BeforeValidator(_recent)] = Field(
        "1000 rows",
        description="The newest labelled rows, such as '1000 rows' or '7 d'. Nothing learns from "
        "them: champion and challenger are compared on them.",
    )

    @model_validator(mode="after")
    def _triggers_know_when(self) -> RetrainSpec:
        for trigger in self.on:
            key = NEEDS.get(trigger)
            if key and getattr(self, key) is None:
                raise ValueError(f"on names {trigger}, so give watch.retrain.{key}")
        if len(set(self.on)) < len(self.on):
            raise ValueError("on names one of them twice")
        return self

    @property
    def recent_rows(self) -> int | None:
        """How many of the newest labelled rows judge; None where a time is given."""
        return int(self.recent.split()[0]) if self.recent.endswith("rows") else None

    @property
    def recent_seconds(self) -> float | None:
        """How far back the rows go that judge; None where a number of rows is given."""
        return None if self.recent.endswith("rows") else float(self.recent.split()[0])
