"""`modelwright doctor`: what is broken on this machine or in this project."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import modelwright as mw
from modelwright.core.errors import ModelwrightError, RegistryError
from modelwright.core.records import Finding, Severity, Verdict

TRAINING = (
    "polars", "sklearn", "lightgbm", "catboost", "optuna", "onnx", "mlflow", "pyarrow",
    "sqlalchemy", "zstandard",
)  # fmt: skip
LEAST_DISK = 2e9


def examine(folder: Path) -> list[Finding]:
    """Look at Python, libraries, threads, disk, the registry and every model's files."""
    findings = [_python(), _libraries(), _threads(), _disk(folder)]
    findings += _models(folder)
    broken = mw.AuditLog(folder).broken_at()
    measured = "whole" if broken is None else f"line {broken} does not follow from the one before"
    advice = "somebody edited .modelwright/audit.jsonl: restore it from a backup"
    findings.append(_finding("audit log", "chain", broken is None, measured, advice))
    return findings


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return _finding("python", "version", sys.version_info >= (3, 11), version, "use Python 3.11+")


def _libraries() -> Finding:
    absent = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    measured = f"absent: {', '.join(absent)}" if absent else "all there"
    advice = "pip install 'modelwright[train]'; serving needs none of them"
    return _finding("libraries", "training", not absent, measured, advice, "warning")


def _threads() -> Finding:
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    advice = "unset OMP_WAIT_POLICY, or set it to PASSIVE: spinning threads slow a busy machine"
    return _finding("threads", "OMP_WAIT_POLICY", policy == "PASSIVE", policy, advice, "warning")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return _finding(
        "disk", "free", free > LEAST_DISK, f"{free / 1e9:.1f} GB", "make room", "warning"
    )


def _models(folder: Path) -> list[Finding]:
    if not mw.Registry.exists(folder):
        return [_finding("registry", "MLflow", True, "none yet: modelwright run makes it", "")]
    try:
        registry = mw.Registry(folder)
        names = registry.models()
    except (RegistryError, ModelwrightError) as error:
        return [_finding("registry", "MLflow", False, str(error), "check MLFLOW_TRACKING_URI")]
    findings = [_finding("registry", registry.shown_uri, True, f"{len(names)} models", "")]
    log = mw.AuditLog(folder)
    for name in names:
        champion = registry.aliased(name, "champion")
        if champion is None:
            advice = f"modelwright promote {name} VERSION"
            findings.append(_finding("champion", name, False, "none", advice, "warning"))
            continue
        try:
            registry.fetch(champion)
            findings.append(
                _finding("champion", name, True, f"version {champion.number}, whole", "")
            )
            findings += mw.as_released(name, folder=folder)
        except ModelwrightError as error:
            advice = f"modelwright rollback {name}"
            findings.append(_finding("champion", name, False, str(error), advice))
        told = log.champion(name)
        if told and told != champion.number:
            measured = f"version {champion.number}, but the audit ends with {told}"
            advice = (
                f"modelwright history {name} ends a change that was cut off, or records that the "
                f"champion was moved outside modelwright; back: modelwright promote {name} {told}"
            )
            findings.append(_finding("audit log", name, False, measured, advice, "warning"))
    return findings


def _finding(
    check: str, subject: str, good: bool, measured: str, advice: str, severity: Severity = "error"
) -> Finding:
    verdict: Verdict = "pass" if good else "fail"
    return Finding(check, subject, verdict, measured, "", "", "" if good else advice, severity)
