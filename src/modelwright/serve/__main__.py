"""`python -m modelwright.serve`: the thin server process, without registry or training code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from modelwright.core.errors import ModelwrightError
from modelwright.serve.app import Settings
from modelwright.serve.server import Bind, serve, token_from


def main() -> int:
    """Parse the command line and serve; 2 or 3 on errors, with one line that says why."""
    parser = argparse.ArgumentParser(prog="modelwright.serve", description=__doc__)
    parser.add_argument("--artefact", type=Path, required=True, help="model folder")
    parser.add_argument("--digest", help="sha256 that its manifest.json must have")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-body", type=int, default=16 * 2**20)
    parser.add_argument("--max-rows", type=int, default=100_000)
    parser.add_argument("--token-env", default="MODELWRIGHT_TOKEN")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started this"
    )
    given = parser.parse_args()
    settings = Settings(
        given.name, given.version, given.max_body, given.max_rows, token_from(given.token_env)
    )
    if given.until_stdin_closes:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        serve(
            given.artefact,
            settings,
            Bind(given.host, given.port),
            digest=given.digest,
            quiet=given.quiet,
        )
    except KeyboardInterrupt:
        return 130
    except ModelwrightError as error:
        print(f"modelwright: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _end_with_parent() -> None:
    """The pipe closes however the parent ends, kill -9 included."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
