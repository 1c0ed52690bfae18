"""Modelwright: an ML engineer as software.

A table and one spec file become a released, served model whose limits are one chain.

Example:
    import modelwright as mw
    release = mw.run("modelwright.yaml")
    release.predict(frame)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from modelwright.core.version import __version__ as __version__

# Waiting OpenMP threads spin by default: beside another busy process a booster became up to 200
# times slower. It must be set before any booster's library is loaded, so it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# ONNX Runtime 1.31 tells its maker of each session, unless it is told not to before it is loaded
# (seen with strace: lookups of mobile.events.data.microsoft.com, and a device id in ~/.cache).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_WHERE = {
    "Artefact": "modelwright.pack.artefact",
    "AuditLine": "modelwright.core.records",
    "AuditLog": "modelwright.release.audit",
    "Call": "modelwright.release.calls",
    "Finding": "modelwright.core.records",
    "ModelwrightError": "modelwright.core.errors",
    "Registry": "modelwright.release.registry",
    "Released": "modelwright.lifecycle",
    "Request": "modelwright.release.requests",
    "Requests": "modelwright.release.approvals",
    "Retrained": "modelwright.retraining",
    "TrafficState": "modelwright.release.traffic",
    "ab_test": "modelwright.released",
    "alert_rules": "modelwright.released",
    "as_released": "modelwright.serve.from_spec",
    "canary": "modelwright.released",
    "check": "modelwright.data.check",
    "check_against": "modelwright.released",
    "compare": "modelwright.data.check",
    "compare_releases": "modelwright.released",
    "dashboard": "modelwright.released",
    "gc": "modelwright.release.gc",
    "headline": "modelwright.release.verdict",
    "history": "modelwright.released",
    "load": "modelwright.released",
    "locate": "modelwright.released",
    "may_begin": "modelwright.release.admission",
    "new_approver": "modelwright.release.approver_keys",
    "new_keys": "modelwright.release.signing",
    "predict_file": "modelwright.released",
    "predict_rows": "modelwright.released",
    "promote": "modelwright.released",
    "read_spec": "modelwright.core.spec_file",
    "records_of": "modelwright.released",
    "release_run": "modelwright.released",
    "reproduce": "modelwright.lifecycle",
    "retrain": "modelwright.retraining",
    "rollback": "modelwright.released",
    "run": "modelwright.lifecycle",
    "send_labels": "modelwright.watching",
    "server_settings": "modelwright.serve.from_spec",
    "shadow": "modelwright.released",
    "steps_of": "modelwright.release.traffic",
    "stop_traffic": "modelwright.released",
    "traffic": "modelwright.released",
    "watch_findings": "modelwright.watching",
    "watch_page": "modelwright.watching",
    "watcher": "modelwright.watching",
    "weight_of": "modelwright.release.traffic",
    "write_client": "modelwright.released",
    "write_pages": "modelwright.release.pages",
}
__all__ = [
    "Artefact",
    "AuditLine",
    "AuditLog",
    "Call",
    "Finding",
    "ModelwrightError",
    "Registry",
    "Released",
    "Request",
    "Requests",
    "Retrained",
    "TrafficState",
    "ab_test",
    "alert_rules",
    "as_released",
    "canary",
    "check",
    "check_against",
    "compare",
    "compare_releases",
    "dashboard",
    "gc",
    "headline",
    "history",
    "load",
    "locate",
    "may_begin",
    "new_approver",
    "new_keys",
    "predict_file",
    "predict_rows",
    "promote",
    "read_spec",
    "records_of",
    "release_run",
    "reproduce",
    "retrain",
    "rollback",
    "run",
    "send_labels",
    "server_settings",
    "shadow",
    "steps_of",
    "stop_traffic",
    "traffic",
    "watch_findings",
    "watch_page",
    "watcher",
    "weight_of",
    "write_client",
    "write_pages",
]

if TYPE_CHECKING:
    from modelwright.core.errors import ModelwrightError
    from modelwright.core.records import AuditLine, Finding
    from modelwright.core.spec_file import read_spec
    from modelwright.data.check import check, compare
    from modelwright.lifecycle import Released, reproduce, run
    from modelwright.pack.artefact import Artefact
    from modelwright.release.admission import may_begin
    from modelwright.release.approvals import Requests
    from modelwright.release.approver_keys import new_approver
    from modelwright.release.audit import AuditLog
    from modelwright.release.calls import Call
    from modelwright.release.gc import gc
    from modelwright.release.pages import write_pages
    from modelwright.release.registry import Registry
    from modelwright.release.requests import Request
    from modelwright.release.signing import new_keys
    from modelwright.release.traffic import TrafficState, steps_of, weight_of
    from modelwright.release.verdict import headline
    from modelwright.released import (
        ab_test,
        alert_rules,
        canary,
        check_against,
        compare_releases,
        dashboard,
        history,
        load,
        locate,
        predict_file,
        predict_rows,
        promote,
        records_of,
        release_run,
        rollback,
        shadow,
        stop_traffic,
        traffic,
        write_client,
    )
    from modelwright.retraining import Retrained, retrain
    from modelwright.serve.from_spec import as_released, server_settings
    from modelwright.watching import send_labels, watch_findings, watch_page, watcher


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'modelwright' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
