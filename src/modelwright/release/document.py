"""A page as plain blocks, written once and set as Markdown or as HTML.

All text is data: whatever a column is called or an owner writes, it stays text in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from modelwright.release.html import page, table

_MARKED = re.compile(r"([\\`*\[\]|~$])")
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_START = re.compile(r"^([-+](?=\s|$)|--|=|#|\d+(?=[.)](?:\s|$)))")


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    items: Sequence[str]


WORDY = 60
"""Characters of a cell behind the second from which a phone shows the cells below each other."""


@dataclass(frozen=True)
class Grid:
    """A table; the first cell of a row names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Code:
    """Text to copy, as it is."""

    language: str
    text: str


@dataclass(frozen=True)
class Heading:
    """The title of a part of a section."""

    text: str


Block = Paragraph | Bullets | Grid | Code | Heading


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    blocks: Sequence[Block]


def marked_down(text: str) -> str:
    """Any text as one line of Markdown that shows just that text.

    Example:
        >>> print(marked_down("a|b <i> _x_ roc_auc"))
        a\\|b &lt;i&gt; \\_x\\_ roc_auc
    """
    line = " ".join(text.split())
    line = _EDGE.sub(r"\\_", _MARKED.sub(r"\\\1", line))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _START.sub(lambda found: _harmless(found[0]), line)


def _harmless(start: str) -> str:
    """A line's first mark, so that no list or heading begins there."""
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def to_markdown(sections: Sequence[Section], *, level: int = 2) -> str:
    """Sections as GitHub's Markdown, headings from that level on."""
    parts = []
    for section in sections:
        parts.append(f"{'#' * level} {marked_down(section.title)}")
        parts += [_markdown(block, level + 1) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block, level: int) -> str:
    match block:
        case Paragraph(text):
            return marked_down(text)
        case Heading(text):
            return f"{'#' * level} {marked_down(text)}"
        case Bullets(items):
            return "\n".join(f"- {marked_down(item)}" for item in items)
        case Grid(head, rows):
            lines = [head, ["---"] * len(head), *[[marked_down(c) for c in row] for row in rows]]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Code(language, text):
            longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{fence}{language}\n{text}\n{fence}"


def to_html(sections: Sequence[Section]) -> str:
    """Sections as HTML, headings from h2 on."""
    return "".join(
        f"<section><h2>{escape(section.title)}</h2>{blocks_html(section.blocks)}</section>"
        for section in sections
    )


def blocks_html(blocks: Sequence[Block]) -> str:
    """A section's content without its title."""
    return "".join(map(_html, blocks))


def _html(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Heading(text):
            return f"<h3>{escape(text)}</h3>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Grid(head, rows):
            wordy = any(len(cell) > WORDY for row in rows for cell in row[2:])
            return table(head, [_row(row) for row in rows], stacked=wordy)
        case Code(text=text):
            return f"<pre class='scroll' tabindex='0'><code>{escape(text)}</code></pre>"


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    others = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
    return f"<tr><th scope='row'>{escape(first)}</th>{others}</tr>"


def page_of(title: str, eyebrow: str, sections: Sequence[Section]) -> str:
    """A self-contained HTML page: no script, nothing fetched."""
    head = f"<p class='eyebrow'>{escape(eyebrow)}</p><h1>{escape(title)}</h1>"
    return page(title, head + to_html(sections))
