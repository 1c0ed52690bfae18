"""What a run or retraining has to satisfy before it reads its table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from modelwright.core.budget import Spent, spending
from modelwright.core.errors import Refused
from modelwright.core.goalposts import must_leave_to_people
from modelwright.core.limits import parse_quantity
from modelwright.core.policy import Policy, read_policy
from modelwright.core.principal import acting
from modelwright.core.spec_file import SpecFile, read_spec
from modelwright.core.writer import writing
from modelwright.release.approvals import Requests, gate
from modelwright.release.requests import STANDS

HYPERPARAMETERS = ("fit.params", "fit.space")


Training = Literal["run", "retrain"]


def may_begin(
    spec: str | Path | SpecFile,
    what: Training,
    *,
    overrides: Sequence[str] = (),
    why: str = "",
    resume: bool = False,
) -> None:
    """Look whether a run or retraining may be begun, before a job is made of it.

    Args:
        spec, overrides, why, resume: as for `run` and `retrain`.
        what: which of them.

    Raises:
        Refused, ApprovalNeeded: as for `admitted`, but for the budget and another writer.
        SpecError: the spec is wrong.
    """
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec), overrides)
    _must_be_allowed(spec_file, read_policy(spec_file.folder), what, why, resume)


@contextlib.contextmanager
def admitted(
    spec_file: SpecFile, what: Training, *, why: str = "", resume: bool = False
) -> Iterator[Spent]:
    """Hold the project while something is trained in it.

    Args:
        why, resume: arguments of the operation, for whoever has to approve it.

    Yields:
        Where to say how many trials it came to.

    Raises:
        Refused: spec_only_hparams, accuracy_drop_max, budget or one_writer is not met; or an agent
            gave settings beside the spec that are a person's (human_approval).
        ApprovalNeeded: the policy file wants a person to approve it.
    """
    policy = read_policy(spec_file.folder)
    _must_be_allowed(spec_file, policy, what, why, resume)
    trials, seconds = _asked(spec_file)
    with (
        writing(spec_file.folder, what),
        spending(spec_file.folder, policy, trials=trials, seconds=seconds) as spent,
    ):
        if acting().approved:  # whoever held the project until now may have carried it out
            _was_approved(spec_file, policy, what, why, resume)
        yield spent


def begins(spec_file: SpecFile, run: str) -> None:
    """Tie a run to the approval under which it is made, before anything is trained: whatever is
    killed then, the approval makes no second one. Nothing where none was needed.
    """
    under = acting().approved
    if under:
        Requests(spec_file.folder).begins(under, run)


def begun_before(spec_file: SpecFile) -> str:
    """The run that was begun under the approval that is carried out, and was cut off."""
    under = acting().approved
    return Requests(spec_file.folder).going_on(under) if under else ""


@contextlib.contextmanager
def admitted_again(folder: Path) -> Iterator[Spent]:
    """Hold the project while the model of a run is made once more: one candidate, without a search.

    Yields:
        Where to say how many trials it came to.

    Raises:
        Refused: budget or one_writer is not met.
    """
    with (
        writing(folder, "reproduce"),
        spending(folder, read_policy(folder), trials=1, seconds=0.0) as spent,
    ):
        yield spent


def _must_be_allowed(
    spec_file: SpecFile, policy: Policy, what: Training, why: str, resume: bool
) -> None:
    _must_stand_in_the_file(spec_file, policy)
    _must_not_drop_more(spec_file, policy)
    if not _was_approved(spec_file, policy, what, why, resume):
        _must_be_as_the_file_says(spec_file)


def _must_stand_in_the_file(spec_file: SpecFile, policy: Policy) -> None:
    given = [k for k in spec_file.overrides if k.startswith(HYPERPARAMETERS)]
    if given and policy.binds("spec_only_hparams"):
        raise Refused(
            f"Hyperparameters were given beside the spec: {', '.join(given)}.",
            hint=f"Write them into {spec_file.path.name}, where the next run finds them too.",
            rule="spec_only_hparams",
            evidence={"given": given},
        )


def _must_not_drop_more(spec_file: SpecFile, policy: Policy) -> None:
    asked = spec_file.spec.pack.drop_at_most
    if asked is not None and asked > policy.accuracy_drop_max and policy.binds("accuracy_drop_max"):
        raise Refused(
            f"pack.drop_at_most is {asked:g}; the policy allows {policy.accuracy_drop_max:g}.",
            hint="Ask for less, or a person raises accuracy_drop_max in modelwright.policy.yaml.",
            rule="accuracy_drop_max",
            evidence={"asked": asked, "most": policy.accuracy_drop_max},
        )


def _must_be_as_the_file_says(spec_file: SpecFile) -> None:
    """What an agent gives beside the file changes nothing that it may not write into it."""
    if acting().is_agent:
        must_leave_to_people(spec_file.path, spec_file.spec)


def _was_approved(spec_file: SpecFile, policy: Policy, what: str, why: str, resume: bool) -> bool:
    """Whether a person approved it, with all that stands beside the file."""
    if getattr(policy.agents, what) == "allow":
        return False
    overrides = [f"{key}={value}" for key, value in spec_file.overrides.items()]
    found = gate(
        spec_file.folder, what,
        {"spec": spec_file.path.name, "overrides": overrides, "resume": resume},
        model=spec_file.spec.name, version="", why=why, champion="",
        evidence={"budget": spec_file.spec.fit.budget, STANDS: {"spec": spec_file.digest}},
    )  # fmt: skip
    return found is not None


def _asked(spec_file: SpecFile) -> tuple[int, float]:
    """(trials, seconds) that the budget of a spec may take; 0 for what it does not bound."""
    number, _, unit = spec_file.spec.fit.budget.partition(" ")
    if unit == "trials":
        return int(number), 0.0
    return 0, parse_quantity(spec_file.spec.fit.budget, "seconds")[0]
