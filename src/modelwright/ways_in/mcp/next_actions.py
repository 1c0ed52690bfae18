"""What an agent can do next, told with every result."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_AFTER: dict[str, list[str]] = {
    "init": ["Read the spec that was written with the resource modelwright://spec, fill in intent "
             "and out_of_scope with what the person says, then check."],
    "compare": ["Decide with history and report; promote needs a person's approval."],
    "reproduce": ["report shows the comparison of the two."],
    "report": ["Tell the person the verdict, the intervals and the findings that failed."],
    "release": ["history shows the version; promote makes it the champion."],
    "dashboard": ["Tell the person which file to import in Grafana."],
    "predict": ["Tell the person where the answers are; do not read single rows into the talk."],
    "predict_rows": ["Use the answers; nothing was written."],
    "promote": ["history shows who is champion; rollback goes back."],
    "rollback": ["history shows who is champion."],
    "traffic": ["history and project_status show how it goes on."],
    "history": ["compare two versions as NAME/1 and NAME/2; report shows one."],
    "audit": ["Tell the person if the chain is broken."],
    "gc": ["Only a person's approval removes anything: gc with apply."],
    "spec": ["Change it with spec_write: the whole text."],
    "spec_write": ["check, then run."],
    "doctor": ["Do what the advice of each failed finding says."],
    "requests": ["A person approves with: modelwright approve ID --key FILE."],
    "job_cancel": ["job_wait shows how it ended."],
    "job_log": ["Call again with cursor for later lines."],
}  # fmt: skip
_FIXES = {
    "budget": "Wait, or ask a person to raise the budget in modelwright.policy.yaml.",
    "human_approval": "Ask a person; no tool of yours can approve it.",
    "one_writer": "Wait for the other writer: project_status shows jobs.",
    "test_sealed": "Use other rows: sealed ones only judge.",
    "scratch_only": "Name a path below the project to read, below scratch/ to write.",
    "spec_only_hparams": "Write it into the spec with spec_write, then run.",
    "memory_preflight": "Drop columns with spec_write (data.drop), or ask the person for a smaller "
    "file in the project, a larger machine, or a higher budget.memory in the policy.",
}


def next_actions(tool: str, made: Json) -> list[str]:
    """After a call that was carried out.

    Args:
        made: its result, of JSON's types.
    """
    if tool == "check":
        failed = [f["check"] for f in made.get("findings", []) if _is_bad(f)]
        if failed:
            return ["Tell the person about the findings of severity error; mend data or spec, then "
                    "check again."]  # fmt: skip
        return ["run trains and judges; it starts a job."]
    if tool == "requests" and not any(r.get("state") == "pending" for r in made["requests"]):
        return ["None waits for an approval; ask again only for what is wanted now."]
    if tool in ("run", "retrain"):
        return after_run(made.get("run") if tool == "retrain" else made)
    return _AFTER.get(tool, ["project_status shows where the project stands."])


def after_run(run: Json | None) -> list[str]:
    """After a run or retraining came to its end."""
    if run is None:
        return ["Nothing was trained: call again without dry_run."]
    if run.get("verdict") != "pass":
        if run.get("verdict") == "undecided":
            return ["report shows which gates are undecided and how many rows would decide them; "
                    "tell the person, who may let one through (release)."]  # fmt: skip
        return ["report shows which gates failed and why; mend spec or data, and run again."]
    if run.get("alias") == "challenger":
        return [f"compare {run.get('model')} with {run.get('model')}@challenger; promote needs a "
                "person's approval."]  # fmt: skip
    return ["report shows the judgement; dashboard and a watcher come next (prompt setup_mlops)."]


def what_now(refusal: Json) -> list[str]:
    """After a refusal."""
    found = _FIXES.get(str(refusal.get("rule", "")))
    if refusal.get("fix"):
        return ["Do what fix says.", *([found] if found else [])]
    return [found] if found else ["project_status shows where the project stands."]


def _is_bad(finding: Json) -> bool:
    return finding.get("verdict") == "fail" and finding.get("severity") == "error"
