"""Bring a version's files to this machine, for a server that has no MLflow in it.

    python -m modelwright.release.fetch NAME VERSION --project FOLDER [--what baseline]

The bytes are verified against the digest in the registry, and land in `.modelwright/artefacts/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelwright.core.errors import ModelwrightError, RegistryError
from modelwright.release.cache import scratch
from modelwright.release.registry import HOME, Registry, Version, fetch_baseline


def fetch(project: Path, model: str, version: str, what: str = "artefact") -> Path:
    """Fetch a version's model, or the baseline beside it.

    Returns:
        The folder.

    Raises:
        RegistryError: there is no such version or baseline, or it cannot be downloaded.
        ArtefactError: what came is not what was released, or no trusted key vouches for it.
    """
    if not Registry.exists(project):
        raise RegistryError(f"{project} has no registry.")
    registry = Registry(project)
    found = registry.version(model, version)
    return registry.fetch(found) if what == "artefact" else fetch_baseline(registry, found)


def run_file(registry: Registry, version: Version, name: str) -> bytes | None:
    """A file of the run that made a version, such as `evaluation.json`; None where it has none.

    Raises:
        RegistryError: it cannot be downloaded.
    """
    here = registry.folder / "runs" / version.run / name
    if here.is_file():
        return here.read_bytes()
    with scratch(registry.folder / HOME) as place, registry.client() as client:
        if name not in {item.path for item in client.list_artifacts(version.mlflow_run)}:
            return None
        client.download_artifacts(version.mlflow_run, name, str(place))
        return (place / name).read_bytes()


def main() -> int:
    """The child: 0 when the files are here."""
    parser = argparse.ArgumentParser(prog="modelwright.release.fetch")
    parser.add_argument("model")
    parser.add_argument("version")
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--what", choices=["artefact", "baseline"], default="artefact")
    given = parser.parse_args()
    try:
        print(fetch(given.project, given.model, given.version, given.what))
    except ModelwrightError as error:
        print(f"modelwright: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
