"""`python -m modelwright`, and the console script."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while libraries load ends without a trace

from modelwright.ways_in.cli import main  # noqa: E402  after the signal, on purpose

__all__ = ["main"]

if __name__ == "__main__":
    main()
