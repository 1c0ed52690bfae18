"""The ML Test Score: 28 tests of readiness, after Breck et al. 2017 (IEEE Big Data).

Half a point for what is done by hand and written down, a point for what is automated and repeated.
The score is the minimum of the four sections, so monitoring that is not there shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelwright.core.evaluation import Kind, Practice, PracticeScore
from modelwright.core.spec_release import SECTIONS
from modelwright.release import practice_live as live
from modelwright.release import practice_rules as rules
from modelwright.release.document import Block, Grid, Heading, Paragraph, Section, blocks_html
from modelwright.release.document import to_markdown as markdown_of
from modelwright.release.run_records import RunRecords

TITLE = "ML Test Score"
POINTS = {0.0: "0", 0.5: "0.5", 1.0: "1"}
KINDS = {"computed": "computed", "declared": "declared in the spec", "people": "needs people"}


@dataclass(frozen=True)
class _Test:
    """One test: `rule` computes it, `wanted` says what to declare where nothing can."""

    code: str
    name: str
    kind: Kind
    rule: Callable[[RunRecords], rules.Points] | None = None
    wanted: str = ""


TESTS = (
    _Test("D1", "Feature expectations are in a schema", "computed", rules.schema_of_features),
    _Test("D2", "All features are beneficial", "computed", rules.features_are_beneficial),
    _Test("D3", "No feature costs too much", "declared",
          wanted="what each source costs (money, delay, upkeep) and why it is worth it"),
    _Test("D4", "Features keep to rules from above", "declared", rules.forbidden_features),
    _Test("D5", "The pipeline guards privacy", "declared", rules.privacy),
    _Test("D6", "New features are added quickly", "people",
          wanted="how long the last new feature took from idea to production"),
    _Test("D7", "Code of input features is tested", "computed", rules.feature_code),
    _Test("MD1", "The model's spec is reviewed and versioned", "declared",
          rules.model_spec_reviewed),
    _Test("MD2", "Offline metrics go with online impact", "people",
          wanted="an experiment that shows how the goal metric and the outcome move together"),
    _Test("MD3", "Hyperparameters are tuned", "computed", rules.tuned),
    _Test("MD4", "The impact of staleness is known", "computed", rules.staleness),
    _Test("MD5", "A simpler model is not better", "computed", rules.simpler_is_not_better),
    _Test("MD6", "Quality is good on important slices", "computed", rules.slices_are_good),
    _Test("MD7", "The model was tested for inclusion", "declared", rules.inclusion),
    _Test("I1", "Training is reproducible", "computed", rules.reproducible),
    _Test("I2", "Model code is unit tested", "computed", rules.model_code),
    _Test("I3", "The whole pipeline is integration tested", "computed", rules.whole_pipeline),
    _Test("I4", "Quality is validated before serving", "computed", rules.validated_before_serving),
    _Test("I5", "One example can be debugged step by step", "computed", live.one_example),
    _Test("I6", "A canary comes before full serving", "computed", live.canary),
    _Test("I7", "There is a quick, safe rollback", "computed", rules.rollback),
    _Test("M1", "Changes of dependencies are announced", "declared",
          wanted="who owns the sources of the table and how they tell of a change"),
    _Test("M2", "Data invariants hold in training and serving", "computed", live.invariants),
    _Test("M3", "Training and serving compute the same features", "computed", live.skew),
    _Test("M4", "Models are not too stale", "computed", live.age),
    _Test("M5", "The model is numerically stable", "computed", live.numbers),
    _Test("M6", "Speed and memory do not get worse", "computed", live.speed),
    _Test("M7", "Quality does not fall on served data", "computed", live.quality),
)  # fmt: skip
"""All of them in the paper's order."""


def score_practices(run: RunRecords) -> PracticeScore:
    """All 28 tests for one run.

    Example:
        score = score_practices(RunRecords.read(Path("runs/20261121-082320-d38e")))
        score.score, score.sections["data"]
    """
    practices = tuple(_judged(test, run) for test in TESTS)
    sections = dict.fromkeys(SECTIONS.values(), 0.0)
    for practice in practices:
        sections[practice.section] += practice.score
    return PracticeScore(practices, sections, min(sections.values()))


def _judged(test: _Test, run: RunRecords) -> Practice:
    """The computed points; a declaration that says something raises none to half a point, but not
    against evidence."""
    told = run.spec.practices.get(test.code, "")
    score, why, refuted = test.rule(run) if test.rule else rules.Points(0.0, _asked(test))
    vague = rules.objection(told, run.project) if told else ""
    if vague:
        why = f"declared {told[:60]!r} {vague}; {why}"
    elif score < 0.5 and told and not refuted:
        score, why = 0.5, f"declared: {told}" + (f" (computed: {why})" if test.rule else "")
    section = SECTIONS[test.code.rstrip("0123456789")]
    return Practice(test.code, section, test.name, test.kind, score, why)


def _asked(test: _Test) -> str:
    return f"practices: {{{test.code}: ...}} may say {test.wanted}, and where that is kept"


def practices_html(score: PracticeScore) -> str:
    """The score as part of a page, without a title: a table a section."""
    return blocks_html(practices_section(score).blocks)


def practices_markdown(score: PracticeScore) -> str:
    """The score as Markdown, one heading and a table a section."""
    return markdown_of([practices_section(score)])


def practices_section(score: PracticeScore) -> Section:
    """The score as a section of a page."""
    sums = ", ".join(f"{name} {points:g}" for name, points in score.sections.items())
    blocks: list[Block] = [
        Paragraph(
            f"{score.score:g} of 7: the minimum of {sums} (Breck et al. 2017). 1: automated and "
            "repeated; 0.5: done by hand and written down, or recorded but not repeated."
        )
    ]
    for name, points in score.sections.items():
        mine = [practice for practice in score.practices if practice.section == name]
        blocks += [Heading(f"{name}: {points:g} of {len(mine)}"), Grid(*_rows(mine))]
    return Section(TITLE, blocks)


def _rows(practices: Sequence[Practice]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = ("test", "of", "points", "how", "evidence, or what would earn more")
    return head, [
        (p.code, p.name, POINTS.get(p.score, f"{p.score:g}"), KINDS[p.kind], p.why)
        for p in practices
    ]
