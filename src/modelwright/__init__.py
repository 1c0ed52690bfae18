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

_WHERE = {
    "Artefact": "modelwright.pack.artefact",
    "AuditLine": "modelwright.core.records",
    "AuditLog": "modelwright.release.audit",
    "Finding": "modelwright.core.records",
    "ModelwrightError": "modelwright.core.errors",
    "Registry": "modelwright.release.registry",
    "Released": "modelwright.lifecycle",
    "check": "modelwright.data.check",
    "check_against": "modelwright.released",
    "compare": "modelwright.data.check",
    "compare_releases": "modelwright.released",
    "gc": "modelwright.release.gc",
    "headline": "modelwright.release.verdict",
    "history": "modelwright.released",
    "locate": "modelwright.released",
    "load": "modelwright.released",
    "new_keys": "modelwright.release.signing",
    "predict_file": "modelwright.released",
    "promote": "modelwright.released",
    "read_spec": "modelwright.core.spec_file",
    "records_of": "modelwright.released",
    "release_run": "modelwright.released",
    "reproduce": "modelwright.lifecycle",
    "rollback": "modelwright.released",
    "run": "modelwright.lifecycle",
    "write_pages": "modelwright.release.pages",
}
__all__ = [
    "Artefact",
    "AuditLine",
    "AuditLog",
    "Finding",
    "ModelwrightError",
    "Registry",
    "Released",
    "check",
    "check_against",
    "compare",
    "compare_releases",
    "gc",
    "headline",
    "history",
    "load",
    "locate",
    "new_keys",
    "predict_file",
    "promote",
    "read_spec",
    "records_of",
    "release_run",
    "reproduce",
    "rollback",
    "run",
    "write_pages",
]

if TYPE_CHECKING:
    from modelwright.core.errors import ModelwrightError
    from modelwright.core.records import AuditLine, Finding
    from modelwright.core.spec_file import read_spec
    from modelwright.data.check import check, compare
    from modelwright.lifecycle import Released, reproduce, run
    from modelwright.pack.artefact import Artefact
    from modelwright.release.audit import AuditLog
    from modelwright.release.gc import gc
    from modelwright.release.pages import write_pages
    from modelwright.release.registry import Registry
    from modelwright.release.signing import new_keys
    from modelwright.release.verdict import headline
    from modelwright.released import (
        check_against,
        compare_releases,
        history,
        load,
        locate,
        predict_file,
        promote,
        records_of,
        release_run,
        rollback,
    )


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'modelwright' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
