"""The files that people read of a judged run: report and model card, written from its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelwright.core.remembered import Remembered
from modelwright.core.store import write_changed
from modelwright.release.audit import AuditLog
from modelwright.release.card import card_html, card_markdown
from modelwright.release.practices import score_practices
from modelwright.release.report import render
from modelwright.release.run_records import RunRecords

CARD, CARD_PAGE = "card.md", "card.html"
_WRITTEN = Remembered[Path](32)
"""Pages that are on disk as they were written of the same records."""


def write_pages(given: RunRecords) -> Path:
    """Write report and card to the run's folder; returns the report's path."""
    whole = replace(given, audit=tuple(AuditLog(given.project).lines(given.release.model)))
    whole = replace(whole, practices=score_practices(whole))
    pages = [given.folder / name for name in (CARD, CARD_PAGE, given.release.report)]
    return _WRITTEN.get((given.folder.resolve(), whole.digest()), pages, lambda: _written(whole))


def _written(whole: RunRecords) -> Path:
    write_changed(whole.folder / CARD, card_markdown(whole).encode())
    write_changed(whole.folder / CARD_PAGE, card_html(whole).encode())
    path = whole.folder / whole.release.report
    write_changed(path, render(whole).encode())
    return path
