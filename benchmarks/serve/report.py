"""The tables that are printed: what was measured, and which wanted figures are met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from figures import Round, cpu_ratio, of_load, of_server, speed_ratio, wanted_figures
from servers import DENSE, GRPC, LOADS, REFERENCE, SERVERS

AGAINST = {load: ("mlserver", load) for load in GRPC}
AGAINST |= dict.fromkeys(DENSE, ("modelwright dense", "json784"))


def report(result: Mapping[str, Any]) -> str:
    """All tables of a result, as Markdown."""
    rounds, sizes = result["rounds"], result["sizes"]
    session = result["session"]
    parts = [_loads(rounds), _costs(rounds, sizes), _wanted(rounds, session, sizes)]
    bare = f"session.run: {session['one']:.1f} us CPU for a row alone, {session['batch']:.1f} us "
    parts.insert(2, bare + "for a row among 64.")
    problems = [
        f"{name}: {visit['problem'].strip().splitlines()[-1]}"
        for one in rounds
        for name, visit in one.items()
        if "problem" in visit
    ]
    return "\n\n".join(parts + (["Problems:", *problems] if problems else []))


def _loads(rounds: Sequence[Round]) -> str:
    """Requests a second, percentiles, ratios, CPU: one line a load and server."""
    rows = []
    for load, described in LOADS.items():
        against = AGAINST.get(load, (REFERENCE, load))
        for server in SERVERS:
            asked = (server, load)
            speed = of_load(rounds, server, load, "per_second")
            if math.isnan(speed):
                continue
            percentiles = [of_load(rounds, server, load, p) for p in ("p50", "p95", "p99")]
            rows.append(
                [
                    described.about,
                    server,
                    f"{speed:,.0f}",
                    " / ".join(_short(p) for p in percentiles),
                    _short(speed_ratio(rounds, asked, against)),
                    f"{of_load(rounds, server, load, 'cpu_us'):,.0f}",
                    _short(cpu_ratio(rounds, asked, against)),
                    f"{_failed(rounds, server, load):,}",
                ]
            )
    head = ["load", "server", "requests/s", "p50 / p95 / p99 ms", "ratio", "CPU us", "CPU ratio"]
    return text_table([*head, "failed"], rows)


def _failed(rounds: Sequence[Round], server: str, load: str) -> int:
    """Requests of all rounds that got no good answer."""
    visits = [one[server]["loads"] for one in rounds if server in one]
    return sum(loads[load]["failed"] for loads in visits if load in loads)


def _costs(rounds: Sequence[Round], sizes: Mapping[str, float]) -> str:
    """Start, memory and size on disk."""
    rows = []
    for server in SERVERS:
        cold = of_server(rounds, server, "cold")
        if math.isnan(cold):
            continue
        memory = [of_server(rounds, server, key) for key in ("pss", "pss_after")]
        size = sizes.get(server)
        rows.append(
            [server, f"{cold:.2f}", *(_short(m) for m in memory), f"{size:.0f}" if size else "-"]
        )
    head = ["server", "first answer s", "PSS MB", "PSS MB after loads", "environment MB"]
    return text_table(head, rows)


def _wanted(
    rounds: Sequence[Round], session: Mapping[str, float], sizes: Mapping[str, float]
) -> str:
    """The wanted figures, and whether they are met."""
    figures = wanted_figures(rounds, session, sizes.get("modelwright", math.nan))
    rows = []
    for figure in figures:
        found = figure.rounds or (math.nan,)
        spread = f"{_short(min(found))} to {_short(max(found))}" if figure.rounds else "-"
        rows.append(
            [
                figure.about,
                "-" if math.isnan(figure.found) else f"{_short(figure.found)} {figure.unit}",
                f"{'>=' if figure.at_least else '<='} {_short(figure.wanted)} {figure.unit}",
                figure.verdict,
                spread,
                _short(figure.by_cpu),
            ]
        )
    head = ["wanted figure", "found", "wanted", "verdict", "rounds", "by CPU time"]
    return text_table(head, rows)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _short(value: float) -> str:
    """Three digits or so: 0.123, 4.56, 78.9, 1,234."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
