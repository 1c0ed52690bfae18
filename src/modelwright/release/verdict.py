"""The verdict on a run in one sentence."""

from __future__ import annotations

from modelwright.core.records import ReleaseRecord, Verdict


def headline(release: ReleaseRecord) -> str:
    """The verdict in one sentence.

    Example:
        >>> from modelwright.core.records import Finding
        >>> headline(ReleaseRecord("m", "r", "fail", "a", (Finding("limit", "f1", "fail"),), "t"))
        'm was not released: limit f1 failed.'
    """
    gates = [f for f in release.evidence if f.severity == "error"]
    blocking = [f for f in gates if f.verdict != "pass"]
    if release.verdict == "pass":
        warned = sum(f.severity == "warning" and f.verdict != "pass" for f in release.evidence)
        more = f", with {warned} warning{'s' * (warned > 1)}" if warned else ""
        if blocking:
            passed = len(gates) - len(blocking)
            return (f"{release.model} passed {passed} of {len(gates)} gates; {len(blocking)} "
                    f"undecided, let through{more}.")  # fmt: skip
        return f"{release.model} passed all {len(gates)} gates{more}."
    words = {"fail": "failed", "undecided": "is undecided"}
    listed = ", ".join(f"{f.check} {f.subject} {words[f.verdict]}" for f in blocking)
    return f"{release.model} was not released: {listed}."


def tone(release: ReleaseRecord) -> Verdict:
    """How the sentence is coloured: one that was released on somebody's word is not green.

    Example:
        >>> from modelwright.core.records import Finding
        >>> tone(ReleaseRecord("m", "r", "pass", "a", (Finding("limit", "f1", "undecided"),), "t"))
        'undecided'
    """
    let_through = any(f.severity == "error" and f.verdict != "pass" for f in release.evidence)
    return "undecided" if release.verdict == "pass" and let_through else release.verdict
