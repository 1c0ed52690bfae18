"""Whether a version may go to production: its records are whole, its card, watch and way back."""

from __future__ import annotations

from pathlib import Path

from modelwright.core.errors import ArtefactError, Refused
from modelwright.core.policy import Policy, read_policy
from modelwright.core.records import ReleaseRecord
from modelwright.core.runs import RELEASE
from modelwright.core.store import from_json
from modelwright.pack.artefact import verified
from modelwright.release.registry import Version

RECORDS = {
    "spec_digest": "the spec",
    "data_fingerprint": "the data",
    "split": "the split",
    "versions": "the libraries",
}
"""Fields of the manifest without which nobody could make the model again, in words."""


def must_be_ready(folder: Path, artefact: Path, version: Version, *, has_champion: bool) -> None:
    """Hold a version against the rules of production.

    Args:
        folder: the project.
        artefact: the version's files.
        has_champion: whether there is one to go back to.

    Raises:
        Refused: repro_required, card_complete or monitor_and_rollback_ready is not met.
        ArtefactError: its files are not those that were released.
    """
    manifest, _, _ = verified(artefact, digest=version.digest)
    lacking = [words for name, words in RECORDS.items() if not getattr(manifest, name)]
    if lacking:
        raise Refused(
            f"Version {version.number} of {version.model} does not say from what it was made: "
            f"{', '.join(lacking)}.",
            hint="Run again; what modelwright run makes has all of it.",
            rule="repro_required",
            evidence={"lacking": lacking},
        )
    policy = read_policy(folder)
    _must_have_card(policy, folder, version)
    _must_be_watched(policy, artefact, version, has_champion)


def _must_have_card(policy: Policy, folder: Path, version: Version) -> None:
    if not policy.binds("card_complete"):
        return
    try:
        data = (folder / "runs" / version.run / RELEASE).read_bytes()
        release = from_json(data, ReleaseRecord, where=RELEASE)
    except (OSError, ArtefactError) as error:
        raise Refused(
            f"Whether the card of {version.model}/{version.number} is complete cannot be seen: "
            f"run {version.run} is not on this machine.",
            hint="Promote it where it was made, or set rules: {card_complete: off} in the policy.",
            rule="card_complete",
        ) from error
    found = next((one for one in release.evidence if one.check == "card"), None)
    if found is None or found.verdict != "pass":
        raise Refused(
            f"The model card of {version.model}/{version.number} is not complete"
            + (f": {found.measured}." if found and found.measured else "."),
            hint="Fill in intent: and out_of_scope: (the owner has to), then run again.",
            rule="card_complete",
            evidence={"measured": found.measured if found else "", "run": version.run},
        )


def _must_be_watched(policy: Policy, artefact: Path, version: Version, has_champion: bool) -> None:
    if not policy.binds("monitor_and_rollback_ready"):
        return
    spec = from_json((artefact / "spec.json").read_bytes(), dict, where="spec.json")
    serve = spec.get("serve") or {}
    lacking = []
    if not serve.get("journal"):
        lacking.append("a journal, without which nothing is watched (serve.journal)")
    if not has_champion and not serve.get("fallback"):
        lacking.append("a way back: there is no champion yet, and no serve.fallback")
    if lacking:
        raise Refused(
            f"{version.model}/{version.number} is not ready for production; it lacks "
            f"{', and '.join(lacking)}.",
            hint="Write it into modelwright.yaml, then run again.",
            rule="monitor_and_rollback_ready",
            evidence={"lacking": lacking},
        )
