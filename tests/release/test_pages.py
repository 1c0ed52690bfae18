"""Report and card are written again where what they are made of has changed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.release import pages
from projects import another_byte, settled
from release.records import register_again

PAGES = ("card.md", "card.html", "report.html")


@pytest.fixture
def run(project: Path) -> Path:
    """A run whose pages were looked at, and are kept."""
    [folder] = [path for path in (project / "runs").iterdir() if path.is_dir()]
    for _ in range(2):
        settled(*(folder / name for name in (*PAGES, "release.json", "fit.json", "spec.json")))
        mw.write_pages(mw.records_of(folder))
    return folder


def written(run: Path) -> list[str]:
    """The pages as they are after one more look."""
    mw.write_pages(mw.records_of(run))
    return [(run / name).read_text(encoding="utf-8") for name in PAGES]


def test_nothing_is_rendered_while_nothing_changes(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(run)
    rendered: list[object] = []
    monkeypatch.setattr(pages, "render", rendered.append)
    assert written(run) == before and not rendered


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_was_edited_or_removed_is_written_again(run: Path, name: str) -> None:
    before = written(run)
    (run / name).write_text("edited")
    assert written(run) == before
    (run / name).unlink()
    assert written(run) == before


def test_a_record_that_changed_under_its_old_date_is_read_again(run: Path) -> None:
    another_byte(run / "release.json", b'"shop"', b'"sh0p"')
    assert all("sh0p" in text for text in written(run))


def test_a_change_of_production_is_told(run: Path) -> None:
    before = written(run)
    register_again(run.parents[1], "2")
    mw.canary("shop", "2", weight=0.1, folder=run.parents[1])
    after = written(run)
    assert "used 1 times" in after[0] and after != before


def test_a_file_of_the_project_that_a_practice_looks_at(run: Path) -> None:
    record = run / "spec.json"
    record.write_text(record.read_text().replace('"practices": {}', '"practices": {"D5": "a.md"}'))
    vague = written(run)
    (run.parents[1] / "a.md").write_text("access: ada\n")
    assert written(run) != vague


def test_a_comparison_is_made_again_after_a_change(run: Path) -> None:
    project = run.parents[1]
    found = [mw.compare_releases("shop", "shop/1", folder=project) for _ in range(2)]
    assert found[0].differences() == found[1].differences()
    page = found[0].report
    settled(page)
    mw.compare_releases("shop", "shop/1", folder=project)
    before = page.read_text()
    page.write_text("edited")
    assert mw.compare_releases("shop", "shop/1", folder=project).report.read_text() == before
    (run / "standings.npz").unlink()
    mw.compare_releases("shop", "shop/1", folder=project)
    assert page.read_text() != before
