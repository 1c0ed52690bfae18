"""kill -9 at every step of a change leaves the old champion or the new one, and the next command
ends what was begun. After SQLite's crash tests: fail at the 1st, 2nd, ... step until none is left.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import killed
import modelwright as mw
from modelwright.core.errors import ApprovalNeeded
from modelwright.core.principal import Principal, acting_as
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import from_json, in_use, to_json
from modelwright.release.registry import Registry
from modelwright.release.tracking import end_abandoned
from release.records import register_again


@pytest.fixture
def two(project: Path) -> Path:
    """A project with a champion, version 1, and a challenger, version 2, of the same files."""
    return register_again(project, "2")


@pytest.fixture
def fresh(project: Path) -> Path:
    """A project with a champion, and a judged run that was not registered yet."""
    [old] = (project / "runs").iterdir()
    run = project / "runs" / "20300101-000000-0000"
    shutil.copytree(old, run)
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    record = msgspec.structs.replace(record, run=run.name, version="", alias="", replaces="1")
    (run / "release.json").write_bytes(to_json(record))
    (run / "fresh").touch()
    (run / "fresh").write_text(killed.log_fresh(project))
    return project


def aliases(folder: Path) -> tuple[str, str]:
    """Numbers of champion and challenger."""
    registry = Registry(folder)
    found = (registry.aliased("shop", alias) for alias in ("champion", "challenger"))
    champion, challenger = (version.number if version else "" for version in found)
    return champion, challenger


def changes(folder: Path) -> list[tuple[str, str, str]]:
    return [(e.action, e.version, e.replaces) for e in mw.AuditLog(folder).lines("shop")]


def whole(folder: Path) -> bool:
    """The chain holds, and its last change is what is in production."""
    log = mw.AuditLog(folder)
    return log.broken_at() is None and log.lines("shop")[-1].version == aliases(folder)[0]


@pytest.mark.slow
def test_promote_killed_at_every_step(two: Path, tmp_path: Path) -> None:
    seen = []
    for step in range(1, 100):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.promote_second, folder)
        assert aliases(folder) in (("1", "2"), ("2", "2"), ("2", "")), died
        assert mw.load("shop", folder=folder)  # any next command
        assert aliases(folder) in (("1", "2"), ("2", "")), died
        assert whole(folder), died
        assert not (folder / ".modelwright" / "pending.json").exists()
        if not died:
            break
        seen.append(died)
        if aliases(folder)[0] == "1":
            assert mw.promote("shop", folder=folder).version == "2"
        assert mw.rollback("shop", folder=folder).version == "1"
        assert changes(folder)[-2:] == [("promote", "2", "1"), ("rollback", "1", "2")]
    assert {"set_registered_model_alias", "delete_registered_model_alias", "fsync"} <= set(seen)
    assert len(seen) >= 8


@pytest.mark.slow
def test_rollback_killed_at_every_step(two: Path, tmp_path: Path) -> None:
    mw.promote("shop", "2", folder=two)
    for step in range(1, 100):
        folder = killed.copied(two, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.roll_back, folder)
        _, lines = mw.history("shop", folder=folder)
        assert whole(folder) and lines[-1].version in ("1", "2"), died
        if not died:
            break
    assert step >= 8 and aliases(folder) == ("1", "")


@pytest.mark.slow
def test_release_killed_at_every_step(fresh: Path, tmp_path: Path) -> None:
    """The second release of a model: it is registered whole, as challenger, or it can go on."""
    seen = []
    for step in range(1, 200):
        folder = killed.copied(fresh, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.register_fresh, folder)
        versions, _ = mw.history("shop", folder=folder)  # any next command
        record = from_json(
            (folder / "runs" / "20300101-000000-0000" / "release.json").read_bytes(), ReleaseRecord
        )
        legal = {1: ("1", "", ""), 2: ("1", "2", "2")}
        assert (*aliases(folder), record.version) == legal[len(versions)], died
        assert whole(folder), died
        if not died:
            break
        seen.append(died)
        for version in versions:
            assert mw.load(f"shop/{version.number}", folder=folder)
    assert {"create_model_version", "set_registered_model_alias"} <= set(seen)


@pytest.mark.slow
def test_the_first_release_killed_at_every_step(fresh: Path, tmp_path: Path) -> None:
    """There is no champion, or the version is champion with its line in the audit."""
    registry = Registry(fresh)
    registry.remove_alias("shop", "champion")
    (fresh / ".modelwright" / "audit.jsonl").unlink()
    for step in range(1, 200):
        folder = killed.copied(fresh, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.register_fresh, folder)
        versions, lines = mw.history("shop", folder=folder)
        state = (len(versions), aliases(folder), [line.version for line in lines])
        assert state in ((1, ("", ""), []), (2, ("2", ""), ["2"])), died
        if not died:
            break
    assert aliases(folder) == ("2", "")


@pytest.mark.slow
def test_the_first_release_of_an_agent_killed_at_every_step(fresh: Path, tmp_path: Path) -> None:
    """It never becomes champion, whoever ends what was cut off."""
    Registry(fresh).remove_alias("shop", "champion")
    (fresh / ".modelwright" / "audit.jsonl").unlink()
    loose = "rules: {card_complete: 'off', monitor_and_rollback_ready: 'off'}\n"
    (fresh / "modelwright.policy.yaml").write_text(loose)
    for step in range(1, 200):
        folder = killed.copied(fresh, tmp_path / f"copy{step}")
        died = killed.killed_at(step, killed.register_fresh_as_agent, folder)
        versions, lines = mw.history("shop", folder=folder)
        state = (len(versions), aliases(folder), [line.version for line in lines])
        assert state in ((1, ("", ""), []), (2, ("", "2"), [])), died
        if not died:
            break
    assert step > 6 and aliases(folder) == ("", "2")
    with acting_as(Principal("agent bo", "agent")), pytest.raises(ApprovalNeeded):
        mw.promote("shop", why="first", folder=folder)
    assert mw.promote("shop", why="first", folder=folder).replaces == ""
    (fresh / "modelwright.policy.yaml").write_text("agents: {promote: allow}\n")
    killed.register_fresh_as_agent(fresh)
    assert aliases(fresh) == ("2", "")


@pytest.mark.slow
def test_eight_promotions_at_once_have_one_order(two: Path) -> None:
    registry = Registry(two)
    first = registry.resolve("shop")
    run = two / "runs" / first.run
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    artefact = mw.Artefact.load(run / "artefact")
    for _ in range(7):
        registry.register(artefact, record, first.mlflow_run)
    wanted = [str(number) for number in range(2, 10)]
    codes = killed.together(killed.promote_one, [(two, version) for version in wanted])
    assert codes == [0] * 8
    found = changes(two)[1:]
    assert sorted(version for _, version, _ in found) == wanted
    champion = "1"
    for _, version, replaced in found:
        assert replaced == champion
        champion = version
    assert whole(two) and aliases(two)[0] == champion


def test_four_releases_at_once_lose_nothing(fresh: Path) -> None:
    [run] = [path.parent for path in (fresh / "runs").glob("*/fresh")]
    names = [run.name, *(f"20300101-00000{number}-ffff" for number in range(3))]
    for name in names[1:]:
        shutil.copytree(run, run.with_name(name))
        record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
        record = msgspec.structs.replace(record, run=name)
        (run.with_name(name) / "release.json").write_bytes(to_json(record))
    codes = killed.together(killed.register_run, [(fresh, name) for name in names])
    assert codes == [0] * 4
    assert sorted(v.number for v in Registry(fresh).versions("shop")) == ["1", "2", "3", "4", "5"]
    assert aliases(fresh) == ("1", "5") and whole(fresh)


def test_the_report_of_a_release_that_was_cut_off_tells_its_version(
    fresh: Path, tmp_path: Path
) -> None:
    """Killed after the version was made and before its record was written."""
    folder = killed.copied(fresh, tmp_path / "copy")
    killed.killed_in("set_registered_model_alias", killed.register_fresh, folder)
    run = folder / "runs" / "20300101-000000-0000"
    assert "shop 2 &middot;" not in (run / "report.html").read_text(encoding="utf-8")
    assert mw.history("shop", folder=folder)[0][0].number == "2"
    assert "shop 2 &middot;" in (run / "report.html").read_text(encoding="utf-8")
    assert "shop version 2" in (run / "card.html").read_text(encoding="utf-8")


def test_a_run_becomes_one_version_however_often_it_is_released(fresh: Path) -> None:
    codes = killed.together(killed.register_fresh, [(fresh,)] * 3)
    assert sorted(map(bool, codes)) == [False, True, True]
    assert sorted(v.number for v in Registry(fresh).versions("shop")) == ["1", "2"]
    assert whole(fresh)


@pytest.mark.slow
def test_a_run_killed_while_it_was_logged_is_marked_by_the_next(fresh: Path) -> None:
    registry = Registry(fresh)
    for call in ("log_batch", "log_artifacts", "set_terminated"):
        killed.killed_in(call, killed.log_fresh, fresh)
    marked = end_abandoned(registry, "shop", fresh / "runs")
    assert marked == 4, "three runs, and the candidate below the last of them"
    assert end_abandoned(registry, "shop", fresh / "runs") == 0
    assert len(registry.versions("shop")) == 1 and aliases(fresh) == ("1", "")
    with in_use(fresh / "runs" / "20300101-000000-0000"):
        killed.killed_in("log_inputs", killed.log_fresh, fresh)
        assert end_abandoned(registry, "shop", fresh / "runs") == 0
    assert end_abandoned(registry, "shop", fresh / "runs") == 1


@pytest.mark.slow
def test_a_candidate_whose_run_was_killed_is_marked_with_it(fresh: Path) -> None:
    registry = Registry(fresh)
    killed.killed_in("log_batch", killed.log_fresh, fresh)
    with registry.client() as client:
        experiment = client.get_experiment_by_name("shop").experiment_id
        [above] = client.search_runs([experiment], "attributes.status = 'RUNNING'")
        tags = {"mlflow.parentRunId": above.info.run_id, "modelwright.trial": "3"}
        below = client.create_run(experiment, tags=tags)
        assert end_abandoned(registry, "shop", fresh / "runs") == 2
        assert client.get_run(below.info.run_id).info.status == "KILLED"


def test_a_change_whose_version_is_gone_is_marked_and_blocks_nothing(two: Path) -> None:
    folder = two
    assert killed.killed_at(1, killed.promote_second, folder)
    pending = b'{"action":"promote","model":"shop","version":"9","replaces":"1","lines":1}'
    mw.AuditLog(folder).record("promote", "shop", "9", replaces="1", why="")
    (folder / ".modelwright" / "pending.json").write_bytes(pending)
    assert mw.promote("shop", "2", folder=folder).replaces == "1"
    assert [action for action, _, _ in changes(folder)] == ["promote", "promote", "void", "promote"]
    assert mw.rollback("shop", folder=folder).version == "1"


def test_a_change_made_elsewhere_since_is_not_undone(two: Path) -> None:
    registry = Registry(two)
    mw.AuditLog(two).record("promote", "shop", "2", replaces="", why="")
    pending = b'{"action":"promote","model":"shop","version":"2","replaces":"","lines":1}'
    (two / ".modelwright" / "pending.json").write_bytes(pending)
    assert mw.load("shop", folder=two)
    found = registry.aliased("shop", "champion")
    assert found and found.number == "1"
    assert changes(two)[-1] == ("void", "2", "1")
