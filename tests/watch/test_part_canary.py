"""The verdict on a canary, from a real journal; the clock is the test's."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Target
from modelwright.core.spec_serve import ServeSpec
from modelwright.core.traffic import Canary, Step
from modelwright.pack.artefact import Artefact
from modelwright.serve.journal_store import Folder
from modelwright.serve.live import LiveModel
from modelwright.serve.settings import Settings
from modelwright.serve.unanswered import Unanswered, encoded, failure
from modelwright.watch.canary import Arms
from modelwright.watch.episodes import Watched, step
from modelwright.watch.part_canary import CanaryPart, CanaryState
from modelwright.watch.subject import Known, Subject
from modelwright.watch.summary_store import count_journal
from watch.canaries import MINIMUM, at, counted, labels, look, minute, minutes_of, say
from watch.live import BEGIN, Live, copied, usual

ROW = {"size, cm": 61.5, "colour": "red", "big": 5, "member": True, "start": "2021-03-01"}


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    say(found, MINIMUM)
    yield found
    found.close()


def test_without_a_canary_nothing_is_judged(live: Live) -> None:
    found = CanaryPart().look(live.subject(BEGIN), None)
    assert (found.waits, found.advice, found.findings) == ("no canary", None, ())
    itself = look(live, 1, rule=Canary("1", 0.2, began=BEGIN))
    assert itself.waits == "no canary"


def test_the_last_one_is_kept_until_the_next_begins(live: Live) -> None:
    for number in range(4):
        minute(live, number, errors=(0.002, 0.1))
    bad = look(live, 4)
    gone = live.subject(BEGIN + 300)
    over = CanaryPart().look(gone, bad.state)
    again = CanaryPart().look(dataclasses.replace(gone, now=BEGIN + 900), over.state)
    ended = msgspec.json.decode(again.state, type=CanaryState).ended
    assert ended is not None and again.findings == ()
    assert (ended.rule.version, ended.against, ended.at) == ("2", "1", BEGIN + 300)
    assert ended.decision is not None and ended.decision.findings == bad.findings
    assert ended.outcome == (
        "ended without promotion; the verdict was roll back: errors: worse than tolerated"
    )
    fresh = look(live, 20, again.state, Canary("3", 0.2, began=BEGIN + 1000))
    assert msgspec.json.decode(fresh.state, type=CanaryState).ended is None


def test_one_that_became_champion_has_ended_by_promotion(live: Live) -> None:
    minute(live, 0)
    one = look(live, 1)
    known = live.library.get("1")
    new = Known(dataclasses.replace(known.version, number="2"), known.artefact, known.live)
    after = dataclasses.replace(live.subject(BEGIN + 120), champion=new)
    ended = msgspec.json.decode(CanaryPart().look(after, one.state).state, type=CanaryState).ended
    assert ended is not None and ended.against == "1"
    assert ended.outcome == "promoted; no verdict was reached"


def test_a_healthy_one_is_promoted_after_the_minimum_and_not_before(live: Live) -> None:
    state, calls = None, []
    rule = Canary("2", 0.5, began=BEGIN)
    for number in range(-1, 8):
        minute(live, number, count=4000, share=0.5 if number >= 0 else 0)
    for number in range(1, 9):
        found = look(live, number, state, rule)
        state = found.state
        calls.append(found.advice.act if found.advice else found.waits)
    assert calls[:2] == ["not enough evidence yet"] * 2
    assert "promote" in calls and "roll back" not in calls
    assert found.advice is not None and found.advice.version == "2"
    assert found.advice.why.startswith("canary 2 after ")


def test_answers_of_stand_ins_are_errors_and_end_it(live: Live) -> None:
    for number in range(4):
        minute(live, number, errors=(0.002, 0.1))
    found = look(live, 4)
    assert counted(found)["errors"] == Arms(800, 2, 200, 20)  # the first minute was enough
    assert found.advice is not None
    assert (found.advice.act, found.advice.version) == ("roll back", "2")
    assert found.advice.evidence[0].subject == "errors"
    [window] = found.windows
    assert window.at_once == {"canary"} and window.bad["canary"].verdict == "fail"


def left_alone(live: Live, number: int, *callers: str) -> None:
    """Requests of a minute that the canary was too late for, as a server records them."""
    artefact = live.library.get("1").artefact
    server = LiveModel.load(
        artefact.folder, Settings(models=()), name="shop", version="2", tried=True
    )
    feeds = [feeds_from_rows(server.schema, [ROW | {"colour": name}]) for name in callers]
    begin = BEGIN + 60 * number
    entries = [
        failure(Unanswered(server, "canary", f"late {n}", begin + n / 100, 504, one), 0.0)
        for n, one in enumerate(feeds)
    ]
    name, data = encoded(entries, "0123456789ab", number)
    Folder(live.folder / "journal").put(name, data)


def test_requests_that_nobody_answered_are_errors_of_their_minute(live: Live) -> None:
    for number in range(4):
        minute(live, number)
    left_alone(live, 0, *["red"] * 30)
    left_alone(live, 9, *["red"] * 30)
    found = look(live, 4)
    assert counted(found)["errors"] == Arms(800, 2, 230, 30)  # the first minute was enough
    assert found.advice is not None and found.advice.act == "roll back"
    assert counted(found)["over p50"].canary_trials == 200, "they took no time that is known"


def test_one_that_answers_nobody_is_ended(live: Live) -> None:
    minute(live, 0, share=0)
    left_alone(live, 0, *["red"] * 40)
    found = look(live, 1)
    assert counted(found)["errors"] == Arms(1000, 2, 40, 40)
    assert found.advice is not None and found.advice.act == "roll back"


def test_callers_without_an_answer_are_counted_by_the_key(live: Live) -> None:
    say(live, MINIMUM.replace("{minimum", "{key: colour, minimum"))
    minute(live, 0, errors=(0, 0), callers=[f"caller {n % 50}" for n in range(1000)])
    left_alone(live, 0, "caller 0", "caller 0", "caller 5", "somebody")
    assert counted(look(live, 1))["errors"] == Arms(40, 0, 11, 3)


def test_slower_answers_end_it_by_the_champions_own_percentiles(live: Live) -> None:
    for number in (-2, -1):
        minute(live, number, share=0)
    for number in range(5):
        minute(live, number, slower=1.5)
    found = look(live, 5)
    assert found.advice is not None and found.advice.act == "roll back"
    assert found.advice.evidence[0].subject == "latency"
    over = counted(found)["over p50"]
    assert 0.4 < over.champion_events / over.champion_trials < 0.55
    assert over.canary_events / over.canary_trials > 0.8


def test_percentiles_are_of_this_champion_alone(live: Live) -> None:
    minute(live, 0, share=0.2, errors=(0, 0))
    state = msgspec.json.decode(look(live, 1).state, type=CanaryState)
    other = dataclasses.replace(live.library.get("1").version, number="9")
    known = Known(other, live.library.get("1").artefact, None)
    foreign = dataclasses.replace(at(live, 1), champion=known)
    assert (
        state.edges
        and not msgspec.json.decode(CanaryPart().look(foreign, None).state, type=CanaryState).edges
    )


def test_of_a_minute_in_which_the_share_changed_only_the_time_counts(live: Live) -> None:
    ramp = Canary("2", 0.2, steps=(Step(0.2, 90), Step(0.5, 600)), began=BEGIN)
    for number in range(3):
        minute(live, number)
    found = look(live, 3, rule=ramp)
    assert counted(found)["errors"].canary_trials == 400
    assert minutes_of(found) == 3


def test_one_that_nobody_asks_is_over_in_time_and_its_episode_ends(live: Live) -> None:
    minute(live, 0, share=0)
    found = look(live, 21)
    [window] = found.windows
    assert found.advice is None and "a person decides" in window.bad["canary"].advice
    watched, events = step(Watched("shop"), window)
    for later in (22, 23, 24):
        state = CanaryPart().look(live.subject(BEGIN + 60 * later), found.state)
        for quiet in state.windows:
            watched, more = step(watched, quiet)
            events += more
    assert [event.what for event in events] == ["opened", "resolved"]


def test_looking_twice_counts_nothing_twice_and_the_cuts_do_not_matter(live: Live) -> None:
    for number in range(4):
        minute(live, number)
    at_once, state = look(live, 4), None
    for when in (0.5, 1, 1, 2.5, 2.5, 3, 4, 4):
        found = look(live, when, state)
        state = found.state
    assert counted(found)["errors"] == counted(at_once)["errors"] == Arms(3200, 8, 800, 0)
    assert minutes_of(found) == 4


def test_another_canary_or_another_champion_begins_anew(live: Live) -> None:
    for number in range(6):
        minute(live, number, errors=(0.002, 0.1 if number < 3 else 0.002))
    bad = look(live, 3)
    again = look(live, 6, bad.state, Canary("2", 0.2, began=BEGIN + 180))
    assert counted(again)["errors"] == Arms(2400, 6, 600, 0)
    known = live.library.get("1")
    artefact = Artefact.load(known.artefact.folder)
    artefact.digest = "f" * 64
    other = dataclasses.replace(at(live, 4), champion=Known(known.version, artefact, None))
    fresh = CanaryPart().look(other, bad.state)
    assert counted(fresh) == {} and fresh.advice is None


def test_a_label_counts_once_though_it_is_corrected(live: Live) -> None:
    minute(live, -1)
    for number in range(2):
        minute(live, number, errors=(0, 0))
    names = [f"{number}-{n}" for number in (-1, 0) for n in range(1000)]
    labels(live, dict.fromkeys(names, "no"), BEGIN + 65)
    first = look(live, 1.5)
    assert counted(first)["label errors"] == Arms(800, 800, 200, 200)
    labels(live, dict.fromkeys(names, "yes"), BEGIN + 100)
    assert counted(look(live, 2, first.state))["label errors"] == Arms(800, 800, 200, 200)


def test_wrong_labels_are_told_with_the_labelled_share_and_the_delay_of_each_arm(
    live: Live,
) -> None:
    for number in range(2):
        minute(live, number, errors=(0, 0))
    names = [f"0-{n}" for n in range(1000) if n % 5 or n % 20 == 0]  # of the canary every fourth
    labels(live, dict.fromkeys(names, "no"), BEGIN + 90)
    subject = at(live, 2.5)
    store, known = subject.store, live.library.get("1")
    live.answer(usual(1, 1600), BEGIN, 120)  # as its file says, by which answers are counted
    count_journal(store, subject.journal, live.library.manifest_of, "shop", 60)
    found = CanaryPart().look(subject, None)
    [told] = [f for f in found.findings if f.subject == "labels"]
    answers = store.answers("shop", "1", known.digest, int(BEGIN), int(BEGIN) + 120)
    assert answers == 1600
    assert "champion: 50% of 1,600 answers have a truth, median 60 s later" in told.why
    assert "canary: 100% of 50 answers have a truth, median 61 s later" in told.why
    assert found.advice is None or "truth" in "".join(f.why for f in found.advice.evidence)


@pytest.mark.parametrize("values", [False, True])
def test_labels_that_come_one_by_one_tell_as_much(live: Live, values: bool) -> None:
    minute(live, 0, errors=(0, 0), value=100.0 if values else None)
    truth = {f"0-{n}": ("115.0" if n % 5 == 0 else "110.0") if values else "no" for n in range(40)}
    subject = (lambda s: of_values(s, 40.0)) if values else (lambda s: s)
    state = b""
    for number, (name, said) in enumerate(truth.items()):
        labels(live, {name: said}, BEGIN + 65 + number)
        found = CanaryPart().look(subject(at(live, 1.5 + number)), state or None)
        state = found.state
    cell = msgspec.json.decode(state, type=CanaryState).state.cells["label errors"]
    if values:
        assert cell.means is not None
        assert (cell.means.champion[0], cell.means.canary[0]) == (28, 8)
        assert max(cell.harm) > 0
    else:
        assert cell.counts == Arms(28, 28, 8, 8)


def test_of_a_caller_one_label_counts_over_the_whole_canary(live: Live) -> None:
    say(live, MINIMUM.replace("{minimum", "{key: colour, minimum"))
    for number in range(2):
        minute(live, number, errors=(0, 0), callers=[f"caller {n % 50}" for n in range(1000)])
    labels(live, {f"0-{n}": "yes" if n < 50 else "no" for n in range(1000)}, BEGIN + 65)
    first = look(live, 1.5)
    assert counted(first)["label errors"] == Arms(40, 0, 10, 0), (
        "the first of each, which was right"
    )
    labels(live, {f"1-{n}": "no" for n in range(1000)}, BEGIN + 125)
    again = look(live, 2.5, first.state)
    assert counted(again)["label errors"] == Arms(40, 0, 10, 0), "nobody counts twice"


def test_labels_of_a_ramp_are_counted_for_each_share(live: Live) -> None:
    """All answers of the second half are wrong, on both arms, when the canary has more of them:
    put together, that looks like harm."""
    ramp = Canary("2", 0.05, steps=(Step(0.05, 120), Step(0.5, 600)), began=BEGIN)
    for number in range(4):
        minute(live, number, share=0.05 if number < 2 else 0.5, errors=(0, 0))
    truth = {f"{k}-{n}": "yes" if k < 2 else "no" for k in range(4) for n in range(1000)}
    labels(live, truth, BEGIN + 241)
    found = look(live, 4, rule=ramp)
    assert counted(found)["label errors"] == Arms(2900, 1000, 1100, 1000)
    assert found.advice is None or found.advice.act != "roll back"


def of_values(subject: Subject, scale: float | None) -> Subject:
    """The same with a champion that predicts values; `scale` is the p99 of its errors."""
    known = subject.champion
    target = Target("price", "regression")
    schema = msgspec.structs.replace(known.manifest.schema, target=target)
    artefact = copy.copy(known.artefact)
    artefact.manifest = msgspec.structs.replace(known.manifest, schema=schema)
    live = None if scale is None else msgspec.structs.replace(known.live, scale=scale)
    return dataclasses.replace(subject, champion=Known(known.version, artefact, live))


@pytest.mark.parametrize(("worse", "call"), [(10.0, "hold"), (15.0, "roll back")])
def test_errors_of_values_are_judged_as_their_truths_arrive(
    live: Live, worse: float, call: str
) -> None:
    """The champion is 10 off, the canary 10 or 15; one error of 900 in each arm counts as 40."""
    truth = {}
    for number in range(2):
        minute(live, number, errors=(0, 0), value=100.0)
        for n in range(1000):
            off = 900.0 if n < 6 else worse if n % 5 == 0 else 10.0
            truth[f"{number}-{n}"] = str(100.0 + off * (-1) ** n)
    labels(live, truth, BEGIN + 130)
    found = CanaryPart().look(of_values(at(live, 2.5), 40.0), None)
    state = msgspec.json.decode(found.state, type=CanaryState)
    means = state.state.cells["label errors"].means
    assert means is not None and (means.champion[0], means.canary[0]) == (1600, 400)
    assert means.means()[0] == pytest.approx(10, rel=0.02)
    assert state.state.call == call
    if call == "roll back":
        assert found.findings[0].subject == "labels" and "mean error" in found.findings[0].measured


def test_without_a_reference_errors_of_values_are_not_judged(live: Live) -> None:
    minute(live, 0, errors=(0, 0), value=100.0)
    labels(live, {f"0-{n}": "1.0" for n in range(1000)}, BEGIN + 65)
    found = CanaryPart().look(of_values(at(live, 1.5), None), None)
    assert "label errors" not in counted(found)


def test_callers_are_counted_by_a_key(live: Live) -> None:
    say(live, MINIMUM.replace("{minimum", "{key: colour, minimum"))
    minute(live, 0, errors=(0, 0.5), callers=[f"caller {n % 50}" for n in range(1000)])
    assert counted(look(live, 1))["errors"] == Arms(40, 0, 10, 10)


def test_callers_are_counted_by_what_keeps_them_with_an_arm(live: Live) -> None:
    """Of a number that the model does not read the journal has a hash, of a header's too."""
    say(live, MINIMUM.replace("{minimum", "{key: customer, minimum"))
    # every second one is the canary's; of the champion's each says who asks
    keys = [f"{n % 50}" if n % 2 else None for n in range(1000)]
    minute(live, 0, errors=(0, 0.1), share=0.5, keys=keys)
    subject = at(live, 1)
    known = dataclasses.replace(subject.champion)
    known.__dict__["served"] = ServeSpec(key="customer")
    subject = dataclasses.replace(subject, champion=known)
    errors = counted(CanaryPart().look(subject, None))["errors"]
    assert errors == Arms(25, 0, 500, 50), "whoever says nobody counts by request"


def test_labels_are_of_callers_whom_a_key_keeps_with_an_arm(live: Live) -> None:
    minute(live, 0, errors=(0, 0), share=0.5, keys=[f"{n % 50}" for n in range(1000)])
    labels(live, {f"0-{n}": "no" for n in range(1000)}, BEGIN + 65)
    assert counted(look(live, 1.5))["label errors"] == Arms(25, 25, 25, 25)


def test_files_of_before_callers_were_recorded_are_counted_by_request(live: Live) -> None:
    minute(live, 0, errors=(0, 0))
    labels(live, {f"0-{n}": "no" for n in range(1000)}, BEGIN + 65)
    assert counted(look(live, 1.5))["label errors"] == Arms(800, 800, 200, 200)


def test_a_key_that_no_journal_has_is_refused(live: Live) -> None:
    say(live, MINIMUM.replace("{minimum", "{key: weight, minimum"))
    with pytest.raises(UsageError, match="'weight' is in no journal"):
        look(live, 1)
