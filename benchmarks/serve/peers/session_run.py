"""The bare graph: CPU time of `session.run` a row, and what it answers. Prints one JSON line.

    python session_run.py ROWS

ROWS: a JSON list of rows. Runs in FastAPI's environment, without a server.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

from income import OUTPUTS, matrices, open_session

BATCH = 64


def cpu_us_a_row(each: int) -> float:
    """CPU microseconds a row when `each` rows are run at once: the median of 20 stretches."""
    feeds = [matrices(rows[i : i + each]) for i in range(0, len(rows) - each, each)]
    found = []
    for _ in range(20):
        started = time.process_time()
        for one in feeds:
            session.run(OUTPUTS, one)
        found.append((time.process_time() - started) / len(feeds) / each * 1e6)
    return median(found)


rows = json.loads(Path(sys.argv[1]).read_text())
session = open_session()
chances = session.run(OUTPUTS, matrices(rows))[1][:, 1].tolist()
figures = {"one": cpu_us_a_row(1), "batch": cpu_us_a_row(BATCH), "probabilities": chances}
print("RESULT " + json.dumps(figures))
