"""Ray Serve with its batching, one replica."""

import sys
from typing import Any

from income import OUTPUTS, answers, matrices, open_session
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Income:
    """The model as a deployment."""

    def __init__(self) -> None:
        self.session = open_session()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def answer(self, requests: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """Answer the rows of all requests at once, and give each request its own."""
        rows = [row for request in requests for row in request]
        found = iter(answers(self.session.run(OUTPUTS, matrices(rows))))
        return [[next(found) for _ in request] for request in requests]

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Read the body, wait for the answer."""
        return {"predictions": await self.answer((await request.json())["rows"])}


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Income.bind(), route_prefix="/predict", blocking=True)
