"""The files that people read of a judged run: report and model card, written from its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelwright.core.store import write_changed
from modelwright.release.audit import AuditLog
from modelwright.release.card import card_html, card_markdown
from modelwright.release.practices import score_practices
from modelwright.release.report import render
from modelwright.release.run_records import RunRecords

CARD, CARD_PAGE = "card.md", "card.html"


def write_pages(given: RunRecords) -> Path:
    """Write report and card to the run's folder; returns the report's path."""
    whole = replace(given, audit=tuple(AuditLog(given.project).lines(given.release.model)))
    whole = replace(whole, practices=score_practices(whole))
    write_changed(given.folder / CARD, card_markdown(whole).encode())
    write_changed(given.folder / CARD_PAGE, card_html(whole).encode())
    path = given.folder / given.release.report
    write_changed(path, render(whole).encode())
    return path
