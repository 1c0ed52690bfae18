"""LitServe with its batching, one worker process."""

import sys
from typing import Any

import litserve
from income import OUTPUTS, answers, matrices, open_session


class Income(litserve.LitAPI):
    """The model as LitServe calls it: decode, batch, predict, unbatch, encode."""

    def setup(self, device: str) -> None:  # noqa: ARG002  LitServe names it
        """Load the model in the worker."""
        self.session = open_session()

    def decode_request(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of one request."""
        return request["rows"]

    def batch(self, inputs: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """Requests have different numbers of rows, so they stay lists until `predict`."""
        return inputs

    def predict(self, requests: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """Answer the rows of all requests at once, and give each request its own."""
        rows = [row for request in requests for row in request]
        found = iter(answers(self.session.run(OUTPUTS, matrices(rows))))
        return [[next(found) for _ in request] for request in requests]

    def unbatch(self, output: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """One list a request."""
        return output

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The body of the answer."""
        return {"predictions": output}


if __name__ == "__main__":
    api = Income(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
