"""From the rounds to figures: medians, ratios of the same round, and what is wanted of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Round = Mapping[str, Mapping[str, Any]]
Asked = tuple[str, str]
"""A server and a load."""
PEERS = ("fastapi", "bentoml", "litserve", "mlserver", "mlflow", "ray")


@dataclass(frozen=True)
class Figure:
    """One wanted figure.

    Attributes:
        about: what it is.
        found: median over the rounds; NaN when it was not measured.
        wanted: the bound, a least one when `at_least`.
        rounds: what each round found, for ratios.
        by_cpu: the same ratio by CPU time a request, which the neighbours' load moves less.
    """

    about: str
    found: float
    wanted: float
    at_least: bool
    unit: str
    rounds: tuple[float, ...] = ()
    by_cpu: float = math.nan

    @property
    def verdict(self) -> str:
        """met, not met, or not measured."""
        if math.isnan(self.found) or math.isnan(self.wanted):
            return "not measured"
        met = self.found >= self.wanted if self.at_least else self.found <= self.wanted
        return "met" if met else "not met"


def middle(values: Sequence[float]) -> float:
    """The median; NaN without values."""
    return median(values) if values else math.nan


def of_server(rounds: Sequence[Round], server: str, key: str) -> float:
    """Median over the rounds of a cost of a server: cold, pss, pss_after."""
    return middle([r[server][key] for r in rounds if key in r.get(server, {})])


def of_load(rounds: Sequence[Round], server: str, load: str, key: str) -> float:
    """Median over the rounds of what a load measured: per_second, p99, cpu_us, ..."""
    found = [r[server]["loads"].get(load) for r in rounds if server in r]
    return middle([one[key] for one in found if one])


def ratios(rounds: Sequence[Round], above: Asked, below: Asked, key: str) -> list[float]:
    """One server and load divided by another of the same round, in each round that has both."""
    found = []
    for one in rounds:
        pair = [one.get(server, {}).get("loads", {}).get(load) for server, load in (above, below)]
        if all(pair) and pair[1][key]:
            found.append(pair[0][key] / pair[1][key])
    return found


def speed_ratio(rounds: Sequence[Round], above: Asked, below: Asked) -> float:
    """How many times the requests a second."""
    return middle(ratios(rounds, above, below, "per_second"))


def cpu_ratio(rounds: Sequence[Round], above: Asked, below: Asked) -> float:
    """How many times the requests for a second of CPU time."""
    return middle(ratios(rounds, below, above, "cpu_us"))


def wanted_figures(
    rounds: Sequence[Round], session: Mapping[str, float], size: float
) -> list[Figure]:
    """Everything that is wanted of `modelwright serve`."""

    def times(about: str, above: Asked, below: Asked, wanted: float) -> Figure:
        found = ratios(rounds, above, below, "per_second")
        by_cpu = cpu_ratio(rounds, above, below)
        return Figure(about, middle(found), wanted, True, "x", tuple(found), by_cpu)

    def against(peer: str, load: str, wanted: float, ours: str = "modelwright") -> Figure:
        return times(f"{load}: requests/s of ours / {peer}", (ours, load), (peer, load), wanted)

    found = [against("fastapi", load, 5) for load in ("c8", "c64")]
    for peer in ("bentoml", "litserve", "mlserver"):
        found += [against(peer, load, 20) for load in ("c8", "c64")]
    p99 = of_load(rounds, "modelwright", "c64", "p99")
    others = [of_load(rounds, peer, "c64", "p99") for peer in PEERS]
    lowest = min((p for p in others if not math.isnan(p)), default=math.nan)
    cpu = of_load(rounds, "modelwright", "c64", "cpu_us")
    dense = ("modelwright dense", "binary784"), ("modelwright dense", "json784")
    memory = [of_server(rounds, "modelwright", key) for key in ("pss", "pss_after")]
    cold = of_server(rounds, "modelwright", "cold")
    return [
        *found,
        Figure("c64: p99", p99, 10, False, "ms"),
        Figure("c64: p99, against the lowest p99 of a peer", p99, lowest, False, "ms"),
        against("fastapi", "b100", 1.5),
        Figure("c64: CPU beyond session.run of a row alone", cpu - session["one"], 45, False, "us"),
        Figure("c64: CPU beyond that of a row among 64", cpu - session["batch"], 45, False, "us"),
        Figure("start to the first answer", cold, 0.7, False, "s"),
        Figure("memory (PSS) after the first answer", memory[0], 100, False, "MB"),
        Figure("memory (PSS) after all loads", memory[1], 100, False, "MB"),
        Figure("environment that serves", size, 230, False, "MB"),
        *(against("mlserver", load, 3, "modelwright grpc") for load in ("g8", "g64")),
        times("784 floats: requests/s as bytes / as JSON", *dense, 2),
    ]
