"""The report's curves as files of their own, for MLflow and for slides: SVG on white."""

from __future__ import annotations

from html import escape

from modelwright.core.evaluation import Confusion, Evaluation
from modelwright.release.drawing import HEIGHT, WIDTH
from modelwright.release.model_page import drawings

HEAD = 44
"""Room above the drawing for its title and for the key of its lines."""
CELL, LABELS, MOST_LETTERS = 44, 130, 18
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1c2126}.title{font-size:14px;font-weight:600}"
    ".axis{fill:none;stroke:#5b6670}.grid{fill:none;stroke:#dde2e7}"
    ".front{fill:none;stroke:#507594;stroke-width:1.5}.band{fill:#507594;opacity:.22}"
    ".dot{fill:#507594;stroke:#fff}.limit{fill:none;stroke:#1c2126;stroke-dasharray:4 3}"
    ".dash1{stroke-dasharray:6 3}.dash2{stroke-dasharray:2 3}.dash3{stroke-dasharray:8 3 2 3}"
)


def plots(found: Evaluation) -> dict[str, str]:
    """Name -> a whole SVG document, of each curve there is and of the confusion."""
    drawn = {
        one.name: _document(one.shapes, one.title, one.key, WIDTH, HEIGHT)
        for one in drawings(found)
    }
    if found.confusion is not None:
        drawn["confusion"] = _confusion(found.confusion)
    return drawn


def _document(shapes: str, title: str, key: str, width: int, height: int) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 {-HEAD} {width} {height + HEAD}' "
        f"width='{2 * width}' height='{2 * (height + HEAD)}' role='img' "
        f"aria-label='{escape(title)}'><title>{escape(title)}</title><style>{STYLE}</style>"
        f"<rect x='0' y='{-HEAD}' width='{width}' height='{height + HEAD}' fill='#fff'/>"
        f"<text class='title' x='12' y='-24'>{escape(title)}</text>"
        f"<text x='12' y='-7'>{escape(key)}</text>{shapes}</svg>\n"
    )


def _confusion(found: Confusion) -> str:
    """A square a cell, shaded by the share of the true class."""
    side = CELL * len(found.labels)
    parts = []
    for down, (label, counts) in enumerate(zip(found.labels, found.counts, strict=True)):
        top, total = down * CELL, max(1, sum(counts))
        parts.append(
            f"<text x='{LABELS - 8}' y='{top + CELL / 2 + 4:g}' text-anchor='end'>"
            f"{escape(_short(label))}</text>"
        )
        middle, floor = LABELS + (down + 0.5) * CELL, side + 14
        parts.append(
            f"<text x='{middle:g}' y='{floor}' text-anchor='end' "
            f"transform='rotate(-45 {middle:g} {floor})'>{escape(_short(label))}</text>"
        )
        for across, count in enumerate(counts):
            left = LABELS + across * CELL
            parts.append(
                f"<rect x='{left}' y='{top}' width='{CELL - 1}' height='{CELL - 1}' "
                f"fill='#507594' fill-opacity='{0.06 + 0.5 * count / total:.3f}'/>"
                f"<text x='{left + CELL / 2:g}' y='{top + CELL / 2 + 4:g}' "
                f"text-anchor='middle'>{count:,}</text>"
            )
    return _document(
        "".join(parts), "Confusion", "true classes down, what the model says across",
        max(WIDTH, LABELS + side + 12), side + LABELS,
    )  # fmt: skip


def _short(label: str) -> str:
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}…"
