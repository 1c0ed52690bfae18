"""Play the rest of the stream to the service, in time order, with truths that come late.

    python replay.py history                 # write history.csv: the first fifth
    python replay.py play http://127.0.0.1:8737 [--rows 36000] [--rate 500] [--late 1000]

Stands for your callers: it knows the service's address and nothing else of Modelwright.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import itertools
import json
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
FIRST, MODEL = 9062, "elec2"
BEGIN = dt.datetime(1996, 5, 7, tzinfo=dt.UTC)
"""The copy has no dates: rows are half an hour apart from here on."""


def rows() -> Iterator[dict[str, str]]:
    """The whole stream, with the time of each row."""
    with gzip.open(HERE / "elec2.csv.gz", "rt", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield {"at": f"{BEGIN + number * dt.timedelta(minutes=30):%Y-%m-%d %H:%M}", **row}


def history(folder: Path) -> None:
    """Write the first fifth as history.csv."""
    with (folder / "history.csv").open("w", newline="") as file:
        found = list(rows())[:FIRST]
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)


def ask(address: str, path: str, body: object, name: str) -> None:
    """POST JSON, for half a minute while the service is away; an error code raises."""
    headers = {"content-type": "application/json", "x-request-id": name}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    for left in reversed(range(300)):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
            return
        except urllib.error.HTTPError:
            raise
        except OSError:
            if not left:
                raise
            time.sleep(0.1)


def play(
    address: str, count: int, rate: float, late: int, stop: Callable[[], bool] = lambda: False
) -> int:
    """Ask row by row; send the truth of each `late` rows later. Says how many were asked."""
    waiting: deque[dict[str, str]] = deque()
    began, asked = time.monotonic(), 0
    for row in itertools.islice(rows(), FIRST, FIRST + count):
        if stop():
            break
        truth = row.pop("class")
        row.pop("at")
        name = f"{began:.0f}-{FIRST + asked}"
        ask(address, "/predict", {key: float(value) for key, value in row.items()}, name)
        asked += 1
        waiting.append({"request_id": name, "label": truth})
        if len(waiting) >= late + 100:
            some = [waiting.popleft() for _ in range(100)]
            ask(address, f"/v2/models/{MODEL}/labels", {"labels": some}, f"labels-{asked}")
        time.sleep(max(0.0, began + asked / rate - time.monotonic()))
    return asked


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["history", "play"])
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8737")
    parser.add_argument("--rows", type=int, default=36_000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--late", type=int, default=1000)
    given = parser.parse_args()
    if given.what == "history":
        history(Path.cwd())
    else:
        print(play(given.address, given.rows, given.rate, given.late), "rows")


if __name__ == "__main__":
    main()
