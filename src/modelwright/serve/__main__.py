"""`python -m modelwright.serve`: the thin server process, without registry or training code."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import msgspec

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.store import from_json
from modelwright.serve.server import serve
from modelwright.serve.settings import Breaking, Settings, Source, journal_place
from modelwright.serve.tokens import everything_from


def main() -> int:
    """Parse the command line and serve; 2 or 3 on errors, with one line that says why."""
    parser = argparse.ArgumentParser(prog="modelwright.serve", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings as JSON; the other options go first")
    parser.add_argument("--artefact", type=Path, help="model folder")
    parser.add_argument("--digest", help="sha256 that its manifest.json must have")
    parser.add_argument("--tried", action="store_true", help="the folder was made here")
    parser.add_argument(
        "--measured", action="store_true", help="however slow it is, it stays in service"
    )
    parser.add_argument("--name", default="model")
    parser.add_argument("--version", default="0")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--max-body", type=int)
    parser.add_argument("--max-rows", type=int)
    parser.add_argument("--journal", help="folder or URL that answers are recorded in")
    parser.add_argument(
        "--access-log", action="store_true", help="a line of JSON a request, on standard error"
    )
    parser.add_argument("--token-env", default="MODELWRIGHT_TOKEN")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started this"
    )
    given = parser.parse_args()
    called, code = None, 3
    try:
        settings = _settings(given)
        called = settings.called
        code = serve(settings, until_stdin_closes=given.until_stdin_closes)
    except KeyboardInterrupt:
        code = 130
    except ModelwrightError as error:
        print(f"modelwright: {error}", file=sys.stderr)
        code = error.exit_code
    finally:
        if called is not None:
            called.note("ended" if code == 0 else f"exit code {code}")
    return code


def _settings(given: argparse.Namespace) -> Settings:
    if given.config is not None:
        found = from_json(given.config.read_bytes(), Settings, where=str(given.config))
    else:
        found = Settings(models=())
    if given.artefact is not None:
        source = Source(
            name=given.name, folder=str(given.artefact), version=given.version,
            digest=given.digest, tried=given.tried,
        )  # fmt: skip
        found = msgspec.structs.replace(found, models=(source,))
    if not found.models:
        raise UsageError("Nothing to serve.", hint="Name a model folder with --artefact.")
    names = ("host", "port", "grpc_port", "metrics_port", "workers", "max_body", "max_rows")
    said = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.access_log:
        said["access_log"] = True
    if given.measured:
        said["breaker"] = Breaking(slower_than=math.inf)
    if given.journal is not None:
        place = journal_place(given.journal, Path())
        said["journal"] = msgspec.structs.replace(found.journal, to=place)
    if not found.tokens:
        said["tokens"] = everything_from(given.token_env, os.environ)
    return msgspec.structs.replace(found, quiet=found.quiet or given.quiet, **said)


if __name__ == "__main__":
    sys.exit(main())
