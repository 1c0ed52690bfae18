"""Every error a user can meet, drawn as a tree.

ModelwrightError            what was found, what was wanted, what to do next
 ├─ UsageError              a name, file or option that does not fit             exit 2
 ├─ SpecError               modelwright.yaml, all its problems at once           exit 2
 ├─ DataError               the table cannot be used as it is                    exit 2
 │   └─ RowsError           rows that do not fit the Schema, row by row          exit 2, HTTP 422
 ├─ FitError                no candidate could be trained                        exit 3
 ├─ PackError               the trained pipeline could not be converted          exit 3
 │   └─ ParityError         converted, but some row is answered differently      exit 3
 ├─ ArtefactError           a folder that is changed, foreign or unsafe          exit 3
 ├─ RegistryError           MLflow refused or is away                            exit 3
 │   └─ NoSuchModel         no model, version or alias of that name              exit 2
 ├─ Refused                 a rule or the policy file does not allow it          exit 2
 │   └─ ApprovalNeeded      a person has to approve it first                     exit 2
 ├─ SendError               an alert did not arrive                              exit 3
 ├─ ScrapeError             the metrics of a server cannot be read               exit 3
 └─ MissingExtra            an optional package is not installed                 exit 2
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ROW = re.compile(r"^row (\d+)")


class ModelwrightError(Exception):
    """Base of all errors that are the caller's to mend; the message is for people.

    Example:
        >>> str(UsageError("No file data.csv.", hint="Check the path."))
        'No file data.csv. Check the path.'
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        rule: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.rule = rule
        self.evidence = dict(evidence or {})

    def __str__(self) -> str:
        hint = self.hint
        if hint and self.message.endswith("."):
            hint = hint[0].upper() + hint[1:]
        return f"{self.message} {hint}".strip()

    @property
    def problems(self) -> tuple[str, ...]:
        """One line a problem; errors that collect several override this."""
        return (self.message,)

    def refusal(self) -> dict[str, Any]:
        """The error as data, the same at every door.

        Returns:
            code (the error's type), rule (its id in `core.rules`; empty where none was broken),
            message (what was found and wanted), fix (what to do next), evidence, problems.

        Example:
            >>> found = UsageError("No file a.csv.", hint="Check the path.").refusal()
            >>> found["code"], found["fix"]
            ('UsageError', 'Check the path.')
        """
        return {
            "code": type(self).__name__,
            "rule": self.rule,
            "message": self.message,
            "fix": self.hint,
            "evidence": self.evidence,
            "problems": list(self.problems),
        }


class UsageError(ModelwrightError):
    """A name, file or option that does not fit."""

    exit_code = 2


class _ManyProblems(ModelwrightError):
    """Shared by the errors that report everything wrong at once."""

    def __init__(
        self,
        title: str,
        problems: Sequence[str],
        *,
        hint: str = "",
        rule: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(title, hint=hint, rule=rule, evidence=evidence)
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[str, ...]:
        return self._problems

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {problem}" for problem in self._problems)]
        return "\n".join(lines + ([self.hint] if self.hint else []))


class Refused(ModelwrightError):
    """A rule of the house (`core.rules`) or the policy file says no; `rule` says which."""

    exit_code = 2


class ApprovalNeeded(Refused):
    """A person has to say yes first; `evidence["request"]` is the request that now waits."""


class SpecError(_ManyProblems):
    """The spec file is wrong; `problems` has one line (with line and column) for each."""

    exit_code = 2


class DataError(ModelwrightError):
    """The table cannot be used as it is."""

    exit_code = 2


class RowsError(_ManyProblems, DataError):
    """Rows that do not fit the Schema; `problems` names row and column of each.

    Attributes:
        all_problems: those that are not shown too; of very many only their number is kept.
        feeds: column -> array of what fits, the rest of it missing, for whoever looks further.
        lines: of the file or body, in which each row begins; None where it has none.
    """

    exit_code = 2
    all_problems: Sequence[str] = ()
    feeds: Mapping[str, Any] | None = None
    lines: Sequence[int] | None = None

    @property
    def by_line(self) -> tuple[str, ...]:
        """The problems, with rows as a person finds them in an editor where they have lines."""
        lines = self.lines
        if lines is None:
            return tuple(self.problems)
        return tuple(
            _ROW.sub(lambda found: f"line {lines[int(found[1])]}", problem)
            for problem in self.problems
        )


class FitError(ModelwrightError):
    """No candidate could be trained."""


class PackError(ModelwrightError):
    """The trained pipeline could not be converted."""


class ParityError(_ManyProblems, PackError):
    """The packed model answers some row differently; `problems` names step and row."""


class ArtefactError(ModelwrightError):
    """A model folder that is changed, foreign or unsafe."""


class RegistryError(ModelwrightError):
    """MLflow refused, is away, or has no such version."""


class NoSuchModel(RegistryError):
    """No model, version or alias of that name."""

    exit_code = 2


class SendError(ModelwrightError):
    """An alert did not arrive.

    Attributes:
        retry: whether it may arrive later; False where the other side refused it for good.
        after: seconds to wait at least, where the other side said so.
    """

    def __init__(self, message: str, *, retry: bool, after: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry = retry
        self.after = after


class ScrapeError(ModelwrightError):
    """The metrics of a server cannot be read."""


class MissingExtra(ModelwrightError):
    """An optional package is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed.", hint=f"Run: pip install 'modelwright[{extra}]'"
        )


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known word, or an empty string.

    Example:
        >>> did_you_mean("tagret", ["target", "source"])
        "did you mean 'target'?"
        >>> did_you_mean("zzz", ["target"])
        ''
    """
    words = list(known)
    close = difflib.get_close_matches(found, words, n=1, cutoff=0.6)
    if not close:
        folded = {word.lower(): word for word in words}
        close = [folded[found.lower()]] if found.lower() in folded else []
    return f"did you mean {close[0]!r}?" if close else ""


def first_rows(rows: Sequence[int]) -> str:
    """The first of these rows, in words.

    Example:
        >>> first_rows([4]), first_rows(range(4, 9))
        ('row 4', 'rows 4, 5, 6, 7, ...')
    """
    shown = ", ".join(str(row) for row in rows[:4])
    return f"row{'s' * (len(rows) > 1)} {shown}{', ...' * (len(rows) > 4)}"
